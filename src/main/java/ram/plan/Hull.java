package ram.plan;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/// An item's options that no other dominates, by rising bytes and falling damage.
///
/// @param option the index of each among the item's
/// @param onHull their positions on the lower convex hull
/// @param slopes what the step to each of those saves per byte
record Hull(long[] bytes, double[] damage, int[] option, int[] onHull, double[] slopes) {
    static Hull of(Solver.Item item) {
        List<Solver.Option> options = item.options();
        Integer[] order = new Integer[options.size()];
        Arrays.setAll(order, i -> i);
        Arrays.sort(order, Comparator.<Integer>comparingLong(i -> options.get(i).bytes()).thenComparingDouble(i -> options.get(i).damage()));
        long[] bytes = new long[order.length];
        double[] damage = new double[order.length];
        int[] option = new int[order.length];
        int n = 0;
        for (int i : order) {
            if (n == 0 || options.get(i).damage() < damage[n - 1]) {
                bytes[n] = options.get(i).bytes();
                damage[n] = options.get(i).damage();
                option[n++] = i;
            }
        }
        int[] hull = new int[n];
        int h = 0;
        for (int j = 0; j < n; j++) {
            while (h >= 2 && slope(bytes, damage, hull[h - 2], hull[h - 1]) <= slope(bytes, damage, hull[h - 1], j)) {
                h--;
            }
            hull[h++] = j;
        }
        double[] slopes = new double[h];
        for (int k = 1; k < h; k++) {
            slopes[k] = slope(bytes, damage, hull[k - 1], hull[k]);
        }
        return new Hull(Arrays.copyOf(bytes, n), Arrays.copyOf(damage, n), Arrays.copyOf(option, n), Arrays.copyOf(hull, h), slopes);
    }

    /// Damage saved per byte from position i to j.
    private static double slope(long[] bytes, double[] damage, int i, int j) {
        return (damage[i] - damage[j]) / (bytes[j] - bytes[i]);
    }

    /// Position reached by taking every step of the hull that saves more than `price` per byte.
    int after(double price) {
        int h = 0;
        while (h + 1 < onHull.length && slopes[h + 1] > price) {
            h++;
        }
        return onHull[h];
    }

    /// Where all is at its best.
    int last() {
        return bytes.length - 1;
    }

    /// Bytes of the options at these positions, one of each item.
    static long bytesOf(List<Hull> hulls, int[] positions) {
        long sum = 0;
        for (int i = 0; i < positions.length; i++) {
            sum += hulls.get(i).bytes[positions[i]];
        }
        return sum;
    }

    /// Damage of the options at these positions.
    static double damageOf(List<Hull> hulls, int[] positions) {
        double sum = 0;
        for (int i = 0; i < positions.length; i++) {
            sum += hulls.get(i).damage[positions[i]];
        }
        return sum;
    }

    /// The indexes of the options at these positions.
    static int[] optionsOf(List<Hull> hulls, int[] positions) {
        int[] out = new int[positions.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = hulls.get(i).option[positions[i]];
        }
        return out;
    }
}
