package ram.profile;

import java.util.Arrays;
import java.util.Optional;
import ram.numeric.Kernels;
import ram.tensor.RowBlocks;
import ram.tensor.Rows;

/// Rows of a matrix on which errors are measured: a sample in which a row's chance grows with the error to be expected in it.
///
/// The error of a group of weights is nearly its squared range times a factor of the format. So one pass over the whole matrix finds sum of squares and
/// sum of squared ranges of every row, rows are lined up by the ratio of the two, which tells how much clipping will pay, and along that line rows are
/// chosen at equal steps of expected error: systematic sampling with unequal probabilities (Cochran, Sampling Techniques, 3rd ed., §9A). Rows whose
/// share is a step or more are always chosen. Nothing is left to chance, so the choice is the same every time.
///
/// @param rows the chosen ones, ascending
/// @param factor for each, how many rows it stands for
/// @param line the places in `rows` along the line
/// @param energy sum of squares of the whole matrix
record RowSample(int[] rows, double[] factor, int[] line, double energy) {
    /// Matrices up to this many elements are always measured whole.
    static final long WHOLE = 1 << 19;
    /// Otherwise at least this many elements, or one in [#SHARE] when that is more.
    private static final long FEWEST = 1 << 17;
    private static final long SHARE = 128;
    private static final int FEWEST_ROWS = 64;
    /// Share of the sum of squares in the expected error. It keeps rows whose groups are constant, and so have no range, in the sample.
    private static final double ENERGY_SHARE = 0.25;

    /// What one pass finds of every row.
    ///
    /// @param energy sums of squares
    /// @param ranges sums of squared ranges of groups
    /// @param order the rows by the ratio of the two
    record Statistics(double[] energy, double[] ranges, int[] order) {
        static Statistics of(Rows matrix) {
            Pass pass = new Pass(matrix);
            RowBlocks.of(pass.watched()).forEach(_ -> { });
            return pass.found().orElseThrow();
        }

        /// By the ratios in float32, rows of the same ratio by their number, as long numbers: sorting objects took a fiftieth of an analysis, and compiling that a
        /// tenth of the compiler's time.
        private static int[] order(double[] energy, double[] ranges) {
            long[] keys = new long[energy.length];
            for (int r = 0; r < keys.length; r++) {
                // Rows of zeros are never chosen.
                float ratio = energy[r] > 0 ? (float) (ranges[r] / energy[r]) : 0;
                keys[r] = (long) Float.floatToIntBits(ratio) << Integer.SIZE | r;
            }
            Arrays.sort(keys);
            int[] order = new int[keys.length];
            for (int k = 0; k < order.length; k++) {
                order[k] = (int) keys[k];
            }
            return order;
        }
    }

    /// Gathers the statistics of a matrix while somebody, in one thread, reads it from its first row to its last.
    static final class Pass {
        private final Rows matrix;
        private final double[] energy;
        private final double[] ranges;
        private volatile Statistics found;

        Pass(Rows matrix) {
            this.matrix = matrix;
            this.energy = new double[Math.toIntExact(matrix.rows())];
            this.ranges = new double[energy.length];
        }

        /// The matrix, to be read in place of itself.
        Rows watched() {
            return matrix.watched(this::gather);
        }

        private void gather(long firstRow, int count, float[] values) {
            int columns = matrix.columns();
            for (int i = 0; i < count; i++) {
                int row = (int) firstRow + i;
                energy[row] = Kernels.sumOfSquares(values, i * columns, columns);
                ranges[row] = Kernels.squaredRanges(values, i * columns, columns);
            }
            if (firstRow + count == energy.length) {
                found = new Statistics(energy, ranges, Statistics.order(energy, ranges));
            }
        }

        /// Empty before the last row was read. May be asked by any thread.
        Optional<Statistics> found() {
            return Optional.ofNullable(found);
        }
    }

    /// Whether every row of a matrix is to be measured.
    static boolean whole(long rows, int columns, boolean exact) {
        return exact || rows * columns <= WHOLE || rows < 2 * FEWEST_ROWS;
    }

    /// Number of rows of the smallest sample.
    static int fewest(long rows, int columns) {
        return (int) Math.max(FEWEST_ROWS, Math.ceilDiv(Math.max(FEWEST, rows * columns / SHARE), (long) columns));
    }

    /// About `wanted` rows. Rows of zeros, which cause no error, are left out. Where no row becomes certain, one of twice as many holds all of it.
    ///
    /// @param start place of the first step, from 0 to 1
    static RowSample of(Statistics s, int wanted, double start) {
        double energy = Arrays.stream(s.energy).sum();
        double ranges = Arrays.stream(s.ranges).sum();
        int n = s.energy.length;
        double[] size = new double[n];
        for (int r = 0; r < n; r++) {
            size[r] = ENERGY_SHARE * share(s.energy[r], energy) + (1 - ENERGY_SHARE) * share(s.ranges[r], ranges);
        }
        double[] chance = chances(size, wanted);
        long[] chosen = new long[n];
        int count = 0;
        double before = start;
        for (int r : s.order) {
            if (chance[r] > 0) {
                double after = before + chance[r];
                if (chance[r] == 1 || Math.floor(after) > Math.floor(before)) {
                    chosen[count] = (long) r << Integer.SIZE | count;
                    count++;
                }
                // certain rows take no step
                before = chance[r] == 1 ? before : after;
            }
        }
        Arrays.sort(chosen, 0, count);
        int[] rows = new int[count];
        double[] factor = new double[count];
        int[] line = new int[count];
        for (int i = 0; i < count; i++) {
            rows[i] = (int) (chosen[i] >>> Integer.SIZE);
            factor[i] = 1 / chance[rows[i]];
            line[(int) chosen[i]] = i;
        }
        return new RowSample(rows, factor, line, energy);
    }

    private static double share(double part, double all) {
        return all > 0 && all < Double.POSITIVE_INFINITY ? part / all : 0;
    }

    /// Proportional to the sizes, at most 1 each, `wanted` in sum.
    private static double[] chances(double[] size, int wanted) {
        double[] chance = new double[size.length];
        boolean more = true;
        while (more) {
            double rest = 0;
            long certain = 0;
            for (int r = 0; r < size.length; r++) {
                if (chance[r] == 1) {
                    certain++;
                } else {
                    rest += size[r];
                }
            }
            more = false;
            for (int r = 0; r < size.length; r++) {
                if (chance[r] < 1 && rest > 0) {
                    chance[r] = Math.min(1, (wanted - certain) * size[r] / rest);
                    more |= chance[r] == 1;
                }
            }
            if (wanted <= certain) {
                break;
            }
        }
        return chance;
    }

    /// An estimate of the relative standard error of the sum of `factor · value`: from the differences of neighbours along the line.
    double relativeError(double[] values) {
        double sum = 0;
        double squares = 0;
        double last = Double.NaN;
        for (int k = 0; k < line.length; k++) {
            int i = line[k];
            double v = factor[i] * values[i];
            sum += v;
            if (factor[i] > 1) {
                double d = v - last;
                squares += Double.isNaN(last) ? 0 : d * d / 2 * (1 - 1 / factor[i]);
                last = v;
            }
        }
        return sum == 0 ? 0 : Math.sqrt(squares) / sum;
    }

    double sum(double[] values) {
        double sum = 0;
        for (int i = 0; i < values.length; i++) {
            sum += factor[i] * values[i];
        }
        return sum;
    }
}
