package ram.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import ram.numeric.Kernels;
import ram.numeric.Workers;

/// Causal attention of grouped queries, each sequence for itself.
final class Attention {
    /// Queries handled together.
    private static final int QUERIES = 64;
    private static final float NO_SINK = Float.NEGATIVE_INFINITY;

    private final NetworkShape shape;
    private final Workers workers;

    Attention(NetworkShape shape, Workers workers) {
        this.shape = shape;
        this.workers = workers;
    }

    /// @param q `tokens · heads · headDim` values, rotated
    /// @param k `tokens · kvHeads · headDim` values, rotated
    /// @param v `tokens · kvHeads · valueDim` values, not rotated
    /// @param lengths of the sequences, which follow one another
    /// @param window how many positions a token sees, itself included; 0 for all
    /// @param sinks a score per head that no value belongs to: it takes its share of the attention, and adds nothing
    /// @return `tokens · heads · valueDim` values
    float[] apply(float[] q, float[] k, float[] v, List<Integer> lengths, int window, Optional<float[]> sinks) {
        float[] out = new float[q.length / shape.headDim() * shape.valueDim()];
        workers.forEach(HeadTask.of(lengths, shape.kvHeads()), t -> {
            head(t, q, k, v, window, sinks, out);
            return t;
        }, _ -> { });
        return out;
    }

    private void head(HeadTask task, float[] q, float[] k, float[] v, int window, Optional<float[]> sinks, float[] out) {
        int d = shape.headDim();
        int qStride = shape.heads() * d;
        int kStride = shape.kvHeads() * d;
        int valueDim = shape.valueDim();
        int vStride = shape.kvHeads() * valueDim;
        int outStride = shape.heads() * valueDim;
        int length = task.length();
        int kFrom = task.firstToken() * kStride + task.head() * d;
        int vFrom = task.firstToken() * vStride + task.head() * valueDim;
        float[] turned = new float[valueDim * length];
        for (int p = 0; p < length; p++) {
            for (int i = 0; i < valueDim; i++) {
                turned[i * length + p] = v[vFrom + p * vStride + i];
            }
        }
        int group = shape.heads() / shape.kvHeads();
        float[] scores = new float[QUERIES * length];
        for (int h = task.head() * group; h < (task.head() + 1) * group; h++) {
            float sink = sinks.isPresent() ? sinks.get()[h] : NO_SINK;
            for (int from = 0; from < length; from += QUERIES) {
                int rows = Math.min(QUERIES, length - from);
                int low = window == 0 ? 0 : Math.max(0, from - window + 1);
                int seen = from + rows - low;
                int at = (task.firstToken() + from) * qStride + h * d;
                Arrays.fill(scores, 0, rows * seen, 0);
                Kernels.multiplyAdd(rows, seen, d, q, at, qStride, k, kFrom + low * kStride, kStride, scores, 0, seen);
                for (int r = 0; r < rows; r++) {
                    int begin = window == 0 ? 0 : Math.max(0, from + r - window + 1) - low;
                    softmax(scores, r * seen, seen, begin, from + r + 1 - low, sink, shape.factors());
                }
                Kernels.multiplyAdd(rows, valueDim, seen, scores, 0, seen, turned, low, length, out, (task.firstToken() + from) * outStride + h * valueDim, outStride);
            }
        }
    }

    /// Softmax of the elements `begin … end` of a row of `length`; the others become 0.
    ///
    /// @param sink a further element, which has its share and is not stored
    private static void softmax(float[] x, int from, int length, int begin, int end, float sink, NetworkShape.Factors factors) {
        for (int i = from + begin; i < from + end; i++) {
            x[i] *= factors.score();
        }
        SoftCap.apply(x, from + begin, end - begin, factors.scoreCap());
        float max = sink;
        for (int i = from + begin; i < from + end; i++) {
            max = Math.max(max, x[i]);
        }
        Exp.exp(x, from + begin, end - begin, max);
        double rest = sink == NO_SINK ? 0 : Exp.exp(sink - max);
        float factor = (float) (1 / (Kernels.sum(x, from + begin, end - begin) + rest));
        for (int i = from + begin; i < from + end; i++) {
            x[i] *= factor;
        }
        Arrays.fill(x, from, from + begin, 0);
        Arrays.fill(x, from + end, from + length, 0);
    }

    /// Turns queries or keys by their positions.
    ///
    /// @param heads per token
    /// @param table see [Rope#table]
    void rotate(float[] x, List<Integer> lengths, int heads, Rope rope, float[] table) {
        rotate(x, lengths, heads, shape.headDim(), 0, rope, table);
    }

    /// The same where what turns is only part of a head.
    ///
    /// @param width values of a head
    /// @param offset of the first one that turns
    void rotate(float[] x, List<Integer> lengths, int heads, int width, int offset, Rope rope, float[] table) {
        List<Integer> starts = new ArrayList<>();
        int tokens = 0;
        for (int length : lengths) {
            starts.add(tokens);
            tokens += length;
        }
        workers.forEach(IntStream.range(0, starts.size()).boxed().toList(), s -> {
            rotate(x, starts.get(s) * heads * width + offset, lengths.get(s), heads, width, rope, table);
            return s;
        }, _ -> { });
    }

    /// Multiplies queries by what they grow to at their positions.
    void grow(float[] q, List<Integer> lengths, NetworkShape.Growth growth) {
        int width = shape.heads() * shape.headDim();
        int at = 0;
        for (int length : lengths) {
            for (int p = 0; p < length; p++) {
                float factor = growth.at(p);
                for (int i = 0; i < width; i++) {
                    q[at + i] *= factor;
                }
                at += width;
            }
        }
    }

    private void rotate(float[] x, int from, int length, int heads, int width, Rope rope, float[] table) {
        int n = rope.frequencies().length;
        int step = rope.adjacent() ? 2 : 1;
        int apart = rope.adjacent() ? 1 : n;
        int at = from;
        for (int p = 0; p < length; p++) {
            for (int h = 0; h < heads; h++, at += width) {
                for (int i = 0; i < n; i++) {
                    float cos = table[p * 2 * n + i];
                    float sin = table[p * 2 * n + n + i];
                    int first = at + i * step;
                    float a = x[first];
                    float b = x[first + apart];
                    x[first] = a * cos - b * sin;
                    x[first + apart] = b * cos + a * sin;
                }
            }
        }
    }
}
