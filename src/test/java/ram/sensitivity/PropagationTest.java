package ram.sensitivity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static ram.sensitivity.HandMadeModel.all;
import static ram.sensitivity.HandMadeModel.diagonal;
import static ram.sensitivity.HandMadeModel.filled;
import static ram.sensitivity.HandMadeModel.gaussian;
import static ram.sensitivity.HandMadeModel.term;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.layout.Kind;
import ram.layout.Module;
import ram.safetensors.Shape;

class PropagationTest {
    private static final double RHO = 0.35;
    private static final String LAYER = "model.layers.0.";
    private static final List<String> MLP = List.of("gate_proj", "up_proj", "down_proj");

    private static Term attentionTerm(Map<String, ModuleWeights> weights, String name) {
        return term(weights, LAYER + "self_attn." + name + "_proj");
    }

    private static Term mlpTerm(Map<String, ModuleWeights> weights, String name) {
        return term(weights, LAYER + "mlp." + name);
    }

    /// Four heads of two channels that share two key-value heads, all weights diagonal: everything has a closed form.
    private static HandMadeModel attention() {
        HandMadeModel m = new HandMadeModel();
        m.config.put("num_attention_heads", 4).put("hidden_size", 8);
        return m.matrix("model.embed_tokens", Kind.EMBEDDING, 8, 8, diagonal(8, 8, 2))
                .vector(LAYER + "input_layernorm.weight", filled(8, 1))
                .matrix(LAYER + "self_attn.q_proj", Kind.Q, 8, 8, diagonal(8, 8, 2))
                .matrix(LAYER + "self_attn.k_proj", Kind.K, 4, 8, diagonal(4, 8, 3))
                .matrix(LAYER + "self_attn.v_proj", Kind.V, 4, 8, diagonal(4, 8, 5))
                .matrix(LAYER + "self_attn.o_proj", Kind.O, 8, 8, diagonal(8, 8, 0.5))
                .vector("model.norm.weight", filled(8, 1));
    }

    @Test
    void attentionWithDiagonalWeights() {
        HandMadeModel m = attention();
        Map<String, ModuleWeights> w = m.walk(1);
        // The embedding's column means of squares are 4/8; after the norm every channel has power 1.
        double start = 4;
        double context = RHO * 25;
        double after = start + 8 * context * 0.25;
        assertEquals(start, m.start(), 1e-6);
        assertEquals(after, m.result.residualPower().get(1), 1e-5);
        Term o = attentionTerm(w, "o");
        assertArrayEquals(all(8, context), o.columns(), 1e-5);
        assertArrayEquals(all(8, 1), o.rows(), 1e-12);
        assertEquals(0.4 * 0.5 / after, o.scale(), 1e-7);
        Term v = attentionTerm(w, "v");
        assertArrayEquals(all(4, RHO * 2 * 0.25), v.rows(), 1e-6);
        assertArrayEquals(all(8, 1), v.columns(), 1e-6);
        double headPower = 2 * context * 0.25;
        assertArrayEquals(all(8, 9.0 / 2 * headPower), attentionTerm(w, "q").rows(), 1e-4);
        assertArrayEquals(all(4, 2 * 4.0 / 2 * headPower), attentionTerm(w, "k").rows(), 1e-4);
    }

