package ram.profile;

import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.UsageException;

/// What was measured on one matrix: a source tensor, or one expert's slice of a stacked one.
///
/// @param metrics by metric name (`frobenius`, `max_abs`, `excess_kurtosis`, `stable_rank`, …); all finite
/// @param sensitivity s of this matrix, before normalisation over the model: predicted damage per unit of relative squared error; finite
/// @param ingredients what the sensitivity was computed from, by name
/// @param curve relative squared error per format, in the order of the module's curve
public record TensorProfile(String name, long rows, long columns, SortedMap<String, Double> metrics, double sensitivity,
                            SortedMap<String, Double> ingredients, List<CurvePoint> curve) {
    /// The metric that needs a quantizer, beside those of [ram.metric.Metric]: normalised root mean square error of rounding to nearest with 4 bits in groups
    /// of 128, or of the largest group that divides a row; 0 when none does.
    public static final String ERROR_4_128 = "error_4_128";

    public TensorProfile {
        Objects.requireNonNull(name);
        if (!Double.isFinite(sensitivity)) {
            throw new IllegalArgumentException("tensor '" + name + "' has the sensitivity " + sensitivity);
        }
        metrics = Collections.unmodifiableSortedMap(new TreeMap<>(metrics));
        ingredients = Collections.unmodifiableSortedMap(new TreeMap<>(ingredients));
        curve = List.copyOf(curve);
    }

    /// @param name of a metric
    /// @throws UsageException when it was not measured
    public double metric(String name) {
        Double value = metrics.get(name);
        if (value == null) {
            throw new UsageException("the profile holds no " + name + " for " + this.name + "; analyze the model again with this version");
        }
        return value;
    }

    /// Number of weights.
    public long parameters() {
        return Math.multiplyExact(rows, columns);
    }
}
