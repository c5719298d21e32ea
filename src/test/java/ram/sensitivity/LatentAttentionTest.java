package ram.sensitivity;

import static org.junit.jupiter.api.Assertions.assertEquals;
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
import ram.safetensors.Shape;

/// Where the matrices that lead to latent vectors are diagonal, latent attention is plain attention with the products of its matrices, whose weights are known.
class LatentAttentionTest {
    private static final String ATTENTION = "model.layers.0.self_attn.";
    private static final int HIDDEN = 8;
    private static final int HEADS = 2;
    private static final int STILL = 3;
    private static final int TURNED = 2;
    private static final int QUERY = STILL + TURNED;
    private static final int VALUE = 4;
    private static final int LATENT = 6;

    private final Random random = new Random(5);
    private final float[] embedding = gaussian(20 * HIDDEN, 1, random);
    private final float[] inputGains = gaussian(HIDDEN, 1, random);
    private final float[] output = gaussian(HIDDEN * HEADS * VALUE, 1, random);
    private final float[] query = gaussian(HEADS * QUERY * HIDDEN, 1, random);
    private final float[] key = gaussian(HEADS * STILL * LATENT, 1, random);
    private final float[] value = gaussian(HEADS * VALUE * LATENT, 1, random);
    private final float[] turnedKey = gaussian(TURNED * HIDDEN, 1, random);
    private final float[] toQuery = gaussian(HIDDEN, 1, random);
    private final float[] toLatent = gaussian(LATENT, 1, random);
    private final float[] queryGains = gaussian(HIDDEN, 1, random);
    private final float[] latentGains = gaussian(LATENT, 1, random);

    private HandMadeModel model() {
        HandMadeModel m = new HandMadeModel();
        m.config.put("num_attention_heads", HEADS).put("hidden_size", HIDDEN).put("qk_nope_head_dim", STILL).put("qk_rope_head_dim", TURNED).put("v_head_dim", VALUE);
        return m.matrix("model.embed_tokens", Kind.EMBEDDING, 20, HIDDEN, embedding).vector("model.layers.0.input_layernorm.weight", inputGains)
                .matrix(ATTENTION + "o_proj", Kind.O, HIDDEN, HEADS * VALUE, output);
    }

    private HandMadeModel latent(boolean queryLatent, boolean normed, boolean perHead) {
        HandMadeModel m = model();
        if (queryLatent) {
            m.matrix(ATTENTION + "q_a_proj", Kind.LATENT, HIDDEN, HIDDEN, diagonal(toQuery, HIDDEN)).matrix(ATTENTION + "q_b_proj", Kind.LATENT, HEADS * QUERY, HIDDEN, query);
        } else {
            m.matrix(ATTENTION + "q_proj", Kind.Q, HEADS * QUERY, HIDDEN, query);
        }
        float[] down = new float[(LATENT + TURNED) * HIDDEN];
        System.arraycopy(diagonal(toLatent, LATENT), 0, down, 0, LATENT * HIDDEN);
        System.arraycopy(turnedKey, 0, down, LATENT * HIDDEN, turnedKey.length);
        m.matrix(ATTENTION + "kv_a_proj_with_mqa", Kind.LATENT, LATENT + TURNED, HIDDEN, down);
        if (perHead) {
            m.add(ATTENTION + "embed_q", Kind.LATENT, Shape.of(HEADS, LATENT, STILL), turnedPerHead(key)).add(ATTENTION + "unembed_out", Kind.LATENT, Shape.of(HEADS, VALUE, LATENT), value);
        } else {
            m.matrix(ATTENTION + "kv_b_proj", Kind.LATENT, HEADS * (STILL + VALUE), LATENT, joined(key, value));
        }
        if (normed) {
            m.vector(ATTENTION + "q_a_layernorm.weight", queryGains).vector(ATTENTION + "kv_a_layernorm.weight", latentGains);
        }
        return m;
    }

    /// @param q what elements of the input are multiplied by before `query`, `kv` before keys and values
    private HandMadeModel plain(double[] q, double[] kv) {
        float[] keys = new float[HEADS * QUERY * HIDDEN];
        float[] values = new float[HEADS * VALUE * HIDDEN];
        float[] queries = query.clone();
        for (int i = 0; i < queries.length; i++) {
            queries[i] *= (float) q[i % HIDDEN];
        }
        for (int h = 0; h < HEADS; h++) {
            for (int c = 0; c < LATENT; c++) {
                for (int i = 0; i < STILL; i++) {
                    keys[(h * QUERY + i) * HIDDEN + c] = (float) (key[(h * STILL + i) * LATENT + c] * kv[c]);
                }
                for (int i = 0; i < VALUE; i++) {
                    values[(h * VALUE + i) * HIDDEN + c] = (float) (value[(h * VALUE + i) * LATENT + c] * kv[c]);
                }
            }
            System.arraycopy(turnedKey, 0, keys, (h * QUERY + STILL) * HIDDEN, turnedKey.length);
        }
        return model().matrix(ATTENTION + "q_proj", Kind.Q, HEADS * QUERY, HIDDEN, queries).matrix(ATTENTION + "k_proj", Kind.K, HEADS * QUERY, HIDDEN, keys)
                .matrix(ATTENTION + "v_proj", Kind.V, HEADS * VALUE, HIDDEN, values);
    }

