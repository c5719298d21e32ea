package ram.metric;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.SingularOps_DDRM;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.tensor.Rows;

class MatrixMetricsTest {
    private static final MetricOptions ESTIMATE = new MetricOptions(0, 1, 5, 1);

    private record Dense(long rows, int columns, float[] data) implements Rows {
        @Override
        public void read(long firstRow, int count, float[] out) {
            System.arraycopy(data, (int) firstRow * columns, out, 0, count * columns);
        }
    }

    private static Dense gaussian(int rows, int columns, double std, long seed) {
        Random random = new Random(seed);
        float[] w = new float[rows * columns];
        for (int i = 0; i < w.length; i++) {
            w[i] = (float) (std * random.nextGaussian());
        }
        return new Dense(rows, columns, w);
    }

    /// Blocks of reflected coordinates: orthogonal on both sides, so the singular values are known by construction.
    private static Dense withSingularValues(int rows, int columns, double[] sigma, long seed) {
        double[] w = new double[rows * columns];
        for (int i = 0; i < sigma.length; i++) {
            w[i * columns + i] = sigma[i];
        }
        Random random = new Random(seed);
        for (int k = 0; k < 3; k++) {
            double[] u = random.doubles(rows, -1, 1).toArray();
            double[] v = random.doubles(columns, -1, 1).toArray();
            double uu = 0;
            for (double x : u) {
                uu += x * x;
            }
            double vv = 0;
            for (double x : v) {
                vv += x * x;
            }
            for (int j = 0; j < columns; j++) {
                double s = 0;
                for (int i = 0; i < rows; i++) {
                    s += u[i] * w[i * columns + j];
                }
                for (int i = 0; i < rows; i++) {
                    w[i * columns + j] -= 2 * s / uu * u[i];
                }
            }
            for (int i = 0; i < rows; i++) {
                double s = 0;
                for (int j = 0; j < columns; j++) {
                    s += v[j] * w[i * columns + j];
                }
                for (int j = 0; j < columns; j++) {
                    w[i * columns + j] -= 2 * s / vv * v[j];
                }
            }
        }
        float[] f = new float[w.length];
        for (int i = 0; i < f.length; i++) {
            f[i] = (float) w[i];
        }
        return new Dense(rows, columns, f);
    }

    private static double[] power(int n, double exponent) {
        double[] s = new double[n];
        for (int i = 0; i < n; i++) {
            s[i] = Math.pow(i + 1, -exponent);
        }
        return s;
    }

    private static double concentration(double[] sigma) {
        double head = 0;
        double total = 0;
        int leading = Math.min(256, sigma.length);
        for (int i = 0; i < leading; i++) {
            total += sigma[i] * sigma[i];
            head += i < Math.round(leading * 0.1) ? sigma[i] * sigma[i] : 0;
        }
        return head / total;
    }

    private static double effectiveRank(double[] sigma) {
        double sum = 0;
        for (double s : sigma) {
            sum += s;
        }
        double h = 0;
        for (double s : sigma) {
            h -= s > 0 ? s / sum * Math.log(s / sum) : 0;
        }
        return Math.exp(h);
    }

    @Test
    void momentsOfAHandMadeMatrix() {
        MetricReport r = MatrixMetrics.measure(new Dense(3, 2, new float[] {1, -2, 0, 0, 3, 4}), MetricOptions.DEFAULT);
        assertEquals(Math.sqrt(30), r.value(Metric.FROBENIUS), 1e-12);
        assertEquals(4, r.value(Metric.MAX_ABS));
        assertEquals(1, r.value(Metric.MEAN));
        assertEquals(2, r.value(Metric.STD), 1e-12);
        // Fourth central moments: 0, 81, 1, 1, 16, 81 around the mean 1.
        assertEquals(180 / 6.0 / 16 - 3, r.value(Metric.EXCESS_KURTOSIS), 1e-12);
        assertEquals(1 / 3.0, r.value(Metric.ZERO_ROW_SHARE), 1e-12);
        assertEquals(0, r.value(Metric.OUTLIER_SHARE));
        assertEquals(6 / 15.0 * Math.sqrt(6 / 12.0 / 30), r.value(Metric.OUTPUT_NOISE), 1e-12);
        assertEquals(1, r.value(Metric.SPECTRUM_EXACT));
        assertEquals(Metric.values().length, r.values().size());
    }

