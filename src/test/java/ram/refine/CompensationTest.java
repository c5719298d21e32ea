package ram.refine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.format.BlockCoder;
import ram.format.CodedMatrix;
import ram.format.Format;
import ram.format.Quantizer;
import ram.numeric.Decoder;
import ram.numeric.Workers;
import ram.safetensors.DType;
import ram.tensor.Rows;

class CompensationTest {
    static float[] weights(int n, long seed) {
        Random random = new Random(seed);
        float[] out = new float[n];
        for (int i = 0; i < n; i++) {
            out[i] = (float) (random.nextGaussian() * 0.05);
        }
        return out;
    }

    static Rows rows(float[] values, int columns) {
        return new Rows() {
            @Override
            public long rows() {
                return values.length / columns;
            }

            @Override
            public int columns() {
                return columns;
            }

            @Override
            public void read(long first, int count, float[] out) {
                System.arraycopy(values, (int) first * columns, out, 0, count * columns);
            }
        };
    }

    /// The method in double precision, from H itself: columns from the last to the first, each at the least of its quadratic form given the errors of those after it,
    /// found by eliminating the columns before it.
    private static double[][] reference(float[] w, int rows, double[][] h, Format format, DType stored) {
        int n = h.length;
        double[][] schur = new double[n][n];
        for (int i = 0; i < n; i++) {
            schur[i] = h[i].clone();
        }
        // after eliminating columns 0 … k − 1, row k of what remains says how errors of later columns pull on column k
        double[][] pull = new double[n][n];
        for (int k = 0; k < n; k++) {
            for (int j = k + 1; j < n; j++) {
                pull[k][j] = schur[k][j] / schur[k][k];
            }
            for (int i = k + 1; i < n; i++) {
                for (int j = k + 1; j < n; j++) {
                    schur[i][j] -= schur[i][k] * schur[k][j] / schur[k][k];
                }
            }
            for (int j = 0; j < k; j++) {
                schur[k][j] = 0;
            }
        }
        int size = format.groupSize();
        double[][] decoded = new double[rows][n];
        for (int r = 0; r < rows; r++) {
            double[] error = new double[n];
            for (int g = n / size - 1; g >= 0; g--) {
                int a = g * size;
                float[] target = new float[size];
                float[] importance = new float[size];
                for (int k = 0; k < size; k++) {
                    double sum = 0;
                    for (int j = a + size; j < n; j++) {
                        sum += pull[a + k][j] * error[j];
                    }
                    target[k] = (float) (w[r * n + a + k] + sum);
                    importance[k] = (float) schur[a + k][a + k];
                }
                CodedMatrix grid = CodedMatrix.allocate(format, stored, 1, size);
                new BlockCoder(format, Quantizer.MSE, stored).encode(target, 1, size, importance, grid.codes(), grid.scales(), grid.biases());
                float[] scale = new float[1];
                float[] bias = new float[1];
                Decoder.decode(stored, grid.scales(), 0, scale, 0, 1);
                Decoder.decode(stored, grid.biases(), 0, bias, 0, 1);
                for (int k = size - 1; k >= 0; k--) {
                    double t = w[r * n + a + k];
                    for (int j = a + k + 1; j < n; j++) {
                        t += pull[a + k][j] * error[j];
                    }
                    double q = scale[0] == 0 ? 0 : Math.rint(Math.clamp((t - bias[0]) / scale[0], 0, (1 << format.bits()) - 1));
                    decoded[r][a + k] = q * scale[0] + bias[0];
                    error[a + k] = w[r * n + a + k] - decoded[r][a + k];
                }
            }
        }
        return decoded;
    }

    @ParameterizedTest
    @CsvSource({"2:32, 96", "3:32, 320", "4:64, 128", "4:32, 288", "8:128, 256", "5:64, 64", "6:32, 32"})
    void codesAreThoseOfTheMethodInDoublePrecision(String name, int columns) {
        Format format = Format.parse(name);
        int rows = 9;
        float[] w = weights(rows * columns, columns);
        float[] x = FactorTest.inputs(3 * columns, columns, 5);
        double[][] h = FactorTest.moments(x, columns, 0.03);
        double[][] expected = reference(w, rows, h, format, DType.BF16);
        try (Workers workers = new Workers(1)) {
            Inputs inputs = new Inputs(columns, 0, workers);
            inputs.add(x, null);
            CodedMatrix coded = CodedMatrix.allocate(format, DType.BF16, rows, columns);
            double[] errors = new Compensation(format, DType.BF16, inputs.factor(0.03)).code(w, rows, coded.codes(), coded.scales(), coded.biases());
            float[] actual = new float[w.length];
            coded.read(0, rows, actual);
            int agreeing = 0;
            for (int r = 0; r < rows; r++) {
                boolean same = true;
                double size = 0;
                for (int i = 0; i < columns; i++) {
                    same &= Math.abs(actual[r * columns + i] - expected[r][i]) <= 1e-6;
                    for (int j = 0; j < columns; j++) {
                        size += (w[r * columns + i] - actual[r * columns + i]) * h[i][j] * (w[r * columns + j] - actual[r * columns + j]);
                    }
                }
                agreeing += same ? 1 : 0;
                assertEquals(size, errors[r], 2e-3 * size);
            }
            // where a value lies half-way between two codes, float32 may take the other one, and all that follows differs
            assertTrue(agreeing >= rows - 2, agreeing + " of " + rows + " rows agree");
        }
    }

