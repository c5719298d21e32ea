package ram.sensitivity;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.DoubleUnaryOperator;
import ram.layout.Kind;
import ram.layout.Module;
import ram.numeric.SoftPlus;

/// The mixer of Mamba 2 in place of attention, or beside it. One projection gives a gate z, channels x, B and C to write them to their head's memory with and to read them from it (shared by
/// the heads of a group), and a step dt for each head. With x, B and C through a short convolution and SiLU, a head has
///
///     S ← exp(−dt · exp(A_log)) · S + dt · x · Bᵀ,  y = S · C + D · x,
///
/// and y · SiLU(z), normalised where there is a norm, goes to the output projection. Inputs of different positions are taken to be independent. Noise in a step counts by what is written with
/// it; how fast memory fades is left as the bias of the step has it.
final class StateSpace {
    /// Numbers of heads and groups, and lengths of a head's vector and of B and C.
    private record Sizes(int heads, int length, int groups, int states) {
        int width() {
            return heads * length;
        }

        int written() {
            return groups * states;
        }

        int convolved() {
            return width() + 2 * written();
        }

        long rows() {
            return 2L * width() + 2L * written() + heads;
        }

        boolean valid() {
            return heads > 0 && length > 0 && groups > 0 && states > 0 && heads % groups == 0 && (long) heads * length < 1 << 24 && (long) groups * states < 1 << 24;
        }

        int groupOf(int channel) {
            return channel / length / (heads / groups);
        }
    }

    /// What the rows of the projection come to, in mean squares.
    ///
    /// @param rows of the projection
    /// @param power of each channel of the convolution after SiLU
    /// @param direct per channel, what D · x has of y
    /// @param remembered per channel, what S · C has of y
    /// @param products per group, Σ B² · C² over its states
    /// @param steepness per head, mean square of the slope of its step over that of the step
    /// @param opened of each channel's gate after SiLU
    /// @param norm per channel, gain of the norm after the gate
    private record Flow(double[] rows, double[] power, double[] direct, double[] remembered, double[] products, double[] steepness, double[] opened, double[] norm) {
    }

    private final Dense dense;
    private final Module in;
    private final Module out;
    private final Sizes sizes;
    private final double[] taps;
    private final double[] convolutionBias;
    private final double[] stepBias;
    private final double[] logDecay;
    private final double[] direct;
    /// Squared gains of the norm with what a normed context counts, when there is one, and how many channels it takes together.
    private final Optional<double[]> gains;
    private final int normed;

    private StateSpace(Dense dense, Module in, Module out, Sizes sizes, double[] taps, double[] logDecay, double[] stepBias, double[] direct, boolean byGroup) {
        this.dense = dense;
        this.in = in;
        this.out = out;
        this.sizes = sizes;
        this.taps = taps;
        this.logDecay = logDecay;
        this.stepBias = stepBias;
        this.direct = direct;
        convolutionBias = new double[sizes.convolved()];
        dense.addBias(Modules.beside(in, "conv1d.bias"), convolutionBias);
        gains = dense.gains(Modules.beside(in, ""), List.of("norm"), sizes.width()).map(g -> Arrays.stream(g).map(x -> Mixed.NORMED * x).toArray());
        normed = byGroup ? sizes.width() / sizes.groups : sizes.width();
    }

