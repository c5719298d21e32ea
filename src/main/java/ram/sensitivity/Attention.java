package ram.sensitivity;

import java.util.List;
import java.util.Optional;
import ram.layout.Kind;
import ram.layout.Module;
import ram.safetensors.Shape;

/// Softmax attention of one layer, from the mean squares of its inputs to noise weights of its projections.
///
/// With separate projections, of which that of keys may serve for values, rows of q, k and v are numbered as they lie; with a fused one, through `rowsOf`.
final class Attention {
    /// Share of a value's power that is left after averaging over the attended positions.
    static final double RHO = 0.35;
    /// Least variance that the scores of a query are taken to have, and how far noise in them is scaled up at most where less is predicted. Projections are trained to read
    /// the directions in which the residual varies most, which channels that are taken one by one do not show: without norms of queries and keys, small trained models
    /// have variances of 3 to 10 where 0.1 to 0.4 is predicted.
    private static final double LEAST_VARIANCE = 2;
    private static final double MOST_ALIGNED = 10;

    private final Dense dense;
    private final Module q;
    private final Module k;
    private final Module v;
    private final Module fused;
    private final Module o;
    private final int heads;
    private final int kvHeads;
    private final int keyLength;
    /// Square of what scores are multiplied by: 1 / length of a key, unless config.json has a number of its own.
    private final double scoreScale;
    private final int valueLength;
    private final boolean gated;
    private final boolean byGroup;
    private final boolean normalizesValues;

    private Attention(Dense dense, Module q, Module k, Module v, Module fused, Module o, int heads, int kvHeads, int keyLength,
                      int valueLength, boolean gated, String family) {
        this.dense = dense;
        this.q = q;
        this.k = k;
        this.v = v;
        this.fused = fused;
        this.o = o;
        this.heads = heads;
        this.kvHeads = kvHeads;
        this.keyLength = keyLength;
        double multiplier = DecoderRules.has("scores_as_they_are", family) ? 1 : dense.number("attention_multiplier", 0);
        double divisor = dense.number("query_pre_attn_scalar", 0);
        this.scoreScale = multiplier > 0 ? multiplier * multiplier : 1 / (divisor > 0 ? divisor : keyLength);
        this.valueLength = valueLength;
        this.gated = gated;
        byGroup = fused != null && DecoderRules.has("qkv_by_group", family);
        normalizesValues = DecoderRules.has("values_normalized", family);
    }

    /// The attention among a layer's modules, when its projections have the shapes of plain, grouped-query or gated attention.
    static Optional<Attention> find(List<Module> modules, int hidden, Dense dense, String family) {
        Module q = only(modules, Kind.Q);
        Module k = only(modules, Kind.K);
        Module v = dense.flag("attention_k_eq_v", false) && only(modules, Kind.V) == null ? k : only(modules, Kind.V);
        Module qkv = only(modules, Kind.QKV);
        Module o = only(modules, Kind.O);
        if (o == null) {
            return Optional.empty();
        }
        // A family whose layers differ has a list of numbers of heads, but one length for all.
        int heads = (int) dense.number("num_attention_heads", o.weight().shape().columns() / Math.max(1, dense.number("head_dim", Integer.MAX_VALUE)));
        if (heads <= 0 || !matrix(o, hidden, -1) || o.weight().shape().columns() % heads != 0) {
            return Optional.empty();
        }
        int valueLength = (int) (o.weight().shape().columns() / heads);
        if (qkv != null && q == null && k == null && v == null) {
            long kvRows = qkv.weight().shape().rows() - (long) heads * valueLength;
            if (!matrix(qkv, -1, hidden) || kvRows <= 0 || kvRows % (2L * valueLength) != 0) {
                return Optional.empty();
            }
            int kvHeads = (int) (kvRows / (2L * valueLength));
            return heads % kvHeads != 0 ? Optional.empty() : Optional.of(new Attention(dense, null, null, null, qkv, o, heads, kvHeads,
                    valueLength, valueLength, false, family));
        }
        if (q == null || k == null || v == null || !matrix(q, -1, hidden) || !matrix(k, -1, hidden) || !matrix(v, -1, hidden)) {
            return Optional.empty();
        }
        long qRows = q.weight().shape().rows();
        long configured = (long) dense.number("head_dim", 0);
        boolean gated = configured > 0 && qRows == 2 * heads * configured && valueLength == configured;
        if (qRows % heads != 0) {
            return Optional.empty();
        }
        int keyLength = (int) (qRows / heads) / (gated ? 2 : 1);
        long kvHeads = k.weight().shape().rows() / keyLength;
        if (kvHeads == 0 || kvHeads * keyLength != k.weight().shape().rows() || heads % kvHeads != 0
                || kvHeads * valueLength != v.weight().shape().rows()) {
            return Optional.empty();
        }
        return Optional.of(new Attention(dense, q, k, v, null, o, heads, (int) kvHeads, keyLength, valueLength, gated, family));
    }

