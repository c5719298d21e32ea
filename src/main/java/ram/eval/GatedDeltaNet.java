package ram.eval;

import java.util.Arrays;
import java.util.List;
import ram.numeric.Kernels;
import ram.numeric.SoftPlus;
import ram.numeric.Workers;

/// The gated delta rule (arXiv:2412.06464): each head has a matrix that it reads with a query. Before that it fades, and what it holds for the token's key moves
/// towards the token's value. Queries, keys and values pass a short convolution first; heads of values share those of queries and keys in groups.
final class GatedDeltaNet implements TokenMixer {
    /// Of the lengths of queries and keys.
    private static final float EPS = 1e-6f;

    private final int hidden;
    private final Mixers.DeltaNet sizes;
    private final float eps;
    private final Linears linears;
    private final CausalConvolution convolution;
    private final Workers workers;

    /// @param eps of the norm of what is read
    GatedDeltaNet(int hidden, Mixers.DeltaNet sizes, float eps, Linears linears, Workers workers) {
        this.hidden = hidden;
        this.sizes = sizes;
        this.eps = eps;
        this.linears = linears;
        this.convolution = new CausalConvolution(2 * keys() + width(), sizes.taps(), workers);
        this.workers = workers;
    }

    /// What is made of the inputs, `tokens` times: queries, keys and values one after the other, gates of the outputs, and two numbers per head.
    private record Inputs(float[] mixed, float[] gates, float[] towards, float[] fade) {
    }

    private int keys() {
        return sizes.keyHeads() * sizes.keyDim();
    }

    @Override
    public int width() {
        return sizes.valueHeads() * sizes.valueDim();
    }

    @Override
    public List<String> readers(String path) {
        return linears.has(path + ".in_proj_qkvz") ? List.of(path + ".in_proj_qkvz", path + ".in_proj_ba")
                : List.of(path + ".in_proj_qkv", path + ".in_proj_z", path + ".in_proj_b", path + ".in_proj_a");
    }

    @Override
    public long scratchFloatsPerToken() {
        return 6L * keys() + 6L * width() + 4L * sizes.valueHeads();
    }

    @Override
    public float[] apply(String path, float[] x, List<Integer> lengths) {
        Inputs in = linears.has(path + ".in_proj_qkvz") ? together(path, x) : apart(path, x);
        float[] mixed = convolution.apply(linears, path + ".conv1d", in.mixed(), lengths);
        Activation.SILU.apply(mixed, workers);
        Activation.SILU.apply(in.gates(), workers);
        fade(path, in);
        float[][] parts = Linears.split(mixed, keys(), keys(), width());
        // scores are divided by the root of the dimensions, as those of attention
        unit(parts[0], 1 / Math.sqrt(sizes.keyDim()));
        unit(parts[1], 1);
        float[] norm = linears.vector(path + ".norm.weight", sizes.valueDim());
        float[] out = new float[parts[2].length];
        workers.forEach(HeadTask.of(lengths, sizes.valueHeads()), t -> {
            head(t, parts, in, norm, out);
            return t;
        }, _ -> { });
        return out;
    }

    private Inputs apart(String path, float[] x) {
        int heads = sizes.valueHeads();
        return new Inputs(linears.apply(path + ".in_proj_qkv", 2 * keys() + width(), hidden, x), linears.apply(path + ".in_proj_z", width(), hidden, x),
                linears.apply(path + ".in_proj_b", heads, hidden, x), linears.apply(path + ".in_proj_a", heads, hidden, x));
    }

    /// Two modules for all, each with what belongs to the first head of keys before what belongs to the next.
    private Inputs together(String path, float[] x) {
        int group = sizes.valueHeads() / sizes.keyHeads();
        int values = group * sizes.valueDim();
        float[][] parts = Linears.split(linears.apply(path + ".in_proj_qkvz", 2 * (keys() + width()), hidden, x), sizes.keyDim(), sizes.keyDim(), values, values);
        float[][] two = Linears.split(linears.apply(path + ".in_proj_ba", 2 * sizes.valueHeads(), hidden, x), group, group);
        int tokens = x.length / hidden;
        int all = 2 * keys() + width();
        float[] mixed = new float[Math.multiplyExact(tokens, all)];
        for (int t = 0; t < tokens; t++) {
            System.arraycopy(parts[0], t * keys(), mixed, t * all, keys());
            System.arraycopy(parts[1], t * keys(), mixed, t * all + keys(), keys());
            System.arraycopy(parts[2], t * width(), mixed, t * all + 2 * keys(), width());
        }
        return new Inputs(mixed, parts[3], two[0], two[1]);
    }

    /// How far heads move towards values, and what is left of them, between 0 and 1 each.
    private void fade(String path, Inputs in) {
        int heads = sizes.valueHeads();
        float[] decay = linears.vector(path + ".A_log", heads);
        float[] bias = linears.vector(path + ".dt_bias", heads);
        workers.forRanges(in.fade().length, Activation.GRAIN, (from, to) -> {
            for (int i = from; i < to; i++) {
                in.towards()[i] = (float) (1 / (1 + StrictMath.exp(-in.towards()[i])));
                in.fade()[i] = (float) StrictMath.exp(-StrictMath.exp(decay[i % heads]) * SoftPlus.of(in.fade()[i] + bias[i % heads]));
            }
        });
    }

    /// Brings each head to a length.
    private void unit(float[] x, double length) {
        int d = sizes.keyDim();
        workers.forRanges(x.length / d, Math.max(1, Activation.GRAIN / d), (from, to) -> {
            for (int at = from * d; at < to * d; at += d) {
                float factor = (float) (length / Math.sqrt(d) / Math.sqrt(Kernels.sumOfSquares(x, at, d) / d + EPS));
                for (int i = at; i < at + d; i++) {
                    x[i] *= factor;
                }
            }
        });
    }

    /// @param parts queries, keys and values
    private void head(HeadTask task, float[][] parts, Inputs in, float[] norm, float[] out) {
        int rows = sizes.keyDim();
        int columns = sizes.valueDim();
        int keyHead = task.head() / (sizes.valueHeads() / sizes.keyHeads());
        float[] state = new float[rows * columns];
        float[] move = new float[columns];
        for (int t = task.firstToken(); t < task.firstToken() + task.length(); t++) {
            int key = t * keys() + keyHead * rows;
            int value = t * width() + task.head() * columns;
            float left = in.fade()[t * sizes.valueHeads() + task.head()];
            float towards = in.towards()[t * sizes.valueHeads() + task.head()];
            Arrays.fill(move, 0);
            for (int r = 0; r < rows; r++) {
                float k = parts[1][key + r];
                for (int c = 0; c < columns; c++) {
                    state[r * columns + c] *= left;
                    move[c] += k * state[r * columns + c];
                }
            }
            for (int c = 0; c < columns; c++) {
                move[c] = (parts[2][value + c] - move[c]) * towards;
            }
            for (int r = 0; r < rows; r++) {
                float q = parts[0][key + r];
                float k = parts[1][key + r];
                for (int c = 0; c < columns; c++) {
                    state[r * columns + c] += k * move[c];
                    out[value + c] += q * state[r * columns + c];
                }
            }
            float factor = (float) (1 / Math.sqrt(Kernels.sumOfSquares(out, value, columns) / columns + eps));
            for (int c = 0; c < columns; c++) {
                out[value + c] = out[value + c] * factor * norm[c] * in.gates()[value + c];
            }
        }
    }
}
