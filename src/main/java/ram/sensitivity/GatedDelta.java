package ram.sensitivity;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import ram.layout.Kind;
import ram.layout.Module;

/// A gated delta net in place of attention: queries, keys and values go through a short convolution and SiLU; keys write values into a memory of each head, queries read it, and what
/// is read is normalised head by head and multiplied by the SiLU of a gate.
///
/// What is read is linear in values and queries, and in keys while there is little in the memory, so noise in one of these is as large a share of it as of that; the norm leaves shares as they are.
final class GatedDelta {
    /// Which rows of its projection are what.
    ///
    /// @param module the projection
    /// @param rows in the order of the convolution's channels, or of the heads' values for the gate
    private record Part(Module module, int[] rows) {
    }

    /// Numbers of heads, and lengths of their vectors. Several heads of values may share one of keys.
    private record Heads(int keys, int values, int keyLength, int valueLength) {
        int keyWidth() {
            return keys * keyLength;
        }

        int valueWidth() {
            return values * valueLength;
        }

        int keyOf(int value) {
            return value / (values / keys);
        }
    }

    private final Dense dense;
    private final Heads heads;
    private final Part query;
    private final Part key;
    private final Part value;
    private final Part gate;
    private final Module out;
    private final double[] taps;
    private final double[] gains;

    private GatedDelta(Dense dense, Heads heads, Part query, Part key, Part value, Part gate, Module out, double[] taps, double[] gains) {
        this.dense = dense;
        this.heads = heads;
        this.query = query;
        this.key = key;
        this.value = value;
        this.gate = gate;
        this.out = out;
        this.taps = taps;
        this.gains = gains;
    }

    /// The delta net among a layer's modules, when its projections, taps and norm have the shapes that config.json implies.
    static Optional<GatedDelta> find(List<Module> modules, int hidden, Dense dense) {
        Module out = Modules.named(modules, "linear_attn.out_proj").orElse(null);
        Module all = Modules.named(modules, "linear_attn.in_proj_qkvz").orElse(null);
        Module qkv = Modules.named(modules, "linear_attn.in_proj_qkv").orElse(null);
        Module z = Modules.named(modules, "linear_attn.in_proj_z").orElse(null);
        Heads h = new Heads((int) dense.number("linear_num_key_heads", 0), (int) dense.number("linear_num_value_heads", 0), (int) dense.number("linear_key_head_dim", 0),
                (int) dense.number("linear_value_head_dim", 0));
        if (out == null || h.keys < 1 || h.values < 1 || h.values % h.keys != 0 || h.keyLength < 1 || h.valueLength < 1 || !Modules.is(out, 1, hidden, (long) h.values * h.valueLength)) {
            return Optional.empty();
        }
        long mixed = 2L * h.keys * h.keyLength + (long) h.values * h.valueLength;
        boolean fused = Modules.is(all, 1, mixed + (long) h.values * h.valueLength, hidden);
        if (!fused && (!Modules.is(qkv, 1, mixed, hidden) || !Modules.is(z, 1, (long) h.values * h.valueLength, hidden))) {
            return Optional.empty();
        }
        Optional<double[]> taps = dense.squaredTaps(Modules.beside(out, "conv1d.weight"), (int) mixed, "linear_conv_kernel_dim");
        Optional<double[]> gains = dense.gains(Modules.beside(out, ""), List.of("norm"), h.valueLength);
        if (taps.isEmpty() || gains.isEmpty()) {
            return Optional.empty();
        }
        if (fused) {
            // by heads of keys: a query, a key, the values of all heads that share them, and their gates
            int each = h.valueWidth() / h.keys;
            int step = 2 * h.keyLength + 2 * each;
            return Optional.of(new GatedDelta(dense, h, new Part(all, strided(h.keyWidth(), h.keyLength, step, 0)), new Part(all, strided(h.keyWidth(), h.keyLength, step, h.keyLength)),
                    new Part(all, strided(h.valueWidth(), each, step, 2 * h.keyLength)), new Part(all, strided(h.valueWidth(), each, step, 2 * h.keyLength + each)), out, taps.get(), gains.get()));
        }
        return Optional.of(new GatedDelta(dense, h, new Part(qkv, strided(h.keyWidth(), h.keyWidth(), 0, 0)), new Part(qkv, strided(h.keyWidth(), h.keyWidth(), 0, h.keyWidth())),
                new Part(qkv, strided(h.valueWidth(), h.valueWidth(), 0, 2 * h.keyWidth())), new Part(z, strided(h.valueWidth(), h.valueWidth(), 0, 0)), out, taps.get(), gains.get()));
    }