    private static Module only(List<Module> modules, Kind kind) {
        List<Module> found = modules.stream().filter(m -> m.kind() == kind && m.parts().size() == 1).toList();
        return found.size() == 1 ? found.getFirst() : null;
    }

    private static boolean matrix(Module m, long rows, long columns) {
        Shape shape = m.weight().shape();
        return shape.rank() == 2 && (rows < 0 || shape.rows() == rows) && (columns < 0 || shape.columns() == columns);
    }

    /// Mean squares inside the attention.
    ///
    /// @param keyGain per key row: what a unit of noise power before the key norm is after it; likewise `queryGain` and `valueGain`
    /// @param context mean square of each input of o
    /// @param gate mean square of the gate's input per context channel, null without a gate
    private record State(double[] input, double[] query, double[] key, double[] queryGain, double[] keyGain, double[] valueGain, double[] context, double[] gate) {
    }

    Mixed follow(Squares squares, double[] input) {
        State s = propagate(squares, input);
        return new Mixed(o, s.context, (output, rowGain, scale) -> weights(s, output, rowGain, scale));
    }

    private State propagate(Squares squares, double[] input) {
        double[] query;
        double[] key;
        double[] value;
        double[] gate = null;
        if (fused != null) {
            double[] all = dense.outputs(squares, fused, input);
            query = pick(all, fusedRows(0));
            key = pick(all, fusedRows(1));
            value = pick(all, fusedRows(2));
        } else {
            query = dense.outputs(squares, q, input);
            key = dense.outputs(squares, k, input);
            value = k == v ? key.clone() : dense.outputs(squares, v, input);
            if (gated) {
                gate = pick(query, gatedRows(1));
                query = pick(query, gatedRows(0));
            }
        }
        String prefix = (fused != null ? fused : q).path();
        prefix = prefix.substring(0, prefix.lastIndexOf('.') + 1);
        double[] valueGain = normalizesValues ? Dense.normalize(value, Dense.ones(valueLength), valueLength) : Dense.ones(value.length);
        double[] queryGain = normalize(query, prefix, DecoderRules.list("q_norm"));
        double[] keyGain = normalize(key, prefix, DecoderRules.list("k_norm"));
        double[] context = new double[heads * valueLength];
        for (int i = 0; i < context.length; i++) {
            context[i] = RHO * value[sharedRow(i, valueLength)] * (gate == null ? 1 : Activation.SIGMOID.meanSquare(gate[i]));
        }
        return new State(input, query, key, queryGain, keyGain, valueGain, context, gate);
    }

    /// Applies the norm of queries or keys, over all heads or per head, to `power`, and returns the gain of noise in each row.
    private double[] normalize(double[] power, String prefix, List<String> names) {
        return dense.normalize(power, prefix, names, power.length, keyLength);
    }

    /// Row of k or v that belongs to row `i` of q or to input `i` of o.
    ///
    /// @param length of a head there
    private int sharedRow(int i, int length) {
        return i / length / (heads / kvHeads) * length + i % length;
    }

    /// Rows of a fused projection that are queries (0), keys (1) or values (2).
    private int[] fusedRows(int role) {
        int perKv = heads / kvHeads;
        int count = role == 0 ? heads : kvHeads;
        int[] rows = new int[count * keyLength];
        for (int i = 0; i < rows.length; i++) {
            int head = i / keyLength;
            int inHead = i % keyLength;
            if (byGroup) {
                int group = role == 0 ? head / perKv : head;
                int slot = role == 0 ? head % perKv : perKv + role - 1;
                rows[i] = (group * (perKv + 2) + slot) * keyLength + inHead;
            } else {
                int before = role == 0 ? 0 : heads + (role - 1) * kvHeads;
                rows[i] = (before + head) * keyLength + inHead;
            }
        }
        return rows;
    }