    /// Gemma 4 does not divide scores by anything, normalises values, and some of its layers have one projection for keys and values.
    @Test
    void oneProjectionMayServeForKeysAndValues() {
        HandMadeModel separate = attention();
        separate.family = "gemma4_text";
        HandMadeModel same = attention();
        same.family = "gemma4_text";
        same.config.put("attention_k_eq_v", true);
        same.modules.removeIf(m -> m.kind() == Kind.V);
        Map<String, ModuleWeights> w = same.walk(1);
        Map<String, ModuleWeights> expected = separate.walk(1);
        // Values have a power of 1 whatever they were made with, and q, of power 4 before, stands unscaled before k, of 9.
        assertArrayEquals(attentionTerm(expected, "o").columns(), attentionTerm(w, "o").columns(), 1e-6);
        assertArrayEquals(all(8, RHO), attentionTerm(w, "o").columns(), 1e-6);
        double after = same.result.residualPower().getLast();
        assertArrayEquals(all(8, 9 * 2 * RHO * 0.25), attentionTerm(w, "q").rows(), 1e-4);
        List<Term> both = w.get(LAYER + "self_attn.k_proj").parts().getFirst();
        assertArrayEquals(attentionTerm(expected, "k").rows(), both.get(0).rows(), 1e-4);
        // Two heads read each value; its norm has divided by 9, where that of the values of 5 divided by 25.
        assertArrayEquals(all(4, RHO * 2 * 0.25 / 9), both.get(1).rows(), 1e-6);
        assertArrayEquals(all(4, RHO * 2 * 0.25 / 25), attentionTerm(expected, "v").rows(), 1e-6);
        assertEquals(0.6 * 0.5 / after, both.get(1).scale(), 1e-7);
    }

    /// Logits multiplied by a half (cohere), divided by two (granite), or read from outputs divided by 8/4 (minicpm).
    @Test
    void factorsOfTheLogitsCount() {
        HandMadeModel plain = attention();
        double scale = plain.walk(1).get("model.embed_tokens").parts().getFirst().get(1).scale();
        for (String setting : List.of("logit_scale 0.5", "logits_scaling 2", "dim_model_base 4")) {
            HandMadeModel m = attention();
            m.config.put(setting.split(" ")[0], Double.parseDouble(setting.split(" ")[1]));
            List<Term> terms = m.walk(1).get("model.embed_tokens").parts().getFirst();
            assertEquals(plain.result.logitPower() / 4, m.result.logitPower(), 1e-6, setting);
            assertEquals(scale / 4, terms.get(1).scale(), 1e-12, setting);
        }
    }

    /// The table of positions stands before that of tokens, as in GPT-2, and is as long as they are wide.
    @Test
    void positionsAreAddedToTokensAndTheHeadIsThatOfTokens() {
        HandMadeModel m = new HandMadeModel();
        m.config.put("vocab_size", 8);
        m.matrix("model.wpe", Kind.EMBEDDING, 4, 8, filled(32, 3)).matrix("model.wte", Kind.EMBEDDING, 8, 8, diagonal(8, 8, 2)).vector("model.ln_f.weight", filled(8, 1));
        Map<String, ModuleWeights> w = m.walk(1);
        double start = 8 * (9 + 4.0 / 8);
        assertEquals(start, m.start(), 1e-4);
        List<Term> positions = w.get("model.wpe").parts().getFirst();
        assertEquals(1, positions.size());
        assertEquals(0.15 * 0.5 / 4 / start, positions.getFirst().scale(), 1e-9);
        List<Term> tokens = w.get("model.wte").parts().getFirst();
        assertEquals(List.of(true, false), tokens.stream().map(Term::relative).toList());
        assertEquals(0.15 * 0.5 / 8 / start, tokens.getFirst().scale(), 1e-9);
        assertEquals(4, m.result.logitPower(), 1e-5);
    }

    @ParameterizedTest
    @ValueSource(strings = {"n_head", "n_heads", "num_heads", "head_dim"})
    void numbersOfHeadsHaveManyNames(String key) {
        double[] expected = attentionTerm(attention().walk(1), "v").rows();
        HandMadeModel m = attention();
        int heads = m.config.path("num_attention_heads").asInt();
        m.config.remove("num_attention_heads");
        m.config.put(key, key.equals("head_dim") ? 8 / heads : heads);
        assertArrayEquals(expected, attentionTerm(m.walk(1), "v").rows(), 0);
    }

