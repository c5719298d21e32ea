package ram.profile;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import ram.format.Format;
import ram.format.Quantizer;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.tensor.Rows;

/// Errors that were measured on a sample against those of all rows.
class SamplingTest {
    private static final List<Format> FORMATS = List.of(Format.affine(2, 32), Format.affine(2, 128), Format.affine(3, 64), Format.affine(4, 32), Format.affine(4, 128),
            Format.affine(6, 64), Format.affine(8, 64), Format.parse("mxfp4"));

    /// Matrices whose rows differ in one way or another.
    enum Shape {
        ALIKE, LOUD_ROWS, FEW_VERY_LOUD_ROWS, LOUD_COLUMNS, HEAVY_TAILS, SPARSE;

        float[] weights(int rows, int columns) {
            SplittableRandom random = new SplittableRandom(7);
            float[] out = new float[rows * columns];
            for (int r = 0; r < rows; r++) {
                double loudness = switch (this) {
                    case LOUD_ROWS -> Math.exp(0.5 * random.nextGaussian());
                    case FEW_VERY_LOUD_ROWS -> random.nextInt(200) == 0 ? 50 : 1;
                    default -> 1;
                };
                double tail = this == HEAVY_TAILS ? Math.exp(0.3 * random.nextGaussian()) : 0;
                for (int c = 0; c < columns; c++) {
                    double v = random.nextGaussian();
                    v *= this == LOUD_COLUMNS && c % 97 == 0 ? 8 : 1;
                    v *= tail == 0 ? 1 : Math.pow(Math.abs(random.nextGaussian()) + 0.1, tail);
                    v *= this == SPARSE && random.nextInt(3) < 2 ? 0 : 1;
                    out[r * columns + c] = Decoder.round(DType.BF16, (float) (0.02 * loudness * v));
                }
            }
            return out;
        }
    }

    static Rows rows(float[] weights, int columns) {
        return new Rows() {
            @Override
            public long rows() {
                return weights.length / columns;
            }

            @Override
            public int columns() {
                return columns;
            }

            @Override
            public void read(long firstRow, int count, float[] out) {
                System.arraycopy(weights, (int) firstRow * columns, out, 0, count * columns);
            }
        };
    }

    @ParameterizedTest
    @EnumSource
    void isWithinOnePercent(Shape shape) {
        Rows rows = rows(shape.weights(2048, 768), 768);
        List<CurvePoint> sampled = errors(rows, false);
        List<CurvePoint> exact = errors(rows, true);
        for (int f = 0; f < FORMATS.size(); f++) {
            CurvePoint s = sampled.get(f);
            double off = s.relativeError() / exact.get(f).relativeError() - 1;
            // zeros among the weights make the error of a group hard to foretell from its range
            double most = shape == Shape.SPARSE ? 0.02 : 0.01;
            assertTrue(Math.abs(off) <= most, () -> FORMATS.indexOf(s.format()) + " " + s.format() + " is off by " + off + ", said to be " + s.samplingError());
            assertTrue(s.samplingError() <= most / 2 && s.samplingError() > 0, s::toString);
            assertEquals(0, exact.get(f).samplingError());
        }
    }

    /// Each expert may be off a little more, all together less.
    @Test
    void stacksAreWithinOnePercent() {
        double[] sampled = new double[FORMATS.size()];
        double[] exact = new double[FORMATS.size()];
        float[] weights = Shape.LOUD_ROWS.weights(8192, 768);
        for (int e = 0; e < 4; e++) {
            Rows expert = rows(Arrays.copyOfRange(weights, e * 2048 * 768, (e + 1) * 2048 * 768), 768);
            List<CurvePoint> s = errors(expert, 128, Quantizer.RTN, false);
            List<CurvePoint> x = errors(expert, 128, Quantizer.RTN, true);
            for (int f = 0; f < sampled.length; f++) {
                sampled[f] += s.get(f).relativeError();
                exact[f] += x.get(f).relativeError();
                assertEquals(1, s.get(f).relativeError() / x.get(f).relativeError(), 0.03);
                assertTrue(s.get(f).samplingError() <= 0.01);
            }
        }
        for (int f = 0; f < sampled.length; f++) {
            assertEquals(1, sampled[f] / exact[f], 0.01);
        }
    }

    private static List<CurvePoint> errors(Rows rows, boolean exact) {
        return errors(rows, 1, Quantizer.MSE, exact);
    }

    private static List<CurvePoint> errors(Rows rows, int matrices, Quantizer quantizer, boolean exact) {
        return new ErrorSums(rows, FORMATS, quantizer, DType.BF16, List.of()).measure(Optional.empty(), matrices, exact).curve();
    }

    /// A matrix of zeros but for one row is that row.
    @Test
    void findsTheOneRowThatMatters() {
        float[] weights = new float[2048 * 768];
        System.arraycopy(Shape.ALIKE.weights(1, 768), 0, weights, 1000 * 768, 768);
        Rows rows = rows(weights, 768);
        RowSample sample = RowSample.of(RowSample.Statistics.of(rows), 64, 0.5);
        assertEquals("[1000]", Arrays.toString(sample.rows()));
        assertEquals(errors(rows, true), errors(rows, false));
    }

    @Test
    void aSampleStandsForAllRows() {
        float[] weights = Shape.LOUD_ROWS.weights(2048, 768);
        for (int wanted : new int[] {64, 100, 512}) {
            RowSample sample = RowSample.of(RowSample.Statistics.of(rows(weights, 768)), wanted, 0.5);
            assertEquals(wanted, sample.rows().length, 1);
            assertEquals(2048, Arrays.stream(sample.factor()).sum(), 400);
            int[] line = sample.line().clone();
            Arrays.sort(line);
            for (int i = 0; i < line.length; i++) {
                assertEquals(i, line[i]);
                assertTrue(sample.factor()[i] >= 1 && (i == 0 || sample.rows()[i] > sample.rows()[i - 1]));
            }
        }
    }

    @Test
    void aLargerSampleHoldsASmallerOne() {
        RowSample.Statistics statistics = RowSample.Statistics.of(rows(Shape.ALIKE.weights(2048, 768), 768));
        int[] twice = RowSample.of(statistics, 200, 0).rows();
        assertTrue(Arrays.stream(RowSample.of(statistics, 100, 0.5).rows()).allMatch(r -> Arrays.binarySearch(twice, r) >= 0));
    }

    /// However many rows are read at a time, and whatever is read afterwards.
    @Test
    void statisticsAreGatheredWhileAnotherReads() {
        Rows rows = rows(Shape.LOUD_ROWS.weights(2048, 768), 768);
        RowSample.Statistics own = RowSample.Statistics.of(rows);
        RowSample.Pass pass = new RowSample.Pass(rows);
        Rows watched = pass.watched();
        float[] out = new float[50 * 768];
        for (int first = 0; first < 2048; first += 50) {
            assertTrue(pass.found().isEmpty());
            watched.read(first, Math.min(50, 2048 - first), out);
        }
        watched.read(0, 50, out);
        RowSample.Statistics found = pass.found().orElseThrow();
        assertArrayEquals(own.energy(), found.energy());
        assertArrayEquals(own.ranges(), found.ranges());
        assertArrayEquals(own.order(), found.order());
    }

    @Test
    void nothingButZeros() {
        Rows rows = rows(new float[2048 * 768], 768);
        errors(rows, false).forEach(p -> assertEquals(new CurvePoint(p.format(), 0, 0), p));
    }
}