    /// Rows of a gated q that are queries (0) or gates (1): the two alternate by head.
    private int[] gatedRows(int role) {
        int[] rows = new int[heads * keyLength];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = (2 * (i / keyLength) + role) * keyLength + i % keyLength;
        }
        return rows;
    }

    private static double[] pick(double[] from, int[] rows) {
        double[] out = new double[rows.length];
        for (int i = 0; i < rows.length; i++) {
            out[i] = from[rows[i]];
        }
        return out;
    }

    private static void put(double[] values, int[] rows, double factor, double[] target) {
        for (int i = 0; i < rows.length; i++) {
            target[rows[i]] = factor * values[i];
        }
    }

    private List<ModuleWeights> weights(State s, double[] output, double[] rowGain, double scale) {
        double[] power = new double[heads];
        double[] value = new double[kvHeads * valueLength];
        double[] gate = s.gate == null ? null : new double[output.length];
        for (int i = 0; i < output.length; i++) {
            power[i / valueLength] += s.context[i] * output[i];
            double open = s.gate == null ? 1 : Activation.SIGMOID.meanSquare(s.gate[i]);
            int row = sharedRow(i, valueLength);
            value[row] += RHO * open * s.valueGain[row] * output[i];
            if (gate != null) {
                gate[i] = s.context[i] / open * Activation.SIGMOID.slopeMeanSquare(s.gate[i]) * output[i];
            }
        }
        double[] query = new double[s.query.length];
        double[] key = new double[s.key.length];
        double aligned = aligned(scoreVariance(s));
        for (int a = 0; a < query.length; a++) {
            int b = sharedRow(a, keyLength);
            query[a] = s.key[b] * s.queryGain[a] * scoreScale * power[a / keyLength] * aligned;
            key[b] += s.query[a] * s.keyGain[b] * scoreScale * power[a / keyLength] * aligned;
        }
        ModuleWeights out = ModuleWeights.propagated(o, new Term(rowGain, s.context, scale * DecoderRules.factor(Kind.O), true));
        if (fused != null) {
            double[] rows = new double[Math.toIntExact(fused.weight().shape().rows())];
            put(query, fusedRows(0), DecoderRules.factor(Kind.Q), rows);
            put(key, fusedRows(1), DecoderRules.factor(Kind.K), rows);
            put(value, fusedRows(2), DecoderRules.factor(Kind.V), rows);
            return List.of(ModuleWeights.propagated(fused, new Term(rows, s.input, scale, true)), out);
        }
        double queryFactor = DecoderRules.factor(Kind.Q);
        if (gate != null) {
            double[] rows = new double[2 * query.length];
            put(query, gatedRows(0), queryFactor, rows);
            // A gate multiplies the value as the gate of an MLP does.
            put(gate, gatedRows(1), DecoderRules.factor(Kind.GATE), rows);
            query = rows;
            queryFactor = 1;
        }
        ModuleWeights queries = ModuleWeights.propagated(q, new Term(query, s.input, scale * queryFactor, true));
        Term keys = new Term(key, s.input, scale * DecoderRules.factor(Kind.K), true);
        Term values = new Term(value, s.input, scale * DecoderRules.factor(Kind.V), true);
        return k == v ? List.of(queries, ModuleWeights.propagated(k, keys, values), out)
                : List.of(queries, ModuleWeights.propagated(k, keys), ModuleWeights.propagated(v, values), out);
    }

    /// What noise in scores is scaled up by.
    ///
    /// @param variance that they are predicted to have
    static double aligned(double variance) {
        return Math.clamp(LEAST_VARIANCE / variance, 1, MOST_ALIGNED);
    }

    /// Mean over the heads.
    private double scoreVariance(State s) {
        double sum = 0;
        for (int i = 0; i < s.query.length; i++) {
            sum += s.query[i] * s.key[sharedRow(i, keyLength)];
        }
        return sum * scoreScale / heads;
    }
}