    @Test
    void aTiedEmbeddingHasBothTerms() {
        HandMadeModel m = attention();
        m.modules.subList(1, m.modules.size()).clear();
        List<Term> tied = m.walk(1).get("model.embed_tokens").parts().getFirst();
        // Channels of power 1 after the norm; one weight of 2 in each of 8 rows.
        assertEquals(4, m.result.logitPower(), 1e-5);
        assertEquals(2, tied.size());
        assertTrue(tied.get(0).relative());
        assertEquals(0.15 * 0.5 / 8 / 4, tied.get(0).scale(), 1e-9);
        assertEquals(0.65 * 0.5 / 8, tied.get(1).scale(), 1e-12);
        assertArrayEquals(all(8, 1), tied.get(1).columns(), 1e-5);
        // An error of ½ in each of 64 weights.
        assertEquals(16, weighted(tied.get(1), filled(64, 0.5)), 1e-4);
        assertEquals(16, weighted(tied.get(0), filled(64, 0.5)), 1e-4);
    }

    @Test
    void headNormsReplaceTheScaleOfQueriesAndKeys() {
        HandMadeModel m = attention().vector(LAYER + "self_attn.q_norm.weight", 3, 3).vector(LAYER + "self_attn.k_norm.weight", 2, 2);
        Map<String, ModuleWeights> w = m.walk(1);
        double headPower = 2 * RHO * 25 * 0.25;
        assertArrayEquals(all(8, 4 * (9.0 / 4) / 2 * headPower), attentionTerm(w, "q").rows(), 1e-4);
        assertArrayEquals(all(4, 2 * 9 * (4.0 / 9) / 2 * headPower), attentionTerm(w, "k").rows(), 1e-4);
    }

    /// Scores of two channels have the variance 2 · q² · 9 / 2.
    @ParameterizedTest
    @CsvSource({"2, 1", "0.5, 1", "0.25, 3.5555556", "0.125, 10", "0, 10"})
    void predictedScoresThatHardlyVaryAreTakenToVary(double query, double aligned) {
        HandMadeModel m = attention();
        System.arraycopy(diagonal(8, 8, query), 0, m.data.get(LAYER + "self_attn.q_proj"), 0, 64);
        Map<String, ModuleWeights> w = m.walk(1);
        double headPower = 2 * RHO * 25 * 0.25;
        assertArrayEquals(all(8, 9.0 / 2 * headPower * aligned), attentionTerm(w, "q").rows(), 1e-4);
        assertArrayEquals(all(4, 2 * query * query / 2 * headPower * aligned), attentionTerm(w, "k").rows(), 1e-4);
        assertArrayEquals(all(4, RHO * 2 * 0.25), attentionTerm(w, "v").rows(), 1e-6);
    }

    @Test
    void biasesAddTheirSquares() {
        HandMadeModel m = attention().vector(LAYER + "self_attn.v_proj.bias", 1, 1, 1, 1);
        assertArrayEquals(all(8, RHO * 26), attentionTerm(m.walk(1), "o").columns(), 1e-4);
    }

    @ParameterizedTest
    @ValueSource(strings = {"phi3", "internlm2"})
    void aFusedProjectionHasTheRowsOfItsParts(String family) {
        Map<String, ModuleWeights> apart = attention().walk(1);
        HandMadeModel m = attention();
        m.family = family;
        // Heads in the order in which they are stored: all queries first, or each group's queries, key and value.
        String[] heads = family.equals("phi3") ? new String[] {"q0", "q1", "q2", "q3", "k0", "k1", "v0", "v1"}
                : new String[] {"q0", "q1", "k0", "v0", "q2", "q3", "k1", "v1"};
        float[] fused = new float[16 * 8];
        for (int i = 0; i < heads.length; i++) {
            float[] part = m.data.get(LAYER + "self_attn." + heads[i].charAt(0) + "_proj");
            System.arraycopy(part, 16 * (heads[i].charAt(1) - '0'), fused, 16 * i, 16);
        }
        m.modules.removeIf(x -> x.kind() == Kind.Q || x.kind() == Kind.K || x.kind() == Kind.V);
        m.matrix(LAYER + "self_attn.qkv_proj", Kind.QKV, 16, 8, fused);
        Term t = attentionTerm(m.walk(1), "qkv");
        for (int i = 0; i < 16; i++) {
            Term part = attentionTerm(apart, heads[i / 2].substring(0, 1));
            int row = 2 * (heads[i / 2].charAt(1) - '0') + i % 2;
            assertEquals(part.rows()[row] * part.scale(), t.rows()[i] * t.scale(), 1e-7);
        }
    }

