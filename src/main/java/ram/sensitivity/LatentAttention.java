package ram.sensitivity;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import ram.layout.Kind;
import ram.layout.Module;

/// Multi-head latent attention of one layer: all heads make their keys and values of one latent vector, and their queries of another or of the input. A part of each key
/// and query is rotated; that of the keys is the same for all heads.
final class LatentAttention {
    private static final double QUERY = DecoderRules.factor(Kind.Q);
    private static final double KEY = DecoderRules.factor(Kind.K);
    private static final double VALUE = DecoderRules.factor(Kind.V);

    /// What the projections are.
    ///
    /// @param query to the elements of all heads
    /// @param queryLatent to the vector that queries are made of; null where they are made of the input
    /// @param latent to the vector that keys and values are made of, and the rotated part of keys
    /// @param keyValue to keys and values, head by head; null where `keys` and `values` do it
    /// @param keys one matrix per head, from the elements of a query to the latent vector: the transpose of what makes keys
    /// @param values one matrix per head, from the latent vector to values
    private record Projections(Module query, Module queryLatent, Module latent, Module keyValue, Module keys, Module values, Module output) {
    }

    /// Lengths of vectors.
    ///
    /// @param still elements of a head's query and key that are not rotated
    /// @param turned those that are
    /// @param value elements of a head's value
    /// @param latent elements that keys and values are made of
    private record Lengths(int heads, int still, int turned, int value, int latent) {
        int query() {
            return still + turned;
        }
    }

    private final Dense dense;
    private final Projections p;
    private final Lengths n;
    private final String prefix;

    private LatentAttention(Dense dense, Projections projections, Lengths lengths) {
        this.dense = dense;
        this.p = projections;
        this.n = lengths;
        prefix = Modules.beside(projections.latent, "");
    }

    /// The latent attention among a layer's modules, when its projections have the shapes that config.json implies.
    static Optional<LatentAttention> find(List<Module> modules, int hidden, Dense dense) {
        Projections p = new Projections(Modules.named(modules, "q_b_proj").or(() -> Modules.named(modules, "q_proj")).orElse(null), Modules.named(modules, "q_a_proj").orElse(null),
                Modules.named(modules, "kv_a_proj_with_mqa").orElse(null), Modules.named(modules, "kv_b_proj").orElse(null), Modules.named(modules, "embed_q").orElse(null),
                Modules.named(modules, "unembed_out").orElse(null), Modules.named(modules, "o_proj").orElse(null));
        if (p.query == null || p.latent == null || p.output == null) {
            return Optional.empty();
        }
        int turned = (int) dense.number("qk_rope_head_dim", 0);
        int heads = (int) dense.number("num_attention_heads", 0);
        Lengths n = new Lengths(heads, (int) dense.number("qk_nope_head_dim", 0), turned, (int) dense.number("v_head_dim", heads > 0 ? hidden / heads : 0),
                (int) p.latent.weight().shape().rows() - turned);
        boolean possible = n.heads > 0 && n.still > 0 && n.turned > 0 && n.value > 0 && n.latent > 0
                && Modules.is(p.latent, 1, n.latent + n.turned, hidden) && Modules.is(p.output, 1, hidden, (long) n.heads * n.value)
                && (p.queryLatent == null ? Modules.is(p.query, 1, (long) n.heads * n.query(), hidden)
                        : Modules.is(p.queryLatent, 1, p.query.weight().shape().columns(), hidden) && Modules.is(p.query, 1, (long) n.heads * n.query(), p.queryLatent.weight().shape().rows()))
                && (p.keyValue == null ? Modules.is(p.keys, n.heads, n.latent, n.still) && Modules.is(p.values, n.heads, n.value, n.latent)
                        : Modules.is(p.keyValue, 1, (long) n.heads * (n.still + n.value), n.latent));
        return possible ? Optional.of(new LatentAttention(dense, p, n)) : Optional.empty();
    }

