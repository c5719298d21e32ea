package ram.sensitivity;

import java.util.List;
import java.util.Optional;
import ram.layout.Kind;
import ram.layout.Module;

/// A gated short convolution over positions in place of attention: with b, c and x from one projection it hands c · conv(b · x) to the output projection, channel by channel.
final class ShortConvolution {
    private final Dense dense;
    private final Module in;
    private final Module out;
    /// Per channel the sum of the squares of its taps: inputs of different positions are taken to be independent.
    private final double[] taps;

    private ShortConvolution(Dense dense, Module in, Module out, double[] taps) {
        this.dense = dense;
        this.in = in;
        this.out = out;
        this.taps = taps;
    }

    /// The convolution among a layer's modules, when its projections and taps have the shapes of one.
    static Optional<ShortConvolution> find(List<Module> modules, int hidden, Dense dense) {
        Optional<Module> in = Modules.named(modules, "conv.in_proj");
        Optional<Module> out = Modules.named(modules, "conv.out_proj");
        if (in.isEmpty() || out.isEmpty()) {
            return Optional.empty();
        }
        long channels = out.get().weight().shape().columns();
        if (!Modules.is(in.get(), 1, 3 * channels, hidden) || !Modules.is(out.get(), 1, hidden, channels)) {
            return Optional.empty();
        }
        return dense.squaredTaps(Modules.beside(in.get(), "conv.weight"), (int) channels, "conv_L_cache").map(t -> new ShortConvolution(dense, in.get(), out.get(), t));
    }

    Mixed follow(Squares squares, double[] input) {
        double[] rows = dense.outputs(squares, in, input);
        int n = taps.length;
        double[] context = new double[n];
        for (int i = 0; i < n; i++) {
            context[i] = taps[i] * rows[i] * rows[n + i] * rows[2 * n + i];
        }
        return new Mixed(out, context, (output, rowGain, scale) -> List.of(
                ModuleWeights.propagated(in, new Term(noise(rows, output), input, scale * DecoderRules.factor(Kind.LINEAR_ATTENTION), true)),
                ModuleWeights.propagated(out, new Term(rowGain, context, scale * DecoderRules.factor(Kind.O), true))));
    }

    /// Noise in one of three factors goes with the squares of the other two.
    private double[] noise(double[] rows, double[] output) {
        int n = taps.length;
        double[] out = new double[3 * n];
        for (int i = 0; i < n; i++) {
            double reach = taps[i] * output[i];
            out[i] = reach * rows[n + i] * rows[2 * n + i];
            out[n + i] = reach * rows[i] * rows[2 * n + i];
            out[2 * n + i] = reach * rows[i] * rows[n + i];
        }
        return out;
    }
}