    @Test
    void aGatedQueryOpensTheContextByHalf() {
        HandMadeModel m = attention();
        m.config.put("head_dim", 2);
        m.modules.removeIf(x -> x.kind() == Kind.Q);
        // Per head two rows of queries and two rows of gates; the gates are zero, so each lets half the value through.
        float[] q = new float[16 * 8];
        for (int i = 0; i < 8; i++) {
            q[(i / 2 * 4 + i % 2) * 8 + i] = 2;
        }
        m.matrix(LAYER + "self_attn.q_proj", Kind.Q, 16, 8, q);
        Map<String, ModuleWeights> w = m.walk(1);
        assertArrayEquals(all(8, RHO * 25 / 4), attentionTerm(w, "o").columns(), 1e-4);
        Term t = attentionTerm(w, "q");
        double headPower = 2 * RHO * 25 / 4 * 0.25;
        assertEquals(0.03 * 9.0 / 2 * headPower, t.rows()[0], 1e-4);
        // The slope of the sigmoid at 0 is a quarter.
        assertEquals(0.075 * RHO * 25 * 0.25 / 16, t.rows()[2], 1e-4);
    }

    private static HandMadeModel mlp(int d, int inner, Random random) {
        HandMadeModel m = new HandMadeModel();
        m.config.put("num_attention_heads", 1).put("hidden_size", d);
        float[] gains = new float[d];
        for (int i = 0; i < d; i++) {
            gains[i] = 0.5f + random.nextFloat();
        }
        return m.matrix("model.embed_tokens", Kind.EMBEDDING, 50, d, gaussian(50 * d, 0.7, random))
                .vector(LAYER + "post_attention_layernorm.weight", gains)
                .matrix(LAYER + "mlp.gate_proj", Kind.GATE, inner, d, gaussian(inner * d, 0.3, random))
                .matrix(LAYER + "mlp.up_proj", Kind.UP, inner, d, gaussian(inner * d, 0.2, random))
                .matrix(LAYER + "mlp.down_proj", Kind.DOWN, d, inner, gaussian(d * inner, 0.15, random))
                .vector("model.norm.weight", filled(d, 1));
    }