    @Test
    void outliersAreCountedInEveryRowThatCanHoldOne() {
        Dense d = gaussian(400, 100, 0.02, 3);
        int planted = 0;
        for (int i = 57; i < d.data.length; i += 9001) {
            d.data[i] = planted++ % 2 == 0 ? 1 : -1;
        }
        for (MetricOptions options : new MetricOptions[] {MetricOptions.DEFAULT, ESTIMATE}) {
            MetricReport r = MatrixMetrics.measure(d, options);
            assertEquals(planted / 40000.0, r.value(Metric.OUTLIER_SHARE), 1e-15);
            assertTrue(r.value(Metric.EXCESS_KURTOSIS) > 10);
        }
    }

    /// Its only direction is found in the first pass, so nobody reads it again.
    @Test
    void outliersOfAMatrixOfRankOneAreCountedToo() {
        float[] w = new float[300 * 320];
        for (int i = 0; i < w.length; i++) {
            w[i] = i / 320 == 7 && i % 320 >= 315 ? 1 : 0;
        }
        assertEquals(5.0 / w.length, MatrixMetrics.measure(new Dense(300, 320, w), ESTIMATE).value(Metric.OUTLIER_SHARE), 1e-15);
    }

    @Test
    void aPassForEachStepIsAllThatIsRead() {
        Dense d = gaussian(2000, 600, 0.02, 4);
        d.data[999_999] = 1;
        long[] read = new long[1];
        Rows counting = d.changed((_, count, _) -> read[0] += count);
        assertTrue(MatrixMetrics.measure(counting, ESTIMATE).value(Metric.OUTLIER_SHARE) > 0);
        assertEquals(ESTIMATE.lanczosSteps() * d.rows, read[0]);
    }

    /// Nothing is known of the size of the weights when the first product is formed.
    @ParameterizedTest
    @CsvSource({"50", "-60", "30", "-30"})
    void theSpectrumDoesNotDependOnTheSizeOfWeights(int exponent) {
        Dense d = gaussian(500, 400, 1, 6);
        MetricReport plain = MatrixMetrics.measure(d, ESTIMATE);
        float[] scaled = new float[d.data.length];
        float[] growing = new float[d.data.length];
        for (int i = 0; i < scaled.length; i++) {
            scaled[i] = Math.scalb(d.data[i], exponent);
            // Further from its first block than sums in float32 allow for.
            growing[i] = i < 400 * 200 ? Math.scalb(d.data[i], -50) : d.data[i];
        }
        MetricReport r = MatrixMetrics.measure(new Dense(500, 400, scaled), ESTIMATE);
        assertEquals(Math.scalb(plain.value(Metric.SPECTRAL_NORM), exponent), r.value(Metric.SPECTRAL_NORM), Math.scalb(1e-5, exponent) * plain.value(Metric.SPECTRAL_NORM));
        assertEquals(plain.value(Metric.EFFECTIVE_RANK), r.value(Metric.EFFECTIVE_RANK), 1e-3);
        float[] late = new float[growing.length];
        System.arraycopy(growing, 400 * 200, late, 400 * 200, late.length - 400 * 200);
        assertEquals(MatrixMetrics.measure(new Dense(500, 400, late), ESTIMATE).value(Metric.SPECTRAL_NORM),
                MatrixMetrics.measure(new Dense(500, 400, growing), ESTIMATE).value(Metric.SPECTRAL_NORM), 1e-4);
    }

    @Test
    void outputNoiseMatchesProbes() {
        Dense d = gaussian(60, 80, 0.5, 4);
        float lo = Float.MAX_VALUE;
        float hi = -Float.MAX_VALUE;
        for (float w : d.data) {
            lo = Math.min(lo, w);
            hi = Math.max(hi, w);
        }
        Random random = new Random(5);
        double noise = 0;
        double signal = 0;
        for (int probe = 0; probe < 200; probe++) {
            double[] x = random.doubles(80).map(_ -> random.nextGaussian()).toArray();
            for (int i = 0; i < 60; i++) {
                double n = 0;
                double s = 0;
                for (int j = 0; j < 80; j++) {
                    n += (random.nextDouble() - 0.5) * (hi - lo) / 15 * x[j];
                    s += d.data[i * 80 + j] * x[j];
                }
                noise += n * n;
                signal += s * s;
            }
        }
        double measured = MatrixMetrics.measure(d, MetricOptions.DEFAULT).value(Metric.OUTPUT_NOISE);
        assertEquals(Math.sqrt(noise / signal), measured, 0.03 * measured);
    }

