package ram.eval;

import java.util.Arrays;

/// Means and their errors over `double[]`, summed in index order.
final class Statistics {
    private Statistics() {
    }

    static double mean(double[] x) {
        double sum = 0;
        for (double v : x) {
            sum += v;
        }
        return sum / x.length;
    }

    /// Standard error of the mean; not a number for a single value, which says nothing of it.
    static double standardError(double[] x) {
        double mean = mean(x);
        double squares = 0;
        for (double v : x) {
            squares += (v - mean) * (v - mean);
        }
        return Math.sqrt(squares / (x.length - 1) / x.length);
    }

    /// The number below which this share of a normal distribution lies.
    ///
    /// @param share between 0 and 1
    static double normalQuantile(double share) {
        double low = -9;
        double high = 9;
        while (low < (low + high) / 2 && (low + high) / 2 < high) {
            double middle = (low + high) / 2;
            if (normal(middle) < share) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return high;
    }

    /// Simpson's rule from 0: more than float32 needs.
    private static double normal(double x) {
        int steps = 400;
        double sum = 0;
        for (int i = 0; i <= steps; i++) {
            double t = x * i / steps;
            sum += (i == 0 || i == steps ? 1 : i % 2 == 0 ? 2 : 4) * StrictMath.exp(-t * t / 2);
        }
        return 0.5 + sum * x / steps / 3 / StrictMath.sqrt(2 * Math.PI);
    }

    static double[] sorted(double[] x) {
        double[] out = x.clone();
        Arrays.sort(out);
        return out;
    }

    /// The mean without the `share` smallest and the `share` largest of the sorted values, rounded down in number.
    static double trimmedMean(double[] sorted, double share) {
        int cut = (int) (share * sorted.length);
        return mean(Arrays.copyOfRange(sorted, cut, sorted.length - cut));
    }

    /// The value that 97.5 % of Student's t distribution lies below, within 1 % from 3 degrees of freedom on.
    /// Expansion in 1/ν around the normal quantile (Abramowitz and Stegun 26.7.5).
    static double student(int degrees) {
        if (degrees <= 2) {
            return degrees <= 1 ? 12.706 : 4.303;
        }
        double z = 1.959963984540054;
        double z2 = z * z;
        double n = degrees;
        return z + z * (z2 + 1) / (4 * n) + z * ((5 * z2 + 16) * z2 + 3) / (96 * n * n) + z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * n * n * n)
                + z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / (92160 * n * n * n * n);
    }
}
