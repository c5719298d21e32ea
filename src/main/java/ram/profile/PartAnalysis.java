package ram.profile;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.InputException;
import ram.format.BlockCoder;
import ram.format.Format;
import ram.format.Quantizer;
import ram.metric.MatrixMetrics;
import ram.metric.Metric;
import ram.metric.MetricOptions;
import ram.metric.MetricReport;
import ram.metric.NonFinite;
import ram.numeric.Kernels;
import ram.safetensors.DType;
import ram.sensitivity.Term;
import ram.tensor.Rows;

/// Measures one matrix: its metrics, its error in every format, and the damage that its error does where the importance of places is known.
final class PartAnalysis {
    /// Normalised root mean square error of rounding to nearest with 4 bits in groups of 128, or of the largest group that divides a row; 0 when none does.
    static final String ERROR_4_128 = "error_4_128";

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

    private PartAnalysis() {
    }

    /// The errors of a matrix, before its norm is known.
    ///
    /// @param coarseError relative squared error of the format of [#ERROR_4_128]
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

    /// @param terms what an error costs by its place; empty when that is not known
    static Errors errors(Rows rows, List<Format> formats, Quantizer quantizer, DType stored, boolean exact, List<Term> terms) {
        RowSample sample = RowSample.of(rows.rows(), rows.columns(), exact);
        List<BlockCoder> coders = formats.stream().map(f -> new BlockCoder(f, quantizer, stored)).toList();
        Optional<BlockCoder> coarse = reference(rows.columns(), stored, 128, 64, 32);
        Optional<BlockCoder> reference = terms.isEmpty() ? Optional.empty() : reference(rows.columns(), stored, 64, 32);
        List<float[]> importance = terms.stream().map(t -> floats(t.columns())).toList();

        int columns = rows.columns();
        int runs = sample.runs().size();
        double[] norms = new double[runs];
        double[][] errors = new double[formats.size()][runs];
        double[] coarseErrors = new double[runs];
        double plainSum = 0;
        double[] weightedSums = new double[terms.size()];
        List<RowSample.Run> blocks = new ArrayList<>();
        List<Integer> runOf = new ArrayList<>();
        for (int r = 0; r < runs; r++) {
            for (RowSample.Run block : sample.runs().get(r).blocks(columns)) {
                blocks.add(block);
                runOf.add(r);
            }
        }
        float[] values = new float[Math.multiplyExact(blocks.stream().mapToInt(RowSample.Run::count).max().orElse(0), columns)];
        for (int b = 0; b < blocks.size(); b++) {
            RowSample.Run run = blocks.get(b);
            int r = runOf.get(b);
            rows.read(run.first(), run.count(), values);
            norms[r] += squaredNorm(values, run.count() * columns);
            for (int f = 0; f < coders.size(); f++) {
                errors[f][r] += error(coders.get(f), values, run.count(), columns);
            }
            if (coarse.isPresent()) {
                coarseErrors[r] += error(coarse.get(), values, run.count(), columns);
            }
            if (reference.isPresent()) {
                for (int t = 0; t < terms.size(); t++) {
                    double[] plain = new double[run.count()];
                    double[] weighted = new double[run.count()];
                    reference.get().errors(values, run.count(), columns, importance.get(t), plain, weighted);
                    plainSum += t == 0 ? sum(plain) : 0;
                    for (int i = 0; i < run.count(); i++) {
                        weightedSums[t] += weighted[i] * terms.get(t).rows()[Math.toIntExact(run.first() + i)];
                    }
                }
            }
        }
        List<CurvePoint> curve = new ArrayList<>();
        for (int f = 0; f < formats.size(); f++) {
            curve.add(point(formats.get(f), errors[f], norms, sample.complete()));
        }
        double[] weighted = new double[terms.size()];
        for (int t = 0; t < weighted.length; t++) {
            weighted[t] = ratio(weightedSums[t], plainSum);
        }
        return new Errors(curve, ratio(sum(coarseErrors), sum(norms)), reference.map(_ -> weighted));
    }

    static Result combine(MetricReport report, Errors errors, List<Term> terms) {
        SortedMap<String, Double> metrics = new TreeMap<>(report.values());
        metrics.put(ERROR_4_128, Math.sqrt(errors.coarseError()));
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

    private static float[] floats(double[] values) {
        float[] out = new float[values.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = (float) values[i];
        }
        return out;
    }

    static String refusal(String name, NonFinite n) {
        return "tensor '" + name + "' holds " + n.count() + (n.count() == 1 ? " weight that is" : " weights that are")
                + " infinite or not a number, the first at index " + n.firstIndex() + "; the checkpoint is damaged, get another copy";
    }

    private static Optional<BlockCoder> reference(int columns, DType stored, int... groupSizes) {
        for (int g : groupSizes) {
            if (columns % g == 0) {
                return Optional.of(new BlockCoder(Format.affine(4, g), Quantizer.RTN, stored));
            }
        }
        return Optional.empty();
    }

    private static double error(BlockCoder coder, float[] values, int count, int columns) {
        double[] rowError = new double[count];
        coder.errors(values, count, columns, null, rowError, null);
        return sum(rowError);
    }

    /// Ratio estimate over the runs, and its standard error by linearisation (Cochran, Sampling Techniques, 3rd ed., §6.3).
    private static CurvePoint point(Format format, double[] errors, double[] norms, boolean complete) {
        double error = sum(errors);
        double ratio = ratio(error, sum(norms));
        if (complete || error == 0) {
            return new CurvePoint(format, ratio, 0);
        }
        double residual = 0;
        for (int r = 0; r < errors.length; r++) {
            double d = errors[r] - ratio * norms[r];
            residual += d * d;
        }
        double n = errors.length;
        return new CurvePoint(format, ratio, Math.sqrt(residual * n / (n - 1)) / error);
    }

    private static double ratio(double a, double b) {
        return b == 0 ? 0 : a / b;
    }

    private static double squaredNorm(float[] values, int count) {
        return Kernels.sumOfSquares(values, 0, count);
    }

    private static double sum(double[] values) {
        double sum = 0;
        for (double v : values) {
            sum += v;
        }
        return sum;
    }
}