    @ParameterizedTest
    @CsvSource({"2:32", "4:64", "8:32"})
    void withoutCorrelationItIsPlainCoding(String name) {
        Format format = Format.parse(name);
        int rows = 130;
        int columns = 192;
        float[] w = weights(rows * columns, 1);
        CodedMatrix plain = CodedMatrix.allocate(format, DType.BF16, rows, columns);
        plain.encode(Quantizer.MSE, w);
        try (Workers workers = new Workers(2)) {
            Inputs none = new Inputs(columns, 0, workers);
            CodedMatrix coded = CodedMatrix.allocate(format, DType.BF16, rows, columns);
            CompensatedCoder.Outcome outcome = new CompensatedCoder(workers).code(rows(w, columns), 0, rows, new Refiner.Target(format, DType.BF16), none, Factor.identity(columns), 0.5, coded::put);
            assertArrayEquals(bytes(plain.scales()), bytes(coded.scales()));
            assertArrayEquals(bytes(plain.biases()), bytes(coded.biases()));
            assertArrayEquals(bytes(plain.codes()), bytes(coded.codes()));
            assertEquals(outcome.plainError(), outcome.error(), 1e-6 * outcome.plainError());
        }
    }

    @ParameterizedTest
    @CsvSource({"2:32, 1", "3:64, 2", "4:32, 3", "6:64, 4"})
    void noRowIsFurtherThanPlainCodingAndCorrelatedInputsGainALot(String name, long seed) {
        Format format = Format.parse(name);
        int rows = 140;
        int columns = 128;
        float[] w = weights(rows * columns, seed);
        float[] x = FactorTest.inputs(400, columns, seed);
        float[] drifted = x.clone();
        Random random = new Random(seed);
        for (int i = 0; i < drifted.length; i++) {
            drifted[i] += (float) (0.1 * random.nextGaussian());
        }
        try (Workers workers = new Workers(2)) {
            Inputs inputs = new Inputs(columns, 2 * columns, workers);
            inputs.add(drifted, x);
            Factor factor = inputs.factor(0.03);
            CodedMatrix coded = CodedMatrix.allocate(format, DType.F16, rows, columns);
            CompensatedCoder.Outcome outcome = new CompensatedCoder(workers).code(rows(w, columns), 0, rows, new Refiner.Target(format, DType.F16), inputs, factor, 0.5, coded::put);
            float[] aim = inputs.aim(w, rows, 0.5);
            CodedMatrix plain = CodedMatrix.allocate(format, DType.F16, rows, columns);
            plain.encode(Quantizer.MSE, w);
            double[] with = factor.weigh(difference(aim, coded), rows);
            double[] without = factor.weigh(difference(aim, plain), rows);
            double sum = 0;
            for (int r = 0; r < rows; r++) {
                assertTrue(with[r] <= without[r] * 1.0001, with[r] + " and " + without[r]);
                sum += with[r];
            }
            assertEquals(sum, outcome.error(), 1e-3 * sum);
            assertTrue(outcome.error() < 0.9 * outcome.plainError());
        }
    }

    private static float[] difference(float[] w, CodedMatrix coded) {
        float[] out = new float[w.length];
        coded.read(0, (int) coded.rows(), out);
        for (int i = 0; i < out.length; i++) {
            out[i] = w[i] - out[i];
        }
        return out;
    }

    /// W + share · W · Σ (x − x̂) x̂ᵀ · H⁻¹, checked by multiplying with H.
    @ParameterizedTest
    @CsvSource({"40", "270"})
    void theAimMakesUpForPartOfTheDrift(int columns) {
        int rows = 4;
        float[] w = weights(rows * columns, 3);
        float[] x = FactorTest.inputs(2 * columns, columns, 1);
        float[] y = FactorTest.inputs(2 * columns, columns, 2);
        double[][] h = FactorTest.moments(y, columns, 0.03);
        try (Workers workers = new Workers(2)) {
            Inputs inputs = new Inputs(columns, 2 * columns, workers);
            inputs.add(y, x);
            inputs.factor(0.03);
            float[] aim = inputs.aim(w, rows, 0.5);
            for (int r = 0; r < rows; r++) {
                for (int j = 0; j < columns; j += 7) {
                    double left = 0;
                    double right = 0;
                    for (int i = 0; i < columns; i++) {
                        left += (aim[r * columns + i] - (double) w[r * columns + i]) * h[i][j];
                    }
                    for (int t = 0; t < 2 * columns; t++) {
                        double drift = 0;
                        for (int i = 0; i < columns; i++) {
                            drift += w[r * columns + i] * (x[t * columns + i] - (double) y[t * columns + i]);
                        }
                        right += 0.5 * drift * y[t * columns + j];
                    }
                    assertEquals(right, left, 2e-3 * (1 + Math.abs(right)));
                }
            }
        }
    }

    private static byte[] bytes(MemorySegment segment) {
        return segment.toArray(java.lang.foreign.ValueLayout.JAVA_BYTE);
    }
}