    /// W x, with `change` added to W where there is one.
    private static double[] times(float[] w, float[] change, double[] x, int rows) {
        double[] y = new double[rows];
        int n = x.length;
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < n; j++) {
                y[i] += (w[i * n + j] + (change == null ? 0.0 : change[i * n + j])) * x[j];
            }
        }
        return y;
    }

    private static double[] network(HandMadeModel model, double[] h, int inner, String changed, float[] change) {
        double[] g = times(model.data.get(LAYER + "mlp.gate_proj"), changed.equals("gate_proj") ? change : null, h, inner);
        double[] u = times(model.data.get(LAYER + "mlp.up_proj"), changed.equals("up_proj") ? change : null, h, inner);
        for (int i = 0; i < inner; i++) {
            u[i] *= g[i] / (1 + Math.exp(-g[i]));
        }
        return times(model.data.get(LAYER + "mlp.down_proj"), changed.equals("down_proj") ? change : null, u, h.length);
    }

    /// Noise in the residual, measured on random inputs, against the weighted error.
    /// Σᵢⱼ rowᵢ · changeᵢⱼ² · columnⱼ.
    private static double weighted(Term term, float[] change) {
        int n = term.columns().length;
        double sum = 0;
        for (int i = 0; i < change.length; i++) {
            sum += term.rows()[i / n] * change[i] * change[i] * term.columns()[i % n];
        }
        return sum;
    }

    @ParameterizedTest
    @ValueSource(strings = {"gate_proj", "up_proj", "down_proj"})
    void noiseOfAFeedForwardNetworkIsAsSampled(String name) {
        int d = 48;
        int inner = 96;
        Random random = new Random(21);
        HandMadeModel m = mlp(d, inner, random);
        Term term = mlpTerm(m.walk(2), name);
        float[] change = gaussian(d * inner, 0.01, random);
        double predicted = weighted(term, change);
        double[] input = new double[d];
        double total = 0;
        float[] embedding = m.data.get("model.embed_tokens");
        for (int i = 0; i < embedding.length; i++) {
            input[i % d] += embedding[i] * embedding[i];
            total += embedding[i] * embedding[i];
        }
        double noise = 0;
        double power = 0;
        int samples = 3000;
        for (int s = 0; s < samples; s++) {
            double[] h = new double[d];
            for (int j = 0; j < d; j++) {
                h[j] = m.data.get(LAYER + "post_attention_layernorm.weight")[j] * Math.sqrt(input[j] * d / total) * random.nextGaussian();
            }
            double[] clean = network(m, h, inner, "", null);
            double[] noisy = network(m, h, inner, name, change);
            for (int i = 0; i < d; i++) {
                noise += Math.pow(noisy[i] - clean[i], 2) / samples;
                power += clean[i] * clean[i] / samples;
            }
        }
        // The inner activations share their inputs, which independent channels ignore.
        assertEquals(1, noise / predicted, 0.15);
        assertEquals(1, power / m.added(), 0.15);
    }

    @Test
    void equalExpertsSpreadTheDamageOfOneNetwork() {
        int d = 16;
        int experts = 4;
        HandMadeModel one = mlp(d, 32, new Random(5));
        Map<String, ModuleWeights> single = one.walk(1);
        HandMadeModel many = new HandMadeModel();
        many.config.put("num_attention_heads", 1).put("hidden_size", d).put("num_experts_per_tok", 2);
        many.plain.addAll(one.plain);
        many.modules.add(one.modules.getFirst());
        for (Module m : one.modules.subList(1, 4)) {
            float[] w = one.data.get(m.path());
            float[] stack = new float[experts * w.length];
            for (int e = 0; e < experts; e++) {
                System.arraycopy(w, 0, stack, e * w.length, w.length);
            }
            many.add(m.path().replace("mlp.", "mlp.switch_mlp."), m.kind(),
                    Shape.of(experts, m.weight().shape().rows(), m.weight().shape().columns()), stack);
        }
        many.matrix(LAYER + "mlp.gate", Kind.ROUTER, experts, d, new float[experts * d]);
        Map<String, ModuleWeights> stacked = many.walk(2);
        assertEquals(ModuleWeights.Source.LAYER_MEDIAN, stacked.get(LAYER + "mlp.gate").source());
        // Two of four experts with weight ½ each: half the power of the network, an eighth per expert.
        assertEquals(one.added() / 2, many.added(), 1e-6 * one.added());
        double after = (one.start() + one.added()) / (one.start() + one.added() / 2);
        for (String name : MLP) {
            Term alone = mlpTerm(single, name);
            ModuleWeights parts = stacked.get(LAYER + "mlp.switch_mlp." + name);
            assertEquals(experts, parts.parts().size());
            for (List<Term> part : parts.parts()) {
                assertArrayEquals(alone.rows(), part.getFirst().rows(), 1e-6);
                assertArrayEquals(alone.columns(), part.getFirst().columns(), 1e-6);
                assertEquals(alone.scale() * after / 8, part.getFirst().scale(), 1e-6 * alone.scale());
            }
        }
    }

    @Test
    void gateAndUpInOneMatrixAreItsHalves() {
        HandMadeModel m = mlp(16, 32, new Random(9));
        Map<String, ModuleWeights> apart = m.walk(1);
        float[] both = Arrays.copyOf(m.data.get(LAYER + "mlp.gate_proj"), 64 * 16);
        System.arraycopy(m.data.get(LAYER + "mlp.up_proj"), 0, both, 32 * 16, 32 * 16);
        m.modules.removeIf(x -> x.kind() == Kind.GATE || x.kind() == Kind.UP);
        m.matrix(LAYER + "mlp.gate_up_proj", Kind.GATE_UP, 64, 16, both);
        Term fused = mlpTerm(m.walk(1), "gate_up_proj");
        for (int i = 0; i < 64; i++) {
            Term part = mlpTerm(apart, i < 32 ? "gate_proj" : "up_proj");
            assertEquals(part.scale() * part.rows()[i % 32], fused.scale() * fused.rows()[i], 1e-9);
        }
    }

    @Test
    void aNormAfterTheBranchSetsItsPower() {
        int d = 16;
        HandMadeModel m = mlp(d, 32, new Random(6));
        m.vector(LAYER + "pre_feedforward_layernorm.weight", filled(d, 1)).vector(LAYER + "post_feedforward_layernorm.weight", filled(d, 2));
        Map<String, ModuleWeights> w = m.walk(1);
        assertEquals(4 * d, m.added(), 1e-5);
        double down = mlpTerm(w, "down_proj").rows()[0];
        double up = mlpTerm(w, "up_proj").rows()[0];
        // Doubling the weight changes nothing after the norm, so a unit of its noise counts a quarter.
        float[] weight = m.data.get(LAYER + "mlp.down_proj");
        for (int i = 0; i < weight.length; i++) {
            weight[i] *= 2;
        }
        Map<String, ModuleWeights> doubled = m.walk(1);
        assertEquals(down / 4, mlpTerm(doubled, "down_proj").rows()[0], 1e-6 * down);
        assertEquals(up, mlpTerm(doubled, "up_proj").rows()[0], 1e-6 * up);
    }

    @Test
    void multipliersOfEmbeddingAndBranchesTogetherOnlyChangeTheUnit() {
        HandMadeModel plain = mlp(16, 32, new Random(7));
        Map<String, ModuleWeights> w = plain.walk(1);
        HandMadeModel scaled = mlp(16, 32, new Random(7));
        scaled.config.put("embedding_multiplier", 3).put("residual_multiplier", 3);
        Map<String, ModuleWeights> s = scaled.walk(1);
        assertEquals(9 * (plain.start() + plain.added()), scaled.start() + scaled.added(), 1e-3);
        for (String name : MLP) {
            Term a = mlpTerm(w, name);
            Term b = mlpTerm(s, name);
            assertEquals(a.scale() * a.rows()[3], b.scale() * b.rows()[3], 1e-6 * a.scale() * a.rows()[3]);
        }
        assertEquals(term(w, "model.embed_tokens").scale(), term(s, "model.embed_tokens").scale(), 1e-9);
    }

    @Test
    void gainsStoredLessOneAreRaised() {
        HandMadeModel m = attention();
        m.plain.clear();
        m.family = "gemma";
        m.vector(LAYER + "input_layernorm.weight", new float[8]).vector("model.norm.weight", new float[8]);
        assertArrayEquals(all(8, 1), attentionTerm(m.walk(1), "q").columns(), 1e-6);
        // Gemma multiplies embeddings by the root of their length.
        assertEquals(8 * 4, m.start(), 1e-5);
    }

    @Test
    void anUnknownMixerStillFeedsTheResidual() {
        HandMadeModel m = attention();
        m.modules.removeIf(x -> x.kind() == Kind.K);
        m.matrix(LAYER + "self_attn.kv_a_proj", Kind.LATENT, 4, 8, filled(32, 1));
        Map<String, ModuleWeights> w = m.walk(1);
        assertEquals(ModuleWeights.Source.EVEN_INPUT, w.get(LAYER + "self_attn.o_proj").source());
        assertEquals(ModuleWeights.Source.LAYER_MEDIAN, w.get(LAYER + "self_attn.kv_a_proj").source());
        assertEquals(ModuleWeights.Source.LAYER_MEDIAN, w.get(LAYER + "self_attn.q_proj").source());
        assertEquals(8 * RHO * 0.25, m.added(), 1e-5);
    }

    @Test
    void noiseOfOutputAndValueProjectionsIsAsSampled() {
        Random random = new Random(31);
        int d = 32;
        HandMadeModel m = new HandMadeModel();
        m.config.put("num_attention_heads", 4).put("hidden_size", d);
        m.matrix("model.embed_tokens", Kind.EMBEDDING, 40, d, gaussian(40 * d, 1, random))
                .vector(LAYER + "input_layernorm.weight", filled(d, 1))
                .matrix(LAYER + "self_attn.q_proj", Kind.Q, d, d, gaussian(d * d, 0.2, random))
                .matrix(LAYER + "self_attn.k_proj", Kind.K, 16, d, gaussian(16 * d, 0.2, random))
                .matrix(LAYER + "self_attn.v_proj", Kind.V, 16, d, gaussian(16 * d, 0.2, random))
                .matrix(LAYER + "self_attn.o_proj", Kind.O, d, d, gaussian(d * d, 0.2, random));
        Map<String, ModuleWeights> w = m.walk(2);
        float[] changeO = gaussian(d * d, 0.01, random);
        float[] changeV = gaussian(16 * d, 0.01, random);
        double[] noise = new double[2];
        int samples = 4000;
        double[] input = attentionTerm(w, "v").columns();
        for (int s = 0; s < samples; s++) {
            double[] h = new double[d];
            for (int j = 0; j < d; j++) {
                h[j] = Math.sqrt(input[j]) * random.nextGaussian();
            }
            double[] context = spread(times(m.data.get(LAYER + "self_attn.v_proj"), null, h, 16));
            double[] contextNoise = spread(times(changeV, null, h, 16));
            double[] o = times(changeO, null, context, d);
            double[] v = times(m.data.get(LAYER + "self_attn.o_proj"), null, contextNoise, d);
            for (int i = 0; i < d; i++) {
                noise[0] += o[i] * o[i] / samples;
                noise[1] += v[i] * v[i] / samples;
            }
        }
        assertEquals(1, noise[0] / weighted(attentionTerm(w, "o"), changeO), 0.25);
        assertEquals(1, noise[1] / weighted(attentionTerm(w, "v"), changeV), 0.25);
    }

    /// Two heads of 8 channels for each of two key-value heads, averaged over positions as the propagation has it.
    private static double[] spread(double[] value) {
        double[] context = new double[32];
        for (int i = 0; i < 32; i++) {
            context[i] = Math.sqrt(RHO) * value[i / 16 * 8 + i % 8];
        }
        return context;
    }

    @Test
    void threadsChangeNoBit() {
        HandMadeModel m = mlp(512, 1500, new Random(11));
        Map<String, ModuleWeights> one = m.walk(1);
        Map<String, ModuleWeights> four = m.walk(4);
        for (String name : MLP) {
            Term a = mlpTerm(one, name);
            Term b = mlpTerm(four, name);
            assertArrayEquals(a.rows(), b.rows(), 0);
            assertArrayEquals(a.columns(), b.columns(), 0);
            assertEquals(a.scale(), b.scale());
        }
    }
}
