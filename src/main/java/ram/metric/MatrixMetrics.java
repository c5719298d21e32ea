package ram.metric;

import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.tensor.RowBlocks;
import ram.tensor.Rows;

/// Measures one matrix in a few passes by row blocks. Memory: one block, one float per row, and `lanczosSteps` vectors as long as a row.
/// The calling thread does all the work; the result depends on nothing but the weights and the options.
public final class MatrixMetrics {
    private MatrixMetrics() {
    }

    /// Every metric of `rows`, or, when weights are not finite, only where and how many.
    ///
    /// @throws ArithmeticException when the matrix has 2³¹ rows or more
    public static MetricReport measure(Rows rows, MetricOptions options) {
        Moments moments = new Moments(rows.rows());
        Optional<Spectrum.FirstStep> first = Spectrum.FirstStep.of(rows, options);
        for (RowBlocks.Block b : RowBlocks.of(rows)) {
            float largest = moments.add(b.firstRow(), b.rows(), rows.columns(), b.values());
            first.ifPresent(f -> f.add(largest, b.rows(), rows.columns(), b.values()));
        }
        SortedMap<String, Double> values = new TreeMap<>();
        if (moments.nonFinite().isPresent()) {
            return new MetricReport(values, moments.nonFinite());
        }
        double energy = moments.energy();
        Outliers outliers = new Outliers(rows, moments);
        Spectrum spectrum = Spectrum.of(outliers.watched(), energy, options, first);
        for (Metric metric : Metric.values()) {
            values.put(metric.label(), switch (metric) {
                case FROBENIUS -> Math.sqrt(energy);
                case MAX_ABS -> moments.maxAbs();
                case MEAN -> moments.mean();
                case STD -> Math.sqrt(moments.variance());
                case EXCESS_KURTOSIS -> moments.excessKurtosis();
                case OUTLIER_SHARE -> outliers.share();
                case ZERO_ROW_SHARE -> moments.zeroRowShare();
                case SPECTRAL_NORM -> spectrum.norm();
                case STABLE_RANK -> spectrum.stableRank(energy);
                case EFFECTIVE_RANK -> spectrum.effectiveRank();
                case SVD_CONCENTRATION -> spectrum.concentration();
                case SPECTRUM_EXACT -> spectrum.exact() ? 1.0 : 0.0;
                case OUTPUT_NOISE -> OutputNoise.of(moments, (double) rows.rows() * rows.columns());
            });
        }
        return new MetricReport(values, Optional.empty());
    }
}
