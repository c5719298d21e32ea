package ram.sensitivity;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;

/// Sensitivities for modules that the picture does not know.
public final class Sensitivities {
    private Sensitivities() {
    }

    /// One matrix.
    ///
    /// @param parameters number of its weights
    /// @param sensitivity predicted damage per unit of relative squared error, empty when unknown
    public record Entry(int layer, long parameters, OptionalDouble sensitivity) {
    }

    /// The sensitivity of every entry, in order. An unknown one gets the median sensitivity per weight of the known ones in its layer, of the whole
    /// model where its layer has none, and 1 per weight where the model has none.
    public static double[] complete(List<Entry> entries) {
        Map<Integer, List<Double>> byLayer = new HashMap<>();
        List<Double> all = new ArrayList<>();
        for (Entry e : entries) {
            if (e.sensitivity.isPresent() && e.parameters > 0) {
                double perWeight = e.sensitivity.getAsDouble() / e.parameters;
                byLayer.computeIfAbsent(e.layer, _ -> new ArrayList<>()).add(perWeight);
                all.add(perWeight);
            }
        }
        double model = all.isEmpty() ? 1 : median(all);
        Map<Integer, Double> medians = new HashMap<>();
        byLayer.forEach((layer, values) -> medians.put(layer, median(values)));
        return entries.stream().mapToDouble(e -> e.sensitivity.orElseGet(() -> medians.getOrDefault(e.layer, model) * e.parameters)).toArray();
    }

    private static double median(List<Double> values) {
        double[] sorted = values.stream().mapToDouble(Double::doubleValue).toArray();
        Arrays.sort(sorted);
        int n = sorted.length;
        return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    }
}
