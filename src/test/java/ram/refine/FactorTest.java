package ram.refine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ram.numeric.Workers;

class FactorTest {
    private static final double DAMPING = 0.03;

    /// Inputs with correlated columns, input after input.
    static float[] inputs(int tokens, int columns, long seed) {
        Random random = new Random(seed);
        float[] out = new float[tokens * columns];
        for (int t = 0; t < tokens; t++) {
            double common = random.nextGaussian();
            for (int c = 0; c < columns; c++) {
                out[t * columns + c] = (float) (0.7 * common + random.nextGaussian() * (1 + c % 3));
            }
        }
        return out;
    }

    /// Σ x xᵀ + damping · mean diagonal, in double precision.
    static double[][] moments(float[] x, int columns, double damping) {
        double[][] h = new double[columns][columns];
        double trace = 0;
        for (int t = 0; t < x.length / columns; t++) {
            for (int i = 0; i < columns; i++) {
                for (int j = 0; j < columns; j++) {
                    h[i][j] += (double) x[t * columns + i] * x[t * columns + j];
                }
            }
        }
        for (int i = 0; i < columns; i++) {
            trace += h[i][i];
        }
        for (int i = 0; i < columns; i++) {
            h[i][i] += damping * trace / columns;
        }
        return h;
    }

    private static Inputs of(float[] x, int columns, int cut, Workers workers) {
        Inputs inputs = new Inputs(columns, 0, workers);
        for (int from = 0; from < x.length; from += cut * columns) {
            inputs.add(Arrays.copyOfRange(x, from, Math.min(x.length, from + cut * columns)), null);
        }
        return inputs;
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 32, 256, 300, 600})
    void theFactorTimesItsTransposeIsTheMoments(int columns) {
        float[] x = inputs(2 * columns, columns, columns);
        double[][] h = moments(x, columns, DAMPING);
        try (Workers workers = new Workers(2)) {
            Factor factor = of(x, columns, 1000, workers).factor(DAMPING);
            assertEquals(0, factor.lifted());
            for (int i = 0; i < columns; i += 1 + columns / 40) {
                for (int j = 0; j <= i; j += 1 + columns / 40) {
                    double sum = 0;
                    for (int k = 0; k <= j; k++) {
                        sum += (double) factor.get(i, k) * factor.get(j, k);
                    }
                    assertEquals(h[i][j], sum, 1e-5 * Math.sqrt(h[i][i] * h[j][j]), i + ", " + j);
                }
            }
        }
    }

    @Test
    void sumsDoNotDependOnHowInputsAreCutNorOnThreads() {
        int columns = 300;
        float[] x = inputs(2500, columns, 1);
        try (Workers one = new Workers(1); Workers three = new Workers(3)) {
            Factor expected = of(x, columns, 2500, one).factor(DAMPING);
            for (int cut : new int[] {1, 100, 1025}) {
                Factor factor = of(x, columns, cut, three).factor(DAMPING);
                for (int p = 0; p < expected.panelCount(); p++) {
                    assertArrayEquals(expected.panels().get(p).rowMajor(), factor.panels().get(p).rowMajor());
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {5, 256, 290})
    void weighsErrorsAndSolves(int columns) {
        int rows = 3;
        float[] x = inputs(2 * columns, columns, 2);
        double[][] h = moments(x, columns, DAMPING);
        float[] e = inputs(rows, columns, 3);
        try (Workers workers = new Workers(2)) {
            Factor factor = of(x, columns, 64, workers).factor(DAMPING);
            double[] sizes = factor.weigh(e, rows);
            float[] solved = e.clone();
            factor.solve(solved, rows);
            for (int r = 0; r < rows; r++) {
                double size = 0;
                for (int i = 0; i < columns; i++) {
                    double back = 0;
                    for (int j = 0; j < columns; j++) {
                        size += e[r * columns + i] * h[i][j] * e[r * columns + j];
                        back += solved[r * columns + j] * h[j][i];
                    }
                    assertEquals(e[r * columns + i], back, 2e-3);
                }
                assertEquals(size, sizes[r], 1e-4 * size);
            }
        }
    }

    @Test
    void columnsThatNoInputTouchesAndInputsThatAllAreAlikeCanBeFactored() {
        int columns = 70;
        float[] x = new float[10 * columns];
        for (int t = 0; t < 10; t++) {
            for (int c = 0; c < columns; c++) {
                x[t * columns + c] = c % 2 == 0 ? 3 : 0;
            }
        }
        try (Workers workers = new Workers(1)) {
            Inputs inputs = of(x, columns, 10, workers);
            assertEquals(35, inputs.deadColumns());
            Factor factor = inputs.factor(DAMPING);
            for (int i = 0; i < columns; i++) {
                assertEquals(true, factor.get(i, i) > 0 && Float.isFinite(factor.get(i, i)));
            }
            Factor nothing = of(new float[columns], columns, 1, workers).factor(DAMPING);
            assertEquals(true, nothing.get(5, 5) > 0);
        }
    }
}