    @ParameterizedTest
    @CsvSource({"true, true, true", "true, true, false", "true, false, false", "true, false, true", "false, true, true", "false, true, false", "false, false, true"})
    void noiseCountsAsInPlainAttention(boolean queryLatent, boolean normed, boolean perHead) {
        double[] in = term(latent(queryLatent, normed, perHead).walk(1), ATTENTION + "kv_a_proj_with_mqa").columns();
        double[] queryFactors = queryLatent ? factors(in, toQuery, queryGains, normed) : HandMadeModel.all(HIDDEN, 1);
        double[] latentFactors = factors(in, toLatent, latentGains, normed);
        HandMadeModel plain = plain(queryFactors, latentFactors);
        Map<String, ModuleWeights> expected = plain.walk(1);
        HandMadeModel model = latent(queryLatent, normed, perHead);
        Map<String, ModuleWeights> actual = model.walk(2);
        assertEquals(plain.result.residualPower().getLast(), model.result.residualPower().getLast(), 1e-5 * plain.result.residualPower().getLast());

        Term q = term(expected, ATTENTION + "q_proj");
        Term k = term(expected, ATTENTION + "k_proj");
        Term v = term(expected, ATTENTION + "v_proj");
        assertClose(in, q.columns());
        assertClose(costs(term(expected, ATTENTION + "o_proj")), costs(term(actual, ATTENTION + "o_proj")));
        assertClose(term(expected, ATTENTION + "o_proj").columns(), term(actual, ATTENTION + "o_proj").columns());
        Term own = term(actual, ATTENTION + (queryLatent ? "q_b_proj" : "q_proj"));
        assertClose(costs(q), costs(own));
        for (int j = 0; j < HIDDEN; j++) {
            assertEquals(in[j] * queryFactors[j] * queryFactors[j], own.columns()[j], 1e-5 * own.columns()[j]);
        }
        if (queryLatent) {
            double[] rows = new double[HIDDEN];
            for (int i = 0; i < query.length; i++) {
                rows[i % HIDDEN] += costs(q)[i / HIDDEN] * square(query[i] * queryFactors[i % HIDDEN] / toQuery[i % HIDDEN]);
            }
            assertClose(rows, costs(term(actual, ATTENTION + "q_a_proj")));
        }
        double[] rows = new double[LATENT + TURNED];
        for (int h = 0; h < HEADS; h++) {
            for (int c = 0; c < LATENT; c++) {
                for (int i = 0; i < STILL; i++) {
                    rows[c] += costs(k)[h * QUERY + i] * square(key[(h * STILL + i) * LATENT + c] * latentFactors[c] / toLatent[c]);
                }
                for (int i = 0; i < VALUE; i++) {
                    rows[c] += costs(v)[h * VALUE + i] * square(value[(h * VALUE + i) * LATENT + c] * latentFactors[c] / toLatent[c]);
                }
            }
            for (int i = 0; i < TURNED; i++) {
                rows[LATENT + i] += costs(k)[h * QUERY + STILL + i];
            }
        }
        assertClose(rows, costs(term(actual, ATTENTION + "kv_a_proj_with_mqa")));
        requireKeysAndValues(actual, perHead, k, v, in, latentFactors);
    }

