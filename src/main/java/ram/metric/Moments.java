package ram.metric;

import java.util.Optional;
import ram.numeric.Kernels;

/// Power sums around the mean and extremes, gathered block by block.
///
/// Each block is summed around its own mean, in units of its largest magnitude, and joined to what was there by the formulas of
/// P. Pébay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments", 2008.
final class Moments {
    private static final float LARGEST_UNIT = 1e30f;

    private final float[] rowMaxAbs;
    private final double[] sums = new double[3];
    private long n;
    private double mean;
    private double m2;
    private double m3;
    private double m4;
    private float min = Float.POSITIVE_INFINITY;
    private float max = Float.NEGATIVE_INFINITY;
    private long firstNonFinite = -1;
    private long nonFinite;

    Moments(long rows) {
        rowMaxAbs = new float[Math.toIntExact(rows)];
    }

    /// Adds `rows` rows from `firstRow`, which lie one after the other in `block`, and returns the largest magnitude among them, NaN or infinite if there is
    /// a weight that is.
    float add(long firstRow, int rows, int columns, float[] block) {
        float largest = 0;
        long before = nonFinite;
        for (int i = 0; i < rows; i++) {
            int from = i * columns;
            float magnitude = Kernels.maxMagnitude(block, from, columns);
            rowMaxAbs[Math.toIntExact(firstRow + i)] = magnitude;
            if (!(magnitude <= NonFinite.LARGEST)) {
                locate((firstRow + i) * columns, block, from, columns);
            } else if (min > max || magnitude > Math.min(max, -min)) {
                // No other row can widen the range.
                for (int j = from; j < from + columns; j++) {
                    min = Math.min(min, block[j]);
                    max = Math.max(max, block[j]);
                }
            }
            largest = Math.max(largest, magnitude);
        }
        if (nonFinite == before) {
            join(rows * columns, block, largest);
        }
        return largest;
    }

    private void locate(long index, float[] block, int from, int columns) {
        for (int j = 0; j < columns; j++) {
            if (!(Math.abs(block[from + j]) <= NonFinite.LARGEST)) {
                if (firstNonFinite < 0) {
                    firstNonFinite = index + j;
                }
                nonFinite++;
            }
        }
    }

    private void join(int count, float[] block, float largest) {
        float centre = (float) (Kernels.sum(block, 0, count) / count);
        float unit = Math.min(LARGEST_UNIT, 1 / largest);
        sums[0] = 0;
        sums[1] = 0;
        sums[2] = 0;
        if (largest > 0) {
            Kernels.centralSums(block, 0, count, centre, unit, sums);
        }
        double b2 = sums[0] / unit / unit;
        double b3 = sums[1] / unit / unit / unit;
        double b4 = sums[2] / unit / unit / unit / unit;
        double total = (double) n + count;
        double d = centre - mean;
        double share = n * (double) count / total;
        m4 += b4 + d * d * d * d * share * ((double) n * n - (double) n * count + (double) count * count) / (total * total)
                + 6 * d * d * ((double) n * n * b2 + (double) count * count * m2) / (total * total) + 4 * d * (n * b3 - count * m3) / total;
        m3 += b3 + d * d * d * share * (n - (double) count) / total + 3 * d * (n * b2 - count * m2) / total;
        m2 += b2 + d * d * share;
        mean += d * count / total;
        n += count;
    }

    Optional<NonFinite> nonFinite() {
        return nonFinite == 0 ? Optional.empty() : Optional.of(new NonFinite(firstNonFinite, nonFinite));
    }

    float rowMaxAbs(int row) {
        return rowMaxAbs[row];
    }

    /// Sum of squares.
    double energy() {
        return m2 + n * mean * mean;
    }

    double maxAbs() {
        return n == 0 ? 0 : Math.max(Math.abs(min), Math.abs(max));
    }

    /// Largest weight less the smallest.
    double range() {
        return n == 0 ? 0 : (double) max - min;
    }

    double mean() {
        return mean;
    }

    double variance() {
        return n == 0 ? 0 : m2 / n;
    }

    /// 0 when the variance is lost in the rounding of the sums: the weights are constant.
    double excessKurtosis() {
        return m2 > 1e-10 * energy() ? n * m4 / (m2 * m2) - 3 : 0;
    }

    double zeroRowShare() {
        if (rowMaxAbs.length == 0) {
            return 0;
        }
        long zero = 0;
        for (float m : rowMaxAbs) {
            if (m == 0) {
                zero++;
            }
        }
        return (double) zero / rowMaxAbs.length;
    }
}