    /// Mean squares inside the attention.
    ///
    /// @param queryInput of what queries are made of, `queryGain` what a unit of noise power before its norm is after it
    /// @param latent of what keys and values are made of, likewise `latentGain`
    /// @param query of all heads, one after the other
    /// @param key the part that is not rotated, of all heads; `turnedKey` the other one
    /// @param context of the inputs of the output projection
    private record State(double[] input, double[] queryInput, double[] queryGain, double[] latent, double[] latentGain, double[] query, double[] key, double[] turnedKey, double[] context) {
    }

    Mixed follow(Squares squares, double[] input) {
        State s = propagate(squares, input);
        return new Mixed(p.output, s.context, (output, rowGain, scale) -> weights(squares, s, output, rowGain, scale));
    }

    private State propagate(Squares squares, double[] input) {
        double[] queryInput = input;
        double[] queryGain = null;
        if (p.queryLatent != null) {
            queryInput = dense.outputs(squares, p.queryLatent, input);
            queryGain = dense.normalize(queryInput, prefix, DecoderRules.list("q_latent_norm"), queryInput.length);
        }
        double[] query = dense.outputs(squares, p.query, queryInput);
        double[] all = dense.outputs(squares, p.latent, input);
        double[] latent = Arrays.copyOf(all, n.latent);
        double[] latentGain = dense.normalize(latent, prefix, DecoderRules.list("kv_latent_norm"), latent.length);
        double[] key = new double[n.heads * n.still];
        double[] value = new double[n.heads * n.value];
        if (p.keyValue != null) {
            double[] both = dense.outputs(squares, p.keyValue, latent);
            int each = n.still + n.value;
            for (int h = 0; h < n.heads; h++) {
                System.arraycopy(both, h * each, key, h * n.still, n.still);
                System.arraycopy(both, h * each + n.still, value, h * n.value, n.value);
            }
        } else {
            double[][] keys = squares.of(p.keys, null, latent, true).columns();
            for (int h = 0; h < n.heads; h++) {
                System.arraycopy(keys[h], 0, key, h * n.still, n.still);
            }
            double[][] in = new double[n.heads][];
            Arrays.fill(in, latent);
            value = squares.of(p.values, in, null, false).rows();
        }
        double[] context = Arrays.stream(value).map(x -> Attention.RHO * x).toArray();
        return new State(input, queryInput, queryGain, latent, latentGain, query, key, Arrays.copyOfRange(all, n.latent, all.length), context);
    }

    private List<ModuleWeights> weights(Squares squares, State s, double[] output, double[] rowGain, double scale) {
        double[] score = scores(s, output);
        double[] value = Arrays.stream(output).map(x -> Attention.RHO * x).toArray();
        double[] query = new double[s.query.length];
        double[] turnedKey = new double[n.turned];
        // per element of a query that is not rotated: what noise in the key there does
        double[] key = new double[n.heads * n.still];
        for (int h = 0; h < n.heads; h++) {
            for (int i = 0; i < n.still; i++) {
                query[h * n.query() + i] = score[h] * s.key[h * n.still + i];
                key[h * n.still + i] = score[h] * s.query[h * n.query() + i];
            }
            for (int i = 0; i < n.turned; i++) {
                query[h * n.query() + n.still + i] = score[h] * s.turnedKey[i];
                turnedKey[i] += score[h] * s.query[h * n.query() + n.still + i];
            }
        }
        List<ModuleWeights> out = new ArrayList<>();
        out.add(ModuleWeights.propagated(p.query, new Term(query, s.queryInput, scale * QUERY, true)));
        if (p.queryLatent != null) {
            double[] rows = times(s.queryGain, squares.of(p.query, null, query, true).columns()[0]);
            out.add(ModuleWeights.propagated(p.queryLatent, new Term(rows, s.input, scale * QUERY, true)));
        }
        double[] latent = p.keyValue != null ? keyValue(squares, s, key, value, scale, out) : keysAndValues(squares, s, score, key, value, scale, out);
        double[] rows = Arrays.copyOf(times(s.latentGain, latent), n.latent + n.turned);
        for (int i = 0; i < n.turned; i++) {
            rows[n.latent + i] = KEY * turnedKey[i];
        }
        out.add(ModuleWeights.propagated(p.latent, new Term(rows, s.input, scale, true)));
        out.add(ModuleWeights.propagated(p.output, new Term(rowGain, s.context, scale * DecoderRules.factor(Kind.O), true)));
        return out;
    }

