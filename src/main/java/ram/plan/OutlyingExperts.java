package ram.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import ram.numeric.Quantiles;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;

/// Experts that suffer far more from quantization than the others of their stack: the stack has one format, so they are not served by it as the others are.
final class OutlyingExperts {
    /// Robust standard deviations of the logarithm of the damage, and times the median, from which on an expert is named.
    private static final double DEVIATIONS = 6;
    private static final double TIMES = 3;
    private static final int FEWEST_EXPERTS = 4;
    private static final int MOST_NAMED = 5;
    /// Makes the median absolute deviation estimate the standard deviation of normal values.
    private static final double MAD_TO_SIGMA = 1.4826;

    private record Outlier(String tensor, double times) {
    }

    private OutlyingExperts() {
    }

    /// One sentence for each of the worst, and one that counts the rest.
    static List<String> of(Profile profile) {
        List<Outlier> found = new ArrayList<>();
        for (ModuleProfile m : profile.modules()) {
            if (m.tensors().size() >= FEWEST_EXPERTS && !m.curve().isEmpty()) {
                find(m, found);
            }
        }
        found.sort(Comparator.comparingDouble(Outlier::times).reversed().thenComparing(Outlier::tensor));
        List<String> notes = new ArrayList<>();
        for (Outlier o : found.subList(0, Math.min(MOST_NAMED, found.size()))) {
            notes.add(String.format(Locale.ROOT, "%s stands out: an error of the same format does %.1f times the damage of the median expert of its stack.", o.tensor(), o.times()));
        }
        if (found.size() > MOST_NAMED) {
            notes.add((found.size() - MOST_NAMED) + " more experts stand out.");
        }
        return notes;
    }

    private static void find(ModuleProfile m, List<Outlier> found) {
        int point = m.curve().size() / 2;
        double[] logs = m.tensors().stream().mapToDouble(t -> StrictMath.log(damage(t, point))).toArray();
        double middle = Quantiles.median(logs);
        double spread = MAD_TO_SIGMA * Quantiles.median(Arrays.stream(logs).map(l -> Math.abs(l - middle)).toArray());
        for (int i = 0; i < logs.length; i++) {
            double above = logs[i] - middle;
            if (above > StrictMath.log(TIMES) && above > DEVIATIONS * spread) {
                found.add(new Outlier(m.tensors().get(i).name(), StrictMath.exp(above)));
            }
        }
    }

    private static double damage(TensorProfile t, int point) {
        return Math.max(t.sensitivity() * t.curve().get(point).relativeError(), Double.MIN_NORMAL);
    }
}
