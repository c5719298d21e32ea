package ram.sensitivity;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import ram.layout.Kind;
import ram.layout.Module;
import ram.numeric.SoftPlus;

/// A gated delta net in place of attention: queries, keys and values go through a short convolution and SiLU; keys write values into a memory of each head as strongly as the sigmoid of b says,
/// which fades by exp(−exp(A_log) · softplus(a + dt_bias)) at each position; queries read it, and what is read is normalised head by head and multiplied by the SiLU of a gate.
///
/// What is read is linear in values, queries and b, and in keys while there is little in the memory, so noise in one of these is as large a share of it as of that; the norm leaves shares as
/// they are. Noise in how fast memory fades meets all that is older, for as long as memory lasts.
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

    /// @param strength of each head of values, how strongly it writes; empty where that projection is not there
    /// @param fading of each head of values, how fast its memory fades; likewise
    private record Parts(Part query, Part key, Part value, Part gate, Optional<Part> strength, Optional<Part> fading) {
    }

    /// @param taps per channel of the convolution, the sum of the squares of its taps
    /// @param gains of the norm, squared
    private record Vectors(double[] taps, double[] gains, double[] logRate, double[] stepBias) {
    }

    private final Dense dense;
    private final Heads heads;
    private final Parts parts;
    private final Module out;
    private final Vectors vectors;

    private GatedDelta(Dense dense, Heads heads, Parts parts, Module out, Vectors vectors) {
        this.dense = dense;
        this.heads = heads;
        this.parts = parts;
        this.out = out;
        this.vectors = vectors;
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
        Optional<double[]> logRate = dense.vector(Modules.beside(out, "A_log"), h.values);
        Optional<double[]> stepBias = dense.vector(Modules.beside(out, "dt_bias"), h.values);
        if (taps.isEmpty() || gains.isEmpty() || logRate.isEmpty() || stepBias.isEmpty()) {
            return Optional.empty();
        }
        int shared = h.values / h.keys;
        Module ba = Modules.named(modules, "linear_attn.in_proj_ba").filter(m -> Modules.is(m, 1, 2L * h.values, hidden)).orElse(null);
        Optional<Part> strength = ba != null ? Optional.of(new Part(ba, strided(h.values, shared, 2 * shared, 0))) : ofHeads(modules, "linear_attn.in_proj_b", h, hidden);
        Optional<Part> fading = ba != null ? Optional.of(new Part(ba, strided(h.values, shared, 2 * shared, shared))) : ofHeads(modules, "linear_attn.in_proj_a", h, hidden);
        // in one projection, by heads of keys: a query, a key, the values of all heads that share them, and their gates
        int each = h.valueWidth() / h.keys;
        int step = 2 * h.keyLength + 2 * each;
        Parts parts = fused
                ? new Parts(new Part(all, strided(h.keyWidth(), h.keyLength, step, 0)), new Part(all, strided(h.keyWidth(), h.keyLength, step, h.keyLength)),
                        new Part(all, strided(h.valueWidth(), each, step, 2 * h.keyLength)), new Part(all, strided(h.valueWidth(), each, step, 2 * h.keyLength + each)), strength, fading)
                : new Parts(new Part(qkv, run(h.keyWidth(), 0)), new Part(qkv, run(h.keyWidth(), h.keyWidth())), new Part(qkv, run(h.valueWidth(), 2 * h.keyWidth())),
                        new Part(z, run(h.valueWidth(), 0)), strength, fading);
        return Optional.of(new GatedDelta(dense, h, parts, out, new Vectors(taps.get(), gains.get(), logRate.get(), stepBias.get())));
    }

    private static int[] run(int count, int first) {
        return IntStream.range(first, first + count).toArray();
    }

    private static Optional<Part> ofHeads(List<Module> modules, String name, Heads h, int hidden) {
        return Modules.named(modules, name).filter(m -> Modules.is(m, 1, h.values, hidden)).map(m -> new Part(m, run(h.values, 0)));
    }

    /// Runs of `length` numbers, the first from `first` on and each `step` after the one before.
    private static int[] strided(int count, int length, int step, int first) {
        return IntStream.range(0, count).map(i -> first + i / length * step + i % length).toArray();
    }

    Mixed follow(Squares squares, double[] input) {
        double[] mixed = dense.outputs(squares, parts.query.module, input);
        double[] opened = pick(parts.gate.module == parts.query.module ? mixed : dense.outputs(squares, parts.gate.module, input), parts.gate.rows);
        Optional<double[]> strengths = parts.strength.map(p -> pick(dense.outputs(squares, p.module, input), p.rows));
        Optional<double[]> fadings = parts.fading.map(p -> pick(dense.outputs(squares, p.module, input), p.rows));
        double[] context = new double[heads.valueWidth()];
        for (int i = 0; i < context.length; i++) {
            context[i] = Mixed.NORMED * vectors.gains[i % heads.valueLength] * Activation.SILU.meanSquare(opened[i]);
        }
        return new Mixed(out, context, (output, rowGain, scale) -> {
            Map<Module, double[]> noise = new LinkedHashMap<>();
            double[] reach = new double[heads.values];
            double[] gates = rowsOf(noise, parts.gate);
            for (int i = 0; i < context.length; i++) {
                reach[i / heads.valueLength] += context[i] * output[i];
                gates[parts.gate.rows[i]] = Mixed.NORMED * vectors.gains[i % heads.valueLength] * Activation.SILU.slopeMeanSquare(opened[i]) * output[i];
            }
            double[] keyReach = new double[heads.keys];
            for (int h = 0; h < heads.values; h++) {
                keyReach[heads.keyOf(h)] += reach[h] * DecoderRules.addressFactor() / DecoderRules.factor(Kind.LINEAR_ATTENTION);
            }
            shares(parts.query, 0, mixed, heads.keyLength, rowsOf(noise, parts.query), i -> keyReach[i / heads.keyLength]);
            shares(parts.key, heads.keyWidth(), mixed, heads.keyLength, rowsOf(noise, parts.key), i -> keyReach[i / heads.keyLength]);
            // a head's noise, like its power, is spread over its channels
            shares(parts.value, 2 * heads.keyWidth(), mixed, heads.valueLength, rowsOf(noise, parts.value), i -> heads.valueLength * context[i] * output[i]);
            parts.strength.ifPresent(p -> strengths(p, strengths.get(), reach, rowsOf(noise, p)));
            parts.fading.ifPresent(p -> fadings(p, fadings.get(), reach, rowsOf(noise, p)));
            List<ModuleWeights> weights = new ArrayList<>();
            noise.forEach((module, rows) -> weights.add(ModuleWeights.propagated(module, new Term(rows, input, scale * DecoderRules.factor(Kind.LINEAR_ATTENTION), true))));
            weights.add(ModuleWeights.propagated(out, new Term(rowGain, context, scale * DecoderRules.factor(Kind.O), true)));
            return weights;
        });
    }

    private static double[] rowsOf(Map<Module, double[]> noise, Part part) {
        return noise.computeIfAbsent(part.module, m -> new double[Math.toIntExact(m.weight().shape().rows())]);
    }

    private static void strengths(Part part, double[] power, double[] reach, double[] rows) {
        for (int h = 0; h < reach.length; h++) {
            rows[part.rows[h]] = reach[h] * Activation.SIGMOID.slopeMeanSquare(power[h]) / Activation.SIGMOID.meanSquare(power[h]);
        }
    }

    private void fadings(Part part, double[] power, double[] reach, double[] rows) {
        for (int h = 0; h < reach.length; h++) {
            double rate = StrictMath.exp(vectors.logRate[h]);
            double lost = -Activation.expect(x -> StrictMath.expm1(-2 * rate * SoftPlus.of(x)), vectors.stepBias[h], power[h]);
            double slope = Activation.expect(x -> Activation.sigmoid(x) * Activation.sigmoid(x), vectors.stepBias[h], power[h]);
            rows[part.rows[h]] = reach[h] * rate * rate * slope / Math.max(lost, 1e-6);
        }
    }

    private static double[] pick(double[] from, int[] rows) {
        return Arrays.stream(rows).mapToDouble(r -> from[r]).toArray();
    }

    /// Sets what noise in each row of a part does: its share of the power of its head's vector, times what that whole vector reaches.
    ///
    /// @param channel the first of the convolution's channels for this part
    private void shares(Part part, int channel, double[] mixed, int length, double[] rows, IntToDoubleFunction reach) {
        int n = part.rows.length;
        double[] power = new double[n / length];
        for (int i = 0; i < n; i++) {
            power[i / length] += Activation.SILU.meanSquare(vectors.taps[channel + i] * mixed[part.rows[i]]);
        }
        for (int i = 0; i < n; i++) {
            double whole = power[i / length];
            double slope = Activation.SILU.slopeMeanSquare(vectors.taps[channel + i] * mixed[part.rows[i]]) * vectors.taps[channel + i];
            rows[part.rows[i]] = whole == 0 ? 0 : slope / whole * reach.applyAsDouble(i);
        }
    }
}