    /// Per head what a unit of noise power in a product of a query's and a key's element does to the residual.
    private double[] scores(State s, double[] output) {
        double growth = dense.latentScoreGrowth();
        double square = growth * growth / n.query();
        double[] power = new double[n.heads];
        for (int i = 0; i < output.length; i++) {
            power[i / n.value] += s.context[i] * output[i];
        }
        double variance = 0;
        for (int h = 0; h < n.heads; h++) {
            for (int i = 0; i < n.query(); i++) {
                variance += s.query[h * n.query() + i] * (i < n.still ? s.key[h * n.still + i] : s.turnedKey[i - n.still]);
            }
        }
        double aligned = Attention.aligned(variance * square / n.heads);
        return Arrays.stream(power).map(x -> x * square * aligned).toArray();
    }

    /// Adds the weights of the matrix that makes keys and values, and returns what noise in each latent element does.
    private double[] keyValue(Squares squares, State s, double[] key, double[] value, double scale, List<ModuleWeights> out) {
        int each = n.still + n.value;
        double[] rows = new double[n.heads * each];
        for (int h = 0; h < n.heads; h++) {
            for (int i = 0; i < n.still; i++) {
                rows[h * each + i] = KEY * key[h * n.still + i];
            }
            for (int i = 0; i < n.value; i++) {
                rows[h * each + n.still + i] = VALUE * value[h * n.value + i];
            }
        }
        out.add(ModuleWeights.propagated(p.keyValue, new Term(rows, s.latent, scale, true)));
        return squares.of(p.keyValue, null, rows, true).columns()[0];
    }

    /// The same where each head has a matrix for either. In that of its keys a column is an element of the query.
    private double[] keysAndValues(Squares squares, State s, double[] score, double[] key, double[] value, double scale, List<ModuleWeights> out) {
        List<List<Term>> keys = new ArrayList<>();
        List<List<Term>> values = new ArrayList<>();
        for (int h = 0; h < n.heads; h++) {
            double[] query = Arrays.copyOfRange(s.query, h * n.query(), h * n.query() + n.still);
            keys.add(List.of(new Term(s.latent, query, scale * KEY * score[h], true)));
            values.add(List.of(new Term(Arrays.copyOfRange(value, h * n.value, (h + 1) * n.value), s.latent, scale * VALUE, true)));
        }
        out.add(new ModuleWeights(p.keys, ModuleWeights.Source.PROPAGATED, keys));
        out.add(new ModuleWeights(p.values, ModuleWeights.Source.PROPAGATED, values));
        double[][] in = IntStream.range(0, n.heads).mapToObj(h -> Arrays.copyOfRange(key, h * n.still, (h + 1) * n.still)).toArray(double[][]::new);
        double[] ofKeys = squares.of(p.keys, in, null, false).rows();
        double[][] ofValues = squares.of(p.values, null, value, true).columns();
        double[] latent = new double[n.latent];
        for (int h = 0; h < n.heads; h++) {
            for (int c = 0; c < n.latent; c++) {
                latent[c] += KEY * ofKeys[h * n.latent + c] + VALUE * ofValues[h][c];
            }
        }
        return latent;
    }

    private static double[] times(double[] a, double[] b) {
        double[] out = new double[a.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = a[i] * b[i];
        }
        return out;
    }
}