    @ParameterizedTest
    @CsvSource({"40, 90", "90, 40", "64, 64", "1, 50", "50, 1"})
    void exactSpectrumAgreesWithADecompositionOfTheMatrixItself(int rows, int columns) {
        Dense d = gaussian(rows, columns, 0.1, rows);
        double[][] w = new double[rows][columns];
        for (int i = 0; i < d.data.length; i++) {
            w[i / columns][i % columns] = d.data[i];
        }
        double[] sigma = SingularOps_DDRM.singularValues(new DMatrixRMaj(w));
        MetricReport r = MatrixMetrics.measure(d, MetricOptions.DEFAULT);
        double energy = 0;
        for (double s : sigma) {
            energy += s * s;
        }
        assertEquals(1, r.value(Metric.SPECTRUM_EXACT));
        assertEquals(sigma[0], r.value(Metric.SPECTRAL_NORM), 1e-9);
        assertEquals(energy / sigma[0] / sigma[0], r.value(Metric.STABLE_RANK), 1e-6);
        assertEquals(effectiveRank(sigma), r.value(Metric.EFFECTIVE_RANK), 1e-5 * sigma.length);
    }

    @ParameterizedTest
    @CsvSource({"400, 700, 0.3", "700, 400, 0.3", "400, 700, 0.6", "700, 400, 0.6", "500, 500, 0"})
    void estimatedSpectrumIsNearTheKnownOne(int rows, int columns, double exponent) {
        double[] sigma = power(Math.min(rows, columns), exponent);
        MetricReport r = MatrixMetrics.measure(withSingularValues(rows, columns, sigma, 7), ESTIMATE);
        assertEquals(0, r.value(Metric.SPECTRUM_EXACT));
        assertEquals(1, r.value(Metric.SPECTRAL_NORM), 0.06);
        assertEquals(effectiveRank(sigma), r.value(Metric.EFFECTIVE_RANK), 0.25 * effectiveRank(sigma));
        assertEquals(concentration(sigma), r.value(Metric.SVD_CONCENTRATION), 0.25 * concentration(sigma));
    }

    @Test
    void estimateOfGaussianWeightsAgreesWithTheFullDecomposition() {
        Dense d = gaussian(900, 600, 1e-4, 8);
        MetricReport exact = MatrixMetrics.measure(d, new MetricOptions(1 << 20, 1000, 5, 1));
        MetricReport estimate = MatrixMetrics.measure(d, ESTIMATE);
        assertEquals(1, estimate.value(Metric.SPECTRAL_NORM) / exact.value(Metric.SPECTRAL_NORM), 0.06);
        assertEquals(1, estimate.value(Metric.EFFECTIVE_RANK) / exact.value(Metric.EFFECTIVE_RANK), 0.06);
        assertEquals(1, estimate.value(Metric.SVD_CONCENTRATION) / exact.value(Metric.SVD_CONCENTRATION), 0.15);
    }

    @Test
    void matricesOfLowRankEndTheIterationEarly() {
        double[] sigma = new double[300];
        sigma[0] = 3;
        sigma[1] = 2;
        MetricReport r = MatrixMetrics.measure(withSingularValues(300, 320, sigma, 9), ESTIMATE);
        assertEquals(3, r.value(Metric.SPECTRAL_NORM), 0.01);
        assertEquals(13 / 9.0, r.value(Metric.STABLE_RANK), 0.01);
        assertEquals(effectiveRank(sigma), r.value(Metric.EFFECTIVE_RANK), 0.01);
    }

    @Test
    void constantAndZeroWeights() {
        for (MetricOptions options : new MetricOptions[] {MetricOptions.DEFAULT, ESTIMATE}) {
            MetricReport zero = MatrixMetrics.measure(new Dense(30, 20, new float[600]), options);
            for (Metric m : Metric.values()) {
                double expected = m == Metric.SPECTRUM_EXACT || m == Metric.ZERO_ROW_SHARE ? 1 : 0;
                assertEquals(expected, zero.value(m), m.label());
            }
            float[] ones = new float[600];
            java.util.Arrays.fill(ones, 0.3f);
            MetricReport constant = MatrixMetrics.measure(new Dense(30, 20, ones), options);
            assertEquals(0, constant.value(Metric.EXCESS_KURTOSIS));
            assertEquals(1, constant.value(Metric.STABLE_RANK), 1e-4);
            assertTrue(constant.values().values().stream().allMatch(Double::isFinite));
        }
    }

    @ParameterizedTest
    @CsvSource({"NaN", "Infinity", "-Infinity"})
    void nonFiniteWeightsAreLocated(float bad) {
        Dense d = gaussian(300, 301, 1, 10);
        d.data[250 * 301 + 17] = bad;
        d.data[250 * 301 + 300] = bad;
        d.data[299 * 301] = bad;
        MetricReport r = MatrixMetrics.measure(d, MetricOptions.DEFAULT);
        assertEquals(new NonFinite(250 * 301 + 17, 3), r.nonFinite().orElseThrow());
        assertTrue(r.values().isEmpty());
    }
}
