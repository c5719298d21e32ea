package ram.sensitivity;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import ram.numeric.Quantiles;

/// Sensitivities for modules that the propagation does not know.
public final class Sensitivities {
    private Sensitivities() {
    }

    /// One matrix.
    ///
    /// @param expert whether it belongs to a routed expert: those see few tokens, so they say little about a matrix that sees all, and the reverse
    /// @param parameters number of its weights
    /// @param sensitivity predicted damage per unit of relative squared error, empty when unknown
    public record Entry(int layer, boolean expert, long parameters, OptionalDouble sensitivity) {
    }

    private record Place(int layer, boolean expert) {
    }

    /// The sensitivity of every entry, in order. An unknown one gets the median sensitivity per weight of the known ones in its layer that are experts
    /// as it is or no experts as it is; where there are none, of such ones in the whole model; then of all; and 1 per weight where nothing is known.
    public static double[] complete(List<Entry> entries) {
        Map<Place, List<Double>> known = new HashMap<>();
        for (Entry e : entries) {
            if (e.sensitivity.isPresent() && e.parameters > 0) {
                double perWeight = e.sensitivity.getAsDouble() / e.parameters;
                for (Place place : places(e)) {
                    known.computeIfAbsent(place, _ -> new ArrayList<>()).add(perWeight);
                }
            }
        }
        Map<Place, Double> medians = new HashMap<>();
        known.forEach((place, values) -> medians.put(place, Quantiles.median(values.stream().mapToDouble(Double::doubleValue).toArray())));
        OptionalDouble all = known.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(Quantiles.median(known.values().stream().flatMap(List::stream).mapToDouble(Double::doubleValue).toArray()));
        return entries.stream().mapToDouble(e -> e.sensitivity.orElseGet(() -> {
            for (Place place : places(e)) {
                if (medians.containsKey(place)) {
                    return medians.get(place) * e.parameters;
                }
            }
            return all.orElse(1) * e.parameters;
        })).toArray();
    }

    /// Where an entry looks for its like, the nearest first; layer −2 is the whole model.
    private static List<Place> places(Entry e) {
        return List.of(new Place(e.layer, e.expert), new Place(-2, e.expert));
    }
}