    /// What random errors in them cost.
    private void requireKeysAndValues(Map<String, ModuleWeights> actual, boolean perHead, Term k, Term v, double[] in, double[] latentFactors) {
        float[] keyErrors = gaussian(key.length, 0.1, random);
        float[] valueErrors = gaussian(value.length, 0.1, random);
        double expectedKeys = 0;
        double expectedValues = 0;
        for (int h = 0; h < HEADS; h++) {
            for (int c = 0; c < LATENT; c++) {
                double power = in[c] * square(latentFactors[c]);
                for (int i = 0; i < STILL; i++) {
                    expectedKeys += costs(k)[h * QUERY + i] * square(keyErrors[(h * STILL + i) * LATENT + c]) * power;
                }
                for (int i = 0; i < VALUE; i++) {
                    expectedValues += costs(v)[h * VALUE + i] * square(valueErrors[(h * VALUE + i) * LATENT + c]) * power;
                }
            }
        }
        if (perHead) {
            assertEquals(expectedKeys, cost(actual.get(ATTENTION + "embed_q"), turnedPerHead(keyErrors), LATENT), 1e-5 * expectedKeys);
            assertEquals(expectedValues, cost(actual.get(ATTENTION + "unembed_out"), valueErrors, VALUE), 1e-5 * expectedValues);
        } else {
            assertEquals(expectedKeys + expectedValues, cost(actual.get(ATTENTION + "kv_b_proj"), joined(keyErrors, valueErrors), HEADS * (STILL + VALUE)), 1e-5 * expectedValues);
        }
    }

    /// Scores that are multiplied by more feel noise more; those of this model vary enough by themselves.
    @Test
    void scoresGrowWithTheScalingOfRotations() {
        HandMadeModel m = latent(true, true, true);
        m.config.putObject("rope_scaling").put("factor", 40).put("mscale_all_dim", 1.0);
        double growth = Math.pow(0.1 * Math.log(40) + 1, 4);
        double[] before = costs(term(latent(true, true, true).walk(1), ATTENTION + "q_b_proj"));
        double[] after = costs(term(m.walk(1), ATTENTION + "q_b_proj"));
        for (int i = 0; i < before.length; i++) {
            assertEquals(growth, after[i] / before[i], 1e-9);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "num_attention_heads"})
    void shapesThatDoNotFitAreLeftAlone(String key) {
        for (int number : new int[] {0, 1, -3, 1 << 30}) {
            HandMadeModel m = latent(true, true, true);
            m.config.put(key, number);
            Map<String, ModuleWeights> w = m.walk(1);
            for (String name : List.of("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "embed_q", "unembed_out")) {
                assertEquals(ModuleWeights.Source.LAYER_MEDIAN, w.get(ATTENTION + name).source());
            }
        }
    }

    /// What elements of the input are multiplied by until the norm has gone over them.
    private static double[] factors(double[] in, float[] diagonal, float[] gains, boolean normed) {
        double mean = 0;
        for (int i = 0; i < diagonal.length; i++) {
            mean += in[i] * square(diagonal[i]) / diagonal.length;
        }
        double[] out = new double[diagonal.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = diagonal[i] * (normed ? gains[i] / Math.sqrt(mean) : 1);
        }
        return out;
    }

    private static double[] costs(Term t) {
        return Arrays.stream(t.rows()).map(r -> r * t.scale()).toArray();
    }

    /// Σ over the parts of scale · rowᵢ · errorᵢⱼ² · columnⱼ.
    private static double cost(ModuleWeights w, float[] errors, int rowsPerPart) {
        double sum = 0;
        for (int p = 0; p < w.parts().size(); p++) {
            Term t = w.parts().get(p).getFirst();
            int columns = t.columns().length;
            for (int i = 0; i < rowsPerPart * columns; i++) {
                sum += t.scale() * t.rows()[i / columns] * t.columns()[i % columns] * square(errors[p * rowsPerPart * columns + i]);
            }
        }
        return sum;
    }

    private static float[] turnedPerHead(float[] keys) {
        float[] out = new float[keys.length];
        for (int h = 0; h < HEADS; h++) {
            for (int i = 0; i < STILL; i++) {
                for (int c = 0; c < LATENT; c++) {
                    out[(h * LATENT + c) * STILL + i] = keys[(h * STILL + i) * LATENT + c];
                }
            }
        }
        return out;
    }

    private static float[] joined(float[] keys, float[] values) {
        float[] out = new float[keys.length + values.length];
        for (int h = 0; h < HEADS; h++) {
            System.arraycopy(keys, h * STILL * LATENT, out, h * (STILL + VALUE) * LATENT, STILL * LATENT);
            System.arraycopy(values, h * VALUE * LATENT, out, (h * (STILL + VALUE) + STILL) * LATENT, VALUE * LATENT);
        }
        return out;
    }

    private static float[] diagonal(float[] values, int rows) {
        float[] out = new float[rows * HIDDEN];
        for (int i = 0; i < rows; i++) {
            out[i * HIDDEN + i] = values[i];
        }
        return out;
    }

    private static void assertClose(double[] expected, double[] actual) {
        assertEquals(expected.length, actual.length);
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], actual[i], 1e-5 * Math.abs(expected[i]));
        }
    }

    private static double square(double x) {
        return x * x;
    }
}
