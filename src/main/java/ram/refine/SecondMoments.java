package ram.refine;

import java.util.List;
import java.util.stream.IntStream;
import ram.numeric.Kernels;
import ram.numeric.PackedMatrix;
import ram.numeric.Workers;

/// Second moments H = Σ x xᵀ of a module's inputs: the lower triangle, in panels of rows. [#factor] turns it into its Cholesky factor in place.
final class SecondMoments {
    /// Rows of a panel; a multiple of every group size.
    static final int PANEL = 256;
    /// What a thread takes of a diagonal block: rows of a product, in whole tiles, and columns of an inverse.
    private static final int ROWS = 66;
    private static final int COLUMNS = 64;

    private final int size;
    private final float[][] panels;
    private final ThreadLocal<PackedMatrix.Buffers> buffers = ThreadLocal.withInitial(PackedMatrix.Buffers::new);
    private long tokens;

    SecondMoments(int size) {
        this.size = size;
        this.panels = new float[panels(size)][];
        for (int p = 0; p < panels.length; p++) {
            panels[p] = new float[Math.multiplyExact(rows(p), width(p))];
        }
    }

    /// Bytes of the moments of so many columns.
    static long bytes(long size) {
        return 2 * Math.multiplyExact(size, size + PANEL);
    }

    /// Inputs taken so far.
    long tokens() {
        return tokens;
    }

    /// How many panels so many columns have.
    static int panels(int size) {
        return Math.ceilDiv(size, PANEL);
    }

    /// Rows of a panel of so many columns.
    static int rows(int size, int panel) {
        return Math.min(PANEL, size - panel * PANEL);
    }

    /// Columns of a panel, up to its last diagonal element; the distance between its rows.
    static int width(int size, int panel) {
        return Math.min(size, (panel + 1) * PANEL);
    }

    private int rows(int panel) {
        return rows(size, panel);
    }

    private int width(int panel) {
        return width(size, panel);
    }

    float get(int i, int j) {
        return panels[i / PANEL][i % PANEL * width(i / PANEL) + j];
    }

    private void add(int i, int j, double value) {
        panels[i / PANEL][i % PANEL * width(i / PANEL) + j] += (float) value;
    }

    /// Adds the outer products of inputs, one after the other: sums do not depend on how inputs are cut into calls.
    ///
    /// @param x the inputs in panels of [#PANEL] columns, an input in each row
    void add(List<PackedMatrix> x, Workers workers) {
        int count = x.getFirst().rows();
        // the longest panels first, so that no thread is left with one at the end
        workers.forEach(IntStream.range(0, panels.length).mapToObj(p -> panels.length - 1 - p).toList(), p -> {
            float[] turned = x.get(p).columnMajor(buffers.get());
            for (int q = 0; q <= p; q++) {
                Kernels.multiplyAdd(rows(p), turned, 0, count, x.get(q), panels[p], q * PANEL, width(p));
            }
            return p;
        }, _ -> { });
        tokens += count;
    }

    /// Columns that no input touched.
    int deadColumns() {
        return (int) IntStream.range(0, size).filter(i -> !(get(i, i) > 0)).count();
    }

    /// Turns the moments into their factor; they are used up.
    ///
    /// @param damping added to the diagonal, in units of its mean; half of it is the least pivot
    Factor factor(double damping, Workers workers) {
        double trace = 0;
        for (int i = 0; i < size; i++) {
            trace += get(i, i);
        }
        double least = Math.max(damping * trace / size, Float.MIN_NORMAL);
        for (int i = 0; i < size; i++) {
            add(i, i, least);
        }
        float[][] inverses = new float[panels.length][];
        int lifted = 0;
        for (int p = 0; p < panels.length; p++) {
            lifted += factorPanel(p, least / 2, inverses, workers);
        }
        return Factor.of(size, panels, inverses, lifted);
    }

    /// Computes the columns of one diagonal block, from the columns before it.
    private int factorPanel(int p, double leastPivot, float[][] inverses, Workers workers) {
        int n = rows(p);
        int from = p * PANEL;
        float[] own = panels[p];
        PackedMatrix before = PackedMatrix.ofColumns(from, n, new PackedMatrix.Buffers(), (first, count, out) -> {
            for (int i = 0; i < count; i++) {
                for (int j = 0; j < from; j++) {
                    out[i * from + j] = -own[(first + i) * width(p) + j];
                }
            }
        });
        workers.forRanges(n, ROWS, (row, to) -> Kernels.multiplyAdd(to - row, own, row * width(p), width(p), before, own, row * width(p) + from, width(p)));
        int lifted = factorDiagonal(own, from, width(p), n, leastPivot);
        float[] inverse = new float[n * n];
        workers.forRanges(n, COLUMNS, (column, to) -> invert(own, from, width(p), n, column, to, inverse));
        inverses[p] = inverse;
        workers.forEach(IntStream.range(p + 1, panels.length).boxed().toList(), q -> {
            float[] below = panels[q];
            int w = width(q);
            Kernels.multiplyAdd(rows(q), below, 0, w, before, below, from, w);
            float[] solved = new float[rows(q) * n];
            Kernels.multiplyAdd(rows(q), n, n, below, from, w, inverse, 0, n, solved, 0, n);
            for (int i = 0; i < rows(q); i++) {
                System.arraycopy(solved, i * n, below, i * w + from, n);
            }
            return q;
        }, _ -> { });
        return lifted;
    }

    /// Cholesky's method on a diagonal block, in double precision; what lies above the diagonal is cleared.
    ///
    /// @return how many pivots had to be lifted
    private static int factorDiagonal(float[] a, int from, int stride, int n, double leastPivot) {
        // the transposed factor, so that what is left of the block changes row by row
        double[] u = new double[n * n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j <= i; j++) {
                u[j * n + i] = a[i * stride + from + j];
            }
        }
        int lifted = 0;
        for (int k = 0; k < n; k++) {
            double pivot = u[k * n + k];
            if (!(pivot >= leastPivot)) {
                pivot = leastPivot;
                lifted++;
            }
            double root = Math.sqrt(pivot);
            for (int j = k; j < n; j++) {
                u[k * n + j] = j == k ? root : u[k * n + j] / root;
            }
            for (int i = k + 1; i < n; i++) {
                double f = u[k * n + i];
                for (int j = i; j < n; j++) {
                    u[i * n + j] -= f * u[k * n + j];
                }
            }
        }
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                a[i * stride + from + j] = j <= i ? (float) u[j * n + i] : 0;
            }
        }
        return lifted;
    }

    /// Columns `first … to` of the inverse of a lower triangle.
    ///
    /// @param out of `n · n` values
    private static void invert(float[] a, int from, int stride, int n, int first, int to, float[] out) {
        double[] x = new double[n * (to - first)];
        int width = to - first;
        for (int i = first; i < n; i++) {
            double[] row = new double[width];
            int columns = Math.min(i + 1, to) - first;
            if (i < to) {
                row[i - first] = 1;
            }
            for (int k = first; k < i; k++) {
                double f = a[i * stride + from + k];
                int known = Math.min(k + 1, to) - first;
                for (int j = 0; j < known; j++) {
                    row[j] -= f * x[k * width + j];
                }
            }
            double pivot = a[i * stride + from + i];
            for (int j = 0; j < columns; j++) {
                x[i * width + j] = row[j] / pivot;
                out[i * n + first + j] = (float) x[i * width + j];
            }
        }
    }
}
