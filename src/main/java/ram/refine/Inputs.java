package ram.refine;

import java.util.stream.IntStream;
import ram.numeric.Kernels;
import ram.numeric.Workers;

/// What is known of a module's inputs: x̂ as the modules coded before it make them, and x of the model itself.
final class Inputs {
    /// Tokens handled together.
    private static final int PIECE = 1024;
    /// From so many columns on, only every fourth token counts for the drift: it costs most there, and needs the fewest.
    private static final int MANY_COLUMNS = 4096;

    private final int columns;
    private final SecondMoments moments;
    /// Σ (x − x̂) x̂ᵀ in panels of rows, over every `stride`th token
    private final float[][] drift;
    private final int stride;
    private final Workers workers;

    /// @param withDrift whether x will differ from x̂
    Inputs(int columns, boolean withDrift, Workers workers) {
        this.columns = columns;
        this.workers = workers;
        this.moments = new SecondMoments(columns);
        this.stride = columns > MANY_COLUMNS ? 4 : 1;
        this.drift = new float[withDrift ? (columns + SecondMoments.PANEL - 1) / SecondMoments.PANEL : 0][];
        for (int p = 0; p < drift.length; p++) {
            drift[p] = new float[rows(p) * columns];
        }
    }

    /// Bytes that the statistics of so many columns take.
    static long bytes(long columns) {
        return SecondMoments.bytes(columns) + 4 * Math.multiplyExact(columns, columns);
    }

    int columns() {
        return columns;
    }

    long tokens() {
        return moments.tokens();
    }

    private int rows(int panel) {
        return Math.min(SecondMoments.PANEL, columns - panel * SecondMoments.PANEL);
    }

    /// Adds inputs, one after the other; the sums do not depend on how they are cut into calls.
    ///
    /// @param coded x̂, `tokens · columns` values
    /// @param exact x, the same tokens; ignored without drift
    void add(float[] coded, float[] exact) {
        int tokens = coded.length / columns;
        for (int from = 0; from < tokens; from += PIECE) {
            int count = Math.min(PIECE, tokens - from);
            // the first of these tokens that counts for the drift
            int first = (int) ((stride - moments.tokens() % stride) % stride);
            float[] turned = turn(coded, null, from, count, 1);
            moments.add(turned, count, workers);
            int counted = (count - first + stride - 1) / stride;
            if (drift.length > 0 && counted > 0) {
                float[] some = stride == 1 ? turned : turn(coded, null, from + first, counted, stride);
                float[] difference = turn(exact, coded, from + first, counted, stride);
                workers.forEach(IntStream.range(0, drift.length).boxed().toList(), p -> {
                    Kernels.multiplyAdd(rows(p), columns, counted, difference, p * SecondMoments.PANEL * counted, counted, some, 0, counted, drift[p], 0, columns);
                    return p;
                }, _ -> { });
            }
        }
    }

    /// Column after column of some tokens of `x`, less those of `minus` where that is not null.
    private float[] turn(float[] x, float[] minus, int from, int count, int step) {
        float[] out = new float[Math.multiplyExact(columns, count)];
        int block = 64;
        workers.forEach(IntStream.iterate(0, c -> c < columns, c -> c + block).boxed().toList(), c -> {
            for (int t = 0; t < count; t++) {
                int at = (from + t * step) * columns;
                for (int i = c; i < Math.min(columns, c + block); i++) {
                    out[i * count + t] = minus == null ? x[at + i] : x[at + i] - minus[at + i];
                }
            }
            return c;
        }, _ -> { });
        return out;
    }

    int deadColumns() {
        return moments.deadColumns();
    }

    /// Uses the moments up.
    Factor factor(double damping) {
        return moments.factor(damping, workers);
    }

    /// The weight that does on x̂ part of what the given one does on x: W + share · W · Σ (x − x̂) x̂ᵀ · H⁻¹.
    ///
    /// @param w `rows · columns` values
    float[] aim(float[] w, int rows, double share, Factor factor) {
        if (drift.length == 0 || share == 0) {
            return w;
        }
        float[] g = new float[w.length];
        for (int p = 0; p < drift.length; p++) {
            Kernels.multiplyAddByRows(rows, columns, rows(p), w, p * SecondMoments.PANEL, columns, drift[p], 0, columns, g, 0, columns);
        }
        factor.solve(g, rows);
        float[] out = w.clone();
        Kernels.addScaled((float) (share * stride), g, 0, out, 0, out.length);
        return out;
    }
}
