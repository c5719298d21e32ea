package ram.metric;

import java.util.Collections;
import java.util.Objects;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;

/// What was measured on one matrix.
///
/// @param values by `Metric.label`; all finite; empty when the matrix has non-finite weights
public record MetricReport(SortedMap<String, Double> values, Optional<NonFinite> nonFinite) {
    public MetricReport {
        values = Collections.unmodifiableSortedMap(new TreeMap<>(values));
        Objects.requireNonNull(nonFinite);
    }

    /// @throws IllegalArgumentException when the metric was not measured
    public double value(Metric metric) {
        Double v = values.get(metric.label());
        if (v == null) {
            throw new IllegalArgumentException("no " + metric.label());
        }
        return v;
    }
}
