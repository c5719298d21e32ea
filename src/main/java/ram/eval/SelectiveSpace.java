package ram.eval;

import java.util.List;
import ram.numeric.Kernels;
import ram.numeric.SoftPlus;
import ram.numeric.Workers;

/// The mixer of the first Mamba (arXiv:2312.00752): each dimension has states that fade by a step, take in what the token's input adds, and are read. Steps are
/// a number of each dimension's own, made of a few of the token's; what is written and read with is the same in all dimensions.
final class SelectiveSpace implements TokenMixer {
    /// Dimensions that one task follows through a sequence.
    private static final int DIMENSIONS = 64;

    private final int hidden;
    private final Mixers.SelectiveSpace sizes;
    private final float eps;
    private final Linears linears;
    private final Normalization norms;
    private final CausalConvolution convolution;
    private final Workers workers;

    /// @param eps of the norms within
    SelectiveSpace(int hidden, Mixers.SelectiveSpace sizes, float eps, Linears linears, Normalization norms, Workers workers) {
        this.hidden = hidden;
        this.sizes = sizes;
        this.eps = eps;
        this.linears = linears;
        this.norms = norms;
        this.convolution = new CausalConvolution(sizes.width(), sizes.taps(), workers);
        this.workers = workers;
    }

    /// What a token has: the inputs of all dimensions and their steps, and what is written and read with.
    private record Inputs(float[] values, float[] steps, float[] writes, float[] reads) {
    }

    @Override
    public List<String> readers(String path) {
        return List.of(path + ".in_proj");
    }

    @Override
    public List<String> modules(String path) {
        return List.of(path + ".in_proj", path + ".x_proj", path + ".dt_proj");
    }

    @Override
    public int width() {
        return sizes.width();
    }

    @Override
    public long scratchFloatsPerToken() {
        return 7L * sizes.width() + 2L * (sizes.rank() + 2L * sizes.states());
    }

    @Override
    public float[] apply(String path, float[] x, List<Integer> lengths) {
        int width = sizes.width();
        float[][] in = Linears.split(linears.apply(path + ".in_proj", 2 * width, hidden, x), width, width);
        float[] values = convolution.apply(linears, path + ".conv1d", in[0], lengths);
        Activation.SILU.apply(values, workers);
        Activation.SILU.apply(in[1], workers);
        Inputs inputs = inputs(path, values);
        float[] rates = rates(path);
        float[] direct = linears.vector(path + ".D", width);
        float[] out = new float[values.length];
        workers.forEach(HeadTask.of(lengths, Math.ceilDiv(width, DIMENSIONS)), t -> {
            dimensions(t, inputs, rates, direct, out);
            return t;
        }, _ -> { });
        workers.forRanges(out.length, Activation.GRAIN, (from, to) -> Kernels.multiply(out, from, in[1], from, out, from, to - from));
        return out;
    }

    private Inputs inputs(String path, float[] values) {
        float[][] parts = Linears.split(linears.apply(path + ".x_proj", sizes.rank() + 2 * sizes.states(), sizes.width(), values), sizes.rank(), sizes.states(), sizes.states());
        if (sizes.norms()) {
            norms.apply(parts[0], path + ".dt_layernorm", sizes.rank(), eps);
            norms.apply(parts[1], path + ".b_layernorm", sizes.states(), eps);
            norms.apply(parts[2], path + ".c_layernorm", sizes.states(), eps);
        }
        float[] steps = linears.apply(path + ".dt_proj", sizes.width(), sizes.rank(), parts[0]);
        workers.forRanges(steps.length, Activation.GRAIN, (from, to) -> {
            for (int i = from; i < to; i++) {
                steps[i] = (float) SoftPlus.of(steps[i]);
            }
        });
        return new Inputs(values, steps, parts[1], parts[2]);
    }

    /// How fast states fade, for each dimension its states one after the other; below 0.
    private float[] rates(String path) {
        float[] out = linears.vector(path + ".A_log", Math.multiplyExact(sizes.width(), sizes.states()));
        workers.forRanges(out.length, Activation.GRAIN, (from, to) -> {
            for (int i = from; i < to; i++) {
                out[i] = (float) -StrictMath.exp(out[i]);
            }
        });
        return out;
    }

    /// @param task its head is a block of dimensions
    private void dimensions(HeadTask task, Inputs in, float[] rates, float[] direct, float[] out) {
        int width = sizes.width();
        int states = sizes.states();
        int first = task.head() * DIMENSIONS;
        int count = Math.min(DIMENSIONS, width - first);
        float[] state = new float[count * states];
        float[] left = new float[count * states];
        for (int t = task.firstToken(); t < task.firstToken() + task.length(); t++) {
            int at = t * width + first;
            for (int d = 0; d < count; d++) {
                for (int n = 0; n < states; n++) {
                    left[d * states + n] = rates[(first + d) * states + n] * in.steps()[at + d];
                }
            }
            Exp.exp(left, 0, left.length, 0);
            for (int d = 0; d < count; d++) {
                float write = in.steps()[at + d] * in.values()[at + d];
                float sum = direct[first + d] * in.values()[at + d];
                for (int n = 0; n < states; n++) {
                    int i = d * states + n;
                    state[i] = left[i] * state[i] + write * in.writes()[t * states + n];
                    sum += in.reads()[t * states + n] * state[i];
                }
                out[at + d] = sum;
            }
        }
    }
}
