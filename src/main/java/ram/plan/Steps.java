package ram.plan;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/// The steps of several hulls, by what they save per byte.
///
/// @param slopes what each saves per byte, rising
/// @param bytesFrom the bytes of all items when it, those of the same slope and those after it are taken
record Steps(double[] slopes, long[] bytesFrom) {
    static Steps of(List<Hull> hulls) {
        record Step(double slope, long bytes) {
        }
        List<Step> all = new ArrayList<>();
        long taken = 0;
        for (Hull h : hulls) {
            taken += h.bytes()[0];
            for (int j = 1; j < h.onHull().length; j++) {
                all.add(new Step(h.slopes()[j], h.bytes()[h.onHull()[j]] - h.bytes()[h.onHull()[j - 1]]));
            }
        }
        all.sort(Comparator.comparingDouble(Step::slope));
        double[] slopes = all.stream().mapToDouble(Step::slope).toArray();
        long[] bytesFrom = new long[slopes.length];
        for (int i = slopes.length - 1; i >= 0; i--) {
            taken += all.get(i).bytes;
            bytesFrom[i] = taken;
        }
        for (int i = 1; i < slopes.length; i++) {
            if (slopes[i] == slopes[i - 1]) {
                bytesFrom[i] = bytesFrom[i - 1];
            }
        }
        return new Steps(slopes, bytesFrom);
    }

    /// The largest λ at which taking every step that saves at least λ per byte no longer fits.
    double breakPrice(long capacity) {
        int low = 0;
        int high = slopes.length - 1;
        while (low < high) {
            int mid = low + high + 1 >>> 1;
            if (bytesFrom[mid] > capacity) {
                low = mid;
            } else {
                high = mid - 1;
            }
        }
        return slopes[low];
    }
}
