package ram.sensitivity;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import ram.layout.Module;
import ram.tensor.Rows;

/// Products with the elementwise square of a module's weight, streamed by row blocks over several threads.
/// The blocks and the order in which their sums are added do not depend on the number of threads.
final class Squares implements AutoCloseable {
    private static final int BLOCK_ELEMENTS = 1 << 18;

    private final ExecutorService pool;
    private final int threads;

    Squares(int threads) {
        this.threads = threads;
        pool = Executors.newFixedThreadPool(threads, Thread.ofPlatform().daemon().name("squares-", 0).factory());
    }

    /// @param rows per row Σⱼ Wᵢⱼ² · inputⱼ, over all parts
    /// @param columns per part and column Σᵢ weightᵢ · Wᵢⱼ²
    record Sums(double[] rows, double[][] columns) {
    }

    private record Block(int part, double[] columns) {
    }

    /// @param input per part one value per column; null when the products with the rows are not asked for
    /// @param rowWeight one value per row of a part; null for 1
    /// @param columnSums whether column sums are asked for
    Sums of(Module module, double[][] input, double[] rowWeight, boolean columnSums) {
        int columns = Math.toIntExact(module.weight().shape().columns());
        double[] rowSums = new double[input == null ? 0 : Math.toIntExact(module.weight().shape().rows())];
        double[][] total = new double[columnSums ? module.parts().size() : 0][columns];
        Rows rows = Rows.of(module.weight());
        int perBlock = Math.max(1, BLOCK_ELEMENTS / Math.max(1, columns));
        Deque<Future<Block>> running = new ArrayDeque<>();
        try {
            for (int p = 0; p < module.parts().size(); p++) {
                Module.Part part = module.parts().get(p);
                Scaled in = input == null ? null : Scaled.of(input[p]);
                for (long first = 0; first < part.rows(); first += perBlock) {
                    int count = (int) Math.min(perBlock, part.rows() - first);
                    int index = p;
                    long at = first;
                    running.add(pool.submit(() -> new Block(index,
                            block(rows, part.firstRow(), at, count, in, rowSums, rowWeight, columnSums))));
                    if (running.size() > 2 * threads) {
                        add(running.remove(), total);
                    }
                }
            }
            while (!running.isEmpty()) {
                add(running.remove(), total);
            }
        } finally {
            running.forEach(f -> f.cancel(true));
        }
        return new Sums(rowSums, total);
    }

    private static void add(Future<Block> future, double[][] total) {
        try {
            Block block = future.get();
            if (block.columns != null) {
                double[] sum = total[block.part];
                for (int j = 0; j < sum.length; j++) {
                    sum[j] += block.columns[j];
                }
            }
        } catch (ExecutionException e) {
            if (e.getCause() instanceof RuntimeException r) {
                throw r;
            }
            throw new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
    }

    /// A vector in float32 with its largest entry at 1.
    private record Scaled(float[] values, double scale) {
        static Scaled of(double[] v) {
            double max = 0;
            for (double x : v) {
                max = Math.max(max, x);
            }
            float[] out = new float[v.length];
            for (int j = 0; j < v.length; j++) {
                out[j] = max == 0 ? 0 : (float) (v[j] / max);
            }
            return new Scaled(out, max);
        }
    }

    private static double[] block(Rows rows, long partRow, long first, int count, Scaled input, double[] rowSums, double[] rowWeight,
                                  boolean columnSums) {
        int n = rows.columns();
        float[] w = new float[count * n];
        rows.read(partRow + first, count, w);
        if (input != null) {
            for (int i = 0; i < count; i++) {
                rowSums[(int) (partRow + first) + i] = squaredDot(w, i * n, input.values) * input.scale;
            }
        }
        if (!columnSums) {
            return null;
        }
        double[] sums = new double[n];
        for (int i = 0; i < count; i++) {
            addSquares(w, i * n, rowWeight == null ? 1 : rowWeight[(int) first + i], sums);
        }
        return sums;
    }

    private static double squaredDot(float[] w, int from, float[] h) {
        float s0 = 0;
        float s1 = 0;
        float s2 = 0;
        float s3 = 0;
        int n = h.length;
        int j = 0;
        for (; j + 3 < n; j += 4) {
            s0 += w[from + j] * w[from + j] * h[j];
            s1 += w[from + j + 1] * w[from + j + 1] * h[j + 1];
            s2 += w[from + j + 2] * w[from + j + 2] * h[j + 2];
            s3 += w[from + j + 3] * w[from + j + 3] * h[j + 3];
        }
        for (; j < n; j++) {
            s0 += w[from + j] * w[from + j] * h[j];
        }
        return (double) s0 + s1 + s2 + s3;
    }

    private static void addSquares(float[] w, int from, double weight, double[] sums) {
        for (int j = 0; j < sums.length; j++) {
            sums[j] += weight * w[from + j] * w[from + j];
        }
    }

    @Override
    public void close() {
        pool.shutdownNow();
    }
}
