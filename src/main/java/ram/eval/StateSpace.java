package ram.eval;

import java.util.List;
import java.util.Optional;
import ram.numeric.Kernels;
import ram.numeric.SoftPlus;
import ram.numeric.Workers;

/// The state-space mixer of Mamba 2 (arXiv:2405.21060): each head has a state per dimension that fades by a step, takes in what the token's inputs add, and is
/// read. What is written and read with comes from the token too, for a group of heads together; the step is a number of each head's own.
final class StateSpace implements TokenMixer {
    private final int hidden;
    private final Mixers.StateSpace sizes;
    private final float eps;
    private final Linears linears;
    private final CausalConvolution convolution;
    private final Workers workers;

    /// @param eps of the norms of what is read
    StateSpace(int hidden, Mixers.StateSpace sizes, float eps, Linears linears, Workers workers) {
        this.hidden = hidden;
        this.sizes = sizes;
        this.eps = eps;
        this.linears = linears;
        this.convolution = new CausalConvolution(convolved(), sizes.taps(), workers);
        this.workers = workers;
    }

    private int convolved() {
        return width() + 2 * shared();
    }

    /// Values that all groups of heads write with, or read with.
    private int shared() {
        return sizes.groups() * sizes.states();
    }

    @Override
    public int width() {
        return sizes.heads() * sizes.headDim();
    }

    @Override
    public List<String> readers(String path) {
        return List.of(path + ".in_proj");
    }

    @Override
    public long scratchFloatsPerToken() {
        return 3L * width() + 4L * convolved() + 3L * sizes.heads();
    }

    @Override
    public float[] apply(String path, float[] x, List<Integer> lengths) {
        int heads = sizes.heads();
        float[][] in = Linears.split(linears.apply(path + ".in_proj", width() + convolved() + heads, hidden, x), width(), convolved(), heads);
        float[] mixed = convolution.apply(linears, path + ".conv1d", in[1], lengths);
        Activation.SILU.apply(mixed, workers);
        Activation.SILU.apply(in[0], workers);
        float[] fade = steps(path, in[2]);
        float[][] parts = Linears.split(mixed, width(), shared(), shared());
        float[] direct = linears.vector(path + ".D", heads);
        float[] out = new float[parts[0].length];
        workers.forEach(HeadTask.of(lengths, sizes.heads()), t -> {
            head(t, parts, in[2], fade, direct[t.head()], out);
            return t;
        }, _ -> { });
        open(out, in[0], sizes.norms() == 0 ? Optional.empty() : Optional.of(linears.vector(path + ".norm.weight", width())));
        return out;
    }

    /// Turns what the steps are made of into them.
    ///
    /// @param steps a number per token and head
    /// @return what of the states is left after each
    private float[] steps(String path, float[] steps) {
        int heads = sizes.heads();
        float[] decay = linears.vector(path + ".A_log", heads);
        float[] bias = linears.vector(path + ".dt_bias", heads);
        float[] out = new float[steps.length];
        workers.forRanges(steps.length, Activation.GRAIN, (from, to) -> {
            for (int i = from; i < to; i++) {
                steps[i] = (float) Math.min(Math.max(SoftPlus.of(steps[i] + bias[i % heads]), sizes.least()), sizes.most());
                out[i] = (float) StrictMath.exp(-StrictMath.exp(decay[i % heads]) * steps[i]);
            }
        });
        return out;
    }

    /// @param parts inputs of the heads, and what groups write and read with
    private void head(HeadTask task, float[][] parts, float[] steps, float[] fade, float direct, float[] out) {
        int d = sizes.headDim();
        int group = task.head() / (sizes.heads() / sizes.groups());
        float[] state = new float[sizes.states() * d];
        for (int t = task.firstToken(); t < task.firstToken() + task.length(); t++) {
            float step = steps[t * sizes.heads() + task.head()];
            float left = fade[t * sizes.heads() + task.head()];
            int at = t * width() + task.head() * d;
            for (int i = 0; i < d; i++) {
                out[at + i] = direct * parts[0][at + i];
            }
            for (int n = 0; n < sizes.states(); n++) {
                float write = step * parts[1][t * shared() + group * sizes.states() + n];
                float read = parts[2][t * shared() + group * sizes.states() + n];
                for (int i = 0; i < d; i++) {
                    state[n * d + i] = left * state[n * d + i] + write * parts[0][at + i];
                    out[at + i] += read * state[n * d + i];
                }
            }
        }
    }

    /// Multiplies by the gate and normalises, in the order of the model.
    ///
    /// @param weight of the norms; empty where there are none
    private void open(float[] x, float[] gate, Optional<float[]> weight) {
        int width = width();
        workers.forRanges(x.length / width, Math.max(1, Activation.GRAIN / width), (from, to) -> {
            for (int at = from * width; at < to * width; at += width) {
                if (!sizes.normFirst()) {
                    Kernels.multiply(x, at, gate, at, x, at, width);
                }
                if (weight.isPresent()) {
                    normalize(x, at, weight.get());
                }
                if (sizes.normFirst()) {
                    Kernels.multiply(x, at, gate, at, x, at, width);
                }
            }
        });
    }

    /// What all heads have read of a token.
    private void normalize(float[] x, int at, float[] weight) {
        int stretch = width() / sizes.norms();
        for (int begin = 0; begin < weight.length; begin += stretch) {
            float factor = (float) (1 / Math.sqrt(Kernels.sumOfSquares(x, at + begin, stretch) / stretch + eps));
            for (int i = begin; i < begin + stretch; i++) {
                x[at + i] = x[at + i] * factor * weight[i];
            }
        }
    }
}
