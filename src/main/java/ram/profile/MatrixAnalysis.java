package ram.profile;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.InputException;
import ram.metric.MatrixMetrics;
import ram.metric.Metric;
import ram.metric.MetricOptions;
import ram.metric.MetricReport;
import ram.metric.NonFinite;
import ram.sensitivity.Term;
import ram.tensor.Rows;

/// What is found of one matrix: its metrics, its error in every format, and the damage that its error does where the importance of places is known.
final class MatrixAnalysis {
    /// What was measured.
    ///
    /// @param metrics by name
    /// @param curve one point per format, in the order in which they were asked for
    /// @param sensitivity empty when nothing is known about the importance of places, or no group size divides a row
    /// @param ingredients what the sensitivity was computed from: means of the row and column weights, and their scale, for each way in which an error
    ///     reaches the output: through the residual, or through the logits directly
    record Result(SortedMap<String, Double> metrics, List<CurvePoint> curve, Optional<PartSensitivity> sensitivity, SortedMap<String, Double> ingredients) {
    }

    /// Predicted damage per unit of relative squared error: `relative · L + absolute`, with the logit power L of the whole model.
    record PartSensitivity(double relative, double absolute) {
        double at(double logitPower) {
            return relative * logitPower + absolute;
        }
    }

    private MatrixAnalysis() {
    }

    /// The errors of a matrix, before its norm is known.
    ///
    /// @param coarseError relative squared error of the format of [TensorProfile#ERROR_4_128]
    /// @param weighted per term: Σ row·(w − ŵ)²·col over Σ (w − ŵ)² in the reference format; empty when no group size divides a row
    record Errors(List<CurvePoint> curve, double coarseError, Optional<double[]> weighted) {
    }

    /// @param name for the message when a weight is not finite
    /// @throws InputException when a weight is not finite
    static MetricReport metrics(String name, Rows rows) {
        MetricReport report = MatrixMetrics.measure(rows, MetricOptions.DEFAULT);
        report.nonFinite().ifPresent(n -> {
            throw new InputException(refusal(name, n));
        });
        return report;
    }

    static Result combine(MetricReport report, Errors errors, List<Term> terms) {
        SortedMap<String, Double> metrics = new TreeMap<>(report.values());
        metrics.put(TensorProfile.ERROR_4_128, Math.sqrt(errors.coarseError()));
        double energy = report.value(Metric.FROBENIUS) * report.value(Metric.FROBENIUS);
        return new Result(metrics, errors.curve(), errors.weighted().map(weighted -> sensitivity(weighted, energy, terms)), ingredients(terms));
    }

    private static PartSensitivity sensitivity(double[] weighted, double energy, List<Term> terms) {
        double relative = 0;
        double absolute = 0;
        for (int t = 0; t < weighted.length; t++) {
            // Per unit of relative squared error: the format's own error cancels.
            double damage = terms.get(t).scale() * weighted[t] * energy;
            relative += terms.get(t).relative() ? damage : 0;
            absolute += terms.get(t).relative() ? 0 : damage;
        }
        return new PartSensitivity(relative, absolute);
    }

    private static SortedMap<String, Double> ingredients(List<Term> terms) {
        SortedMap<String, Double> out = new TreeMap<>();
        for (Term t : terms) {
            String way = t.relative() ? "residual_" : "logits_";
            out.put(way + "row_weight_mean", Arrays.stream(t.rows()).average().orElse(0));
            out.put(way + "column_weight_mean", Arrays.stream(t.columns()).average().orElse(0));
            out.put(way + "scale", t.scale());
        }
        return out;
    }

    static String refusal(String name, NonFinite n) {
        return "tensor '" + name + "' holds " + n + "; the checkpoint is damaged, get another copy, or give --keep-nonfinite to keep the tensor dense";
    }
}
