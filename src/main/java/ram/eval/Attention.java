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

    private final NetworkShape.Factors factors;
    private final Workers workers;

    Attention(NetworkShape.Factors factors, Workers workers) {
        this.factors = factors;
        this.workers = workers;
    }

    /// @param q `tokens · count · dim` values, rotated
    /// @param k `tokens · kv · dim` values, rotated
    /// @param v `tokens · kv · value` values, not rotated
    /// @param lengths of the sequences, which follow one another
    /// @param window how many positions a token sees, itself included; 0 for all
    /// @param sinks a score per head that no value belongs to: it takes its share of the attention, and adds nothing
    /// @return `tokens · count · value` values
    float[] apply(NetworkShape.Heads heads, float[] q, float[] k, float[] v, List<Integer> lengths, int window, Optional<float[]> sinks) {
        float[] out = new float[q.length / heads.dim() * heads.value()];
        workers.forEach(HeadTask.of(lengths, heads.kv()), t -> {
            head(heads, t, q, k, v, window, sinks, out);
            return t;
        }, _ -> { });
        return out;
    }

    private void head(NetworkShape.Heads heads, HeadTask task, float[] q, float[] k, float[] v, int window, Optional<float[]> sinks, float[] out) {
        int d = heads.dim();
        int qStride = heads.count() * d;
        int kStride = heads.kv() * d;
        int valueDim = heads.value();
        int vStride = heads.kv() * valueDim;
        int outStride = heads.count() * valueDim;
        int length = task.length();
        int kFrom = task.firstToken() * kStride + task.head() * d;
        int vFrom = task.firstToken() * vStride + task.head() * valueDim;
        float[] turned = new float[valueDim * length];
        for (int p = 0; p < length; p++) {
            for (int i = 0; i < valueDim; i++) {
                turned[i * length + p] = v[vFrom + p * vStride + i];
            }
        }
        int group = heads.count() / heads.kv();
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
                    softmax(scores, r * seen, seen, begin, from + r + 1 - low, sink);
                }
                Kernels.multiplyAdd(rows, valueDim, seen, scores, 0, seen, turned, low, length, out, (task.firstToken() + from) * outStride + h * valueDim, outStride);
            }
        }
    }

    /// Softmax of the elements `begin … end` of a row of `length`; the others become 0.
    ///
    /// @param sink a further element, which has its share and is not stored
    private void softmax(float[] x, int from, int length, int begin, int end, float sink) {
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
    /// @param width values of a head
    /// @param offset of the first one that turns
    /// @param table see [Rope#table]
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
    ///
    /// @param width of a token's queries
    void grow(float[] q, List<Integer> lengths, int width, NetworkShape.Growth growth) {
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
