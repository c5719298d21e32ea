package ram.eval;

import ram.numeric.Kernels;
import ram.numeric.PackedMatrix;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// Products of activations with weights: the weight is decoded by blocks of rows, each once per call, and used for all tokens.
final class Projection {
    /// Rows of a weight that one task decodes, and the floats that they may take together.
    private static final int BLOCK_ROWS = 256;
    private static final int BLOCK_FLOATS = 1 << 21;
    private static final int WHOLE_TILES = 64;
    /// Tokens after which a strip of the weight is taken up again: their part of the activations stays in the second cache.
    private static final int TOKENS = 1024;

    private final Workers workers;
    private final ThreadLocal<PackedMatrix.Buffers> buffers = ThreadLocal.withInitial(PackedMatrix.Buffers::new);
    private long operations;
    private long nanos;

    Projection(Workers workers) {
        this.workers = workers;
    }

    /// `x · Wᵀ (+ bias)` for rows `first … first + rows` of the matrix.
    ///
    /// @param bias null for none
    /// @return `tokens · rows` values, token after token
    float[] apply(Rows w, long first, int rows, float[] bias, float[] x, int tokens) {
        long start = System.nanoTime();
        int k = w.columns();
        float[] out = new float[Math.multiplyExact(tokens, rows)];
        int fair = Math.min(BLOCK_FLOATS / k, rows / workers.threads());
        int block = Math.clamp(fair < WHOLE_TILES ? fair : fair / WHOLE_TILES * WHOLE_TILES, 1, BLOCK_ROWS);
        workers.forRanges(rows, block, (r, to) -> {
            int n = to - r;
            PackedMatrix tile = PackedMatrix.ofColumns(k, n, buffers.get(), (from, count, values) -> w.read(first + r + from, count, values));
            for (int t = 0; t < tokens; t += TOKENS) {
                int m = Math.min(TOKENS, tokens - t);
                if (bias != null) {
                    for (int i = t; i < t + m; i++) {
                        System.arraycopy(bias, r, out, i * rows + r, n);
                    }
                }
                Kernels.multiplyAdd(m, x, t * k, k, tile, out, t * rows + r, rows);
            }
        });
        operations += 2L * tokens * rows * k;
        nanos += System.nanoTime() - start;
        return out;
    }

    /// Floating-point operations of all products so far.
    long operations() {
        return operations;
    }

    /// Wall time of all products so far, decoding of the weights included.
    long nanos() {
        return nanos;
    }

    void add(long moreOperations, long moreNanos) {
        operations += moreOperations;
        nanos += moreNanos;
    }
}