    /// The mixer among a layer's modules, when its projections and vectors have the shapes that config.json implies.
    static Optional<StateSpace> find(List<Module> modules, int hidden, Dense dense, String family) {
        Sizes s = new Sizes(size(dense, "mamba_n_heads"), size(dense, "mamba_d_head"), size(dense, "mamba_n_groups"), size(dense, "mamba_d_state"));
        Module in = Modules.named(modules, "mamba.in_proj").or(() -> Modules.named(modules, "mixer.in_proj")).orElse(null);
        Module out = Modules.named(modules, "mamba.out_proj").or(() -> Modules.named(modules, "mixer.out_proj")).orElse(null);
        if (!s.valid() || !Modules.is(in, 1, s.rows(), hidden) || !Modules.is(out, 1, hidden, s.width())) {
            return Optional.empty();
        }
        Optional<double[]> taps = dense.squaredTaps(Modules.beside(in, "conv1d.weight"), s.convolved(), "mamba_d_conv");
        Optional<double[]> decay = dense.vector(Modules.beside(in, "A_log"), s.heads);
        Optional<double[]> step = dense.vector(Modules.beside(in, "dt_bias"), s.heads);
        Optional<double[]> direct = dense.vector(Modules.beside(in, "D"), s.heads);
        if (taps.isEmpty() || decay.isEmpty() || step.isEmpty() || direct.isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(new StateSpace(dense, in, out, s, taps.get(), decay.get(), step.get(), direct.get(), DecoderRules.has("state_space_norm_by_group", family)));
    }

    private static int size(Dense dense, String key) {
        return (int) Math.clamp(dense.number(key, 0), 0, 1 << 20);
    }

    Mixed follow(Squares squares, double[] input) {
        double[] rows = dense.outputs(squares, in, input);
        int width = sizes.width();
        double[] power = new double[sizes.convolved()];
        for (int c = 0; c < power.length; c++) {
            power[c] = Activation.SILU.meanSquare(convolved(rows, c));
        }
        double[] products = new double[sizes.groups];
        for (int i = 0; i < sizes.written(); i++) {
            products[i / sizes.states] += power[width + i] * power[width + sizes.written() + i];
        }
        double[] written = new double[sizes.heads];
        double[] steepness = new double[sizes.heads];
        for (int h = 0; h < sizes.heads; h++) {
            double squaredStep = ofStep(h, rows, x -> SoftPlus.of(x) * SoftPlus.of(x));
            written[h] = squaredStep / Math.max(lost(h, rows), 1e-6);
            steepness[h] = ofStep(h, rows, x -> Activation.sigmoid(x) * Activation.sigmoid(x)) / Math.max(squaredStep, Double.MIN_NORMAL);
        }
        double[] direct = new double[width];
        double[] remembered = new double[width];
        double[] opened = new double[width];
        double[] context = new double[width];
        for (int i = 0; i < width; i++) {
            int head = i / sizes.length;
            direct[i] = this.direct[head] * this.direct[head] * power[i];
            // What is kept of many positions adds up, which independent ones do not show: in a small trained model it is as much as what comes straight, in relation to which 0.003 was predicted.
            remembered[i] = Math.max(written[head] * products[sizes.groupOf(i)] * power[i], direct[i]);
            opened[i] = Activation.SILU.meanSquare(rows[i]);
            context[i] = (direct[i] + remembered[i]) * opened[i];
        }
        double[] norm = gains.isPresent() ? Dense.normalize(context, gains.get(), normed) : Dense.ones(width);
        Flow flow = new Flow(rows, power, direct, remembered, products, steepness, opened, norm);
        return new Mixed(out, context, (output, rowGain, scale) -> List.of(
                ModuleWeights.propagated(in, new Term(noise(flow, output), input, scale * DecoderRules.factor(Kind.LINEAR_ATTENTION), true)),
                ModuleWeights.propagated(out, new Term(rowGain, context, scale * DecoderRules.factor(Kind.O), true))));
    }

    private double convolved(double[] rows, int channel) {
        return taps[channel] * rows[sizes.width() + channel] + convolutionBias[channel];
    }

    private int stepRow(int head) {
        return sizes.width() + sizes.convolved() + head;
    }

    /// The mean of a function of what a head's row for its step comes to with its bias.
    private double ofStep(int head, double[] rows, DoubleUnaryOperator f) {
        return Activation.expect(f, stepBias[head], rows[stepRow(head)]);
    }

    /// The share of its squares that a head's memory loses at each position: 1 − E[exp(−2 · dt · exp(A_log))].
    private double lost(int head, double[] rows) {
        double rate = StrictMath.exp(logDecay[head]);
        return ofStep(head, rows, x -> -StrictMath.expm1(-2 * rate * SoftPlus.of(x)));
    }

    /// What noise in each row of the projection does in the residual, in relation to the factor of such mixers.
    private double[] noise(Flow flow, double[] output) {
        int width = sizes.width();
        double[] out = new double[flow.rows.length];
        double[] reach = new double[sizes.groups];
        for (int i = 0; i < width; i++) {
            double opened = flow.opened[i] * flow.norm[i] * output[i];
            double whole = flow.direct[i] + flow.remembered[i];
            out[i] = whole * Activation.SILU.slopeMeanSquare(flow.rows[i]) * flow.norm[i] * output[i];
            out[width + i] = flow.power[i] == 0 ? 0 : slope(flow.rows, i) * whole / flow.power[i] * opened;
            reach[sizes.groupOf(i)] += flow.remembered[i] * opened;
            int head = i / sizes.length;
            out[stepRow(head)] += flow.steepness[head] * flow.remembered[i] * opened;
        }
        double address = DecoderRules.addressFactor() / DecoderRules.factor(Kind.LINEAR_ATTENTION);
        for (int i = 0; i < sizes.written(); i++) {
            int group = i / sizes.states;
            int b = width + i;
            int c = b + sizes.written();
            if (flow.products[group] > 0) {
                double each = address * reach[group] / flow.products[group];
                out[width + b] = each * slope(flow.rows, b) * flow.power[c];
                out[width + c] = each * slope(flow.rows, c) * flow.power[b];
            }
        }
        return out;
    }

    /// What noise in a row before the convolution becomes after SiLU.
    private double slope(double[] rows, int channel) {
        return Activation.SILU.slopeMeanSquare(convolved(rows, channel)) * taps[channel];
    }
}
