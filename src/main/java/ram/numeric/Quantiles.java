package ram.numeric;

import java.util.Arrays;

/// Order statistics.
public final class Quantiles {
    private Quantiles() {
    }

    /// Linear between the two nearest of the sorted values.
    ///
    /// @param sorted ascending, at least one
    /// @param p 0 for the least to 1 for the greatest
    public static double of(double[] sorted, double p) {
        double at = p * (sorted.length - 1);
        int i = (int) at;
        // neighbours that are both infinite have no difference
        return i + 1 == sorted.length || sorted[i] == sorted[i + 1] ? sorted[i] : sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
    }

    /// The middle one, or the mean of the two in the middle.
    ///
    /// @param values in any order, at least one
    public static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int n = sorted.length;
        return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    }
}