    /// Runs of `length` numbers, the first from `first` on and each `step` after the one before.
    private static int[] strided(int count, int length, int step, int first) {
        return IntStream.range(0, count).map(i -> first + i / length * step + i % length).toArray();
    }

    Mixed follow(Squares squares, double[] input) {
        double[] mixed = rows(squares, query.module, input);
        double[] gated = gate.module == query.module ? mixed : rows(squares, gate.module, input);
        double[] opened = pick(gated, gate.rows);
        double[] context = new double[heads.valueWidth()];
        for (int i = 0; i < context.length; i++) {
            context[i] = gains[i % heads.valueLength] * Activation.SILU.meanSquare(opened[i]);
        }
        return new Mixed(out, context, (output, rowGain, scale) -> weights(mixed, opened, input, context, output, rowGain, scale));
    }

    private double[] rows(Squares squares, Module module, double[] input) {
        double[] rows = squares.of(module, new double[][] {input}, null, false).rows();
        dense.addBias(module.path() + ".bias", rows);
        return rows;
    }

    private static double[] pick(double[] from, int[] rows) {
        return Arrays.stream(rows).mapToDouble(r -> from[r]).toArray();
    }

    private List<ModuleWeights> weights(double[] mixed, double[] opened, double[] input, double[] context, double[] output, double[] rowGain, double scale) {
        double[] rows = new double[mixed.length];
        double[] gateRows = gate.module == query.module ? rows : new double[opened.length];
        double[] reach = new double[heads.keys];
        for (int i = 0; i < context.length; i++) {
            int head = i / heads.valueLength;
            reach[heads.keyOf(head)] += context[i] * output[i];
            gateRows[gate.rows[i]] = DecoderRules.factor(Kind.GATE) * gains[i % heads.valueLength] * Activation.SILU.slopeMeanSquare(opened[i]) * output[i];
        }
        shares(query, 0, mixed, heads.keyLength, rows, i -> reach[i / heads.keyLength]);
        shares(key, heads.keyWidth(), mixed, heads.keyLength, rows, i -> reach[i / heads.keyLength]);
        // a head's noise, like its power, is spread over its channels
        shares(value, 2 * heads.keyWidth(), mixed, heads.valueLength, rows, i -> heads.valueLength * context[i] * output[i]);
        List<ModuleWeights> before = gate.module == query.module ? List.of(ModuleWeights.propagated(query.module, new Term(rows, input, scale, true)))
                : List.of(ModuleWeights.propagated(query.module, new Term(rows, input, scale, true)), ModuleWeights.propagated(gate.module, new Term(gateRows, input, scale, true)));
        return Stream.concat(before.stream(), Stream.of(
                ModuleWeights.propagated(out, new Term(rowGain, context, scale * DecoderRules.factor(Kind.O), true)))).toList();
    }

    /// Sets what noise in each row of a part does: its share of the power of its head's vector, times what that whole vector reaches.
    ///
    /// @param channel the first of the convolution's channels for this part
    private void shares(Part part, int channel, double[] mixed, int length, double[] rows, IntToDoubleFunction reach) {
        int n = part.rows.length;
        double[] power = new double[n / length];
        for (int i = 0; i < n; i++) {
            power[i / length] += Activation.SILU.meanSquare(taps[channel + i] * mixed[part.rows[i]]);
        }
        for (int i = 0; i < n; i++) {
            double whole = power[i / length];
            double slope = Activation.SILU.slopeMeanSquare(taps[channel + i] * mixed[part.rows[i]]) * taps[channel + i];
            rows[part.rows[i]] = whole == 0 ? 0 : DecoderRules.factor(Kind.V) * slope / whole * reach.applyAsDouble(i);
        }
    }
}
