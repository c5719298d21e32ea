package ram.metric;

import java.util.Optional;

/// Power sums and extremes, gathered row by row. The order of additions is fixed.
final class Moments {
    private final float[] rowMaxAbs;
    private double sum1;
    private double sum2;
    private double sum3;
    private double sum4;
    private float min = Float.POSITIVE_INFINITY;
    private float max = Float.NEGATIVE_INFINITY;
    private long n;
    private long firstNonFinite = -1;
    private long nonFinite;

    Moments(long rows) {
        rowMaxAbs = new float[Math.toIntExact(rows)];
    }

    void add(long row, float[] w, int from, int to) {
        float lo = Float.POSITIVE_INFINITY;
        float hi = Float.NEGATIVE_INFINITY;
        double a1 = 0;
        double a2 = 0;
        double a3 = 0;
        double a4 = 0;
        double b1 = 0;
        double b2 = 0;
        double b3 = 0;
        double b4 = 0;
        int i = from;
        for (; i + 1 < to; i += 2) {
            float x = w[i];
            float y = w[i + 1];
            lo = Math.min(lo, Math.min(x, y));
            hi = Math.max(hi, Math.max(x, y));
            double xx = (double) x * x;
            double yy = (double) y * y;
            a1 += x;
            b1 += y;
            a2 += xx;
            b2 += yy;
            a3 += xx * x;
            b3 += yy * y;
            a4 += xx * xx;
            b4 += yy * yy;
        }
        if (i < to) {
            float x = w[i];
            lo = Math.min(lo, x);
            hi = Math.max(hi, x);
            double xx = (double) x * x;
            a1 += x;
            a2 += xx;
            a3 += xx * x;
            a4 += xx * xx;
        }
        float magnitude = Math.max(-lo, hi);
        // Math.min and Math.max carry a NaN along, so one test of the row's extremes finds every kind of bad value.
        if (to > from && !(magnitude <= Float.MAX_VALUE && lo == lo)) {
            for (int k = from; k < to; k++) {
                if (!Float.isFinite(w[k])) {
                    if (firstNonFinite < 0) {
                        firstNonFinite = row * (to - from) + k - from;
                    }
                    nonFinite++;
                }
            }
        }
        rowMaxAbs[Math.toIntExact(row)] = to > from ? magnitude : 0;
        min = Math.min(min, lo);
        max = Math.max(max, hi);
        sum1 += a1 + b1;
        sum2 += a2 + b2;
        sum3 += a3 + b3;
        sum4 += a4 + b4;
        n += to - from;
    }

    Optional<NonFinite> nonFinite() {
        return nonFinite == 0 ? Optional.empty() : Optional.of(new NonFinite(firstNonFinite, nonFinite));
    }

    float rowMaxAbs(int row) {
        return rowMaxAbs[row];
    }

    double energy() {
        return sum2;
    }

    double maxAbs() {
        return n == 0 ? 0 : Math.max(Math.abs(min), Math.abs(max));
    }

    /// Largest weight less the smallest.
    double range() {
        return n == 0 ? 0 : (double) max - min;
    }

    double mean() {
        return n == 0 ? 0 : sum1 / n;
    }

    double variance() {
        return n == 0 ? 0 : Math.max(0, sum2 / n - mean() * mean());
    }

    /// 0 when the variance is lost in the rounding of the mean's square: the weights are constant.
    double excessKurtosis() {
        double m = mean();
        double v = variance();
        if (!(v > 1e-12 * sum2 / n)) {
            return 0;
        }
        double fourth = sum4 / n - 4 * m * (sum3 / n) + 6 * m * m * (sum2 / n) - 3 * m * m * m * m;
        return fourth / (v * v) - 3;
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
