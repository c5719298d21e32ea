package ram.sensitivity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static ram.sensitivity.HandMadeModel.all;
import static ram.sensitivity.HandMadeModel.diagonal;
import static ram.sensitivity.HandMadeModel.filled;
import static ram.sensitivity.HandMadeModel.gaussian;
import static ram.sensitivity.HandMadeModel.term;

import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.layout.Kind;

class StateSpaceTest {
    private static final String MIXER = "model.layers.0.mamba.";
    private static final double NORMED = 0.2;
    private static final int HIDDEN = 64;
    private static final int HEADS = 4;
    private static final int LENGTH = 5;
    private static final int GROUPS = 2;
    private static final int STATES = 3;
    private static final int TAPS = 2;
    private static final int WIDTH = HEADS * LENGTH;
    private static final int WRITTEN = GROUPS * STATES;
    private static final int CONVOLVED = WIDTH + 2 * WRITTEN;
    private static final int ROWS = WIDTH + CONVOLVED + HEADS;

    /// Weights of a mixer with gates in the first rows, then channels, B, C and steps.
    private record Mixer(float[] in, float[] taps, float[] logDecay, float[] stepBias, float[] direct, float[] out) {
        static Mixer random(Random random) {
            return new Mixer(gaussian(ROWS * HIDDEN, 0.15, random), gaussian(CONVOLVED * TAPS, 0.6, random), gaussian(HEADS, 0.2, random), gaussian(HEADS, 0.5, random),
                    gaussian(HEADS, 0.3, random), gaussian(HIDDEN * WIDTH, 0.2, random));
        }

        HandMadeModel model() {
            HandMadeModel m = new HandMadeModel();
            m.config.put("hidden_size", HIDDEN).put("mamba_n_heads", HEADS).put("mamba_d_head", LENGTH).put("mamba_n_groups", GROUPS).put("mamba_d_state", STATES).put("mamba_d_conv", TAPS);
            return m.matrix("model.embed_tokens", Kind.EMBEDDING, HIDDEN, HIDDEN, diagonal(HIDDEN, HIDDEN, 2)).vector("model.layers.0.input_layernorm.weight", filled(HIDDEN, 1))
                    .matrix(MIXER + "in_proj", Kind.LINEAR_ATTENTION, ROWS, HIDDEN, in).matrix(MIXER + "out_proj", Kind.LINEAR_ATTENTION, HIDDEN, WIDTH, out)
                    .vector(MIXER + "conv1d.weight", taps).vector(MIXER + "A_log", logDecay).vector(MIXER + "dt_bias", stepBias).vector(MIXER + "D", direct);
        }

        /// What the last of these inputs gets, one step after the other.
        double[] last(double[][] inputs, float[] change) {
            double[][] memory = new double[WIDTH][STATES];
            double[] before = new double[ROWS];
            double[] gated = new double[WIDTH];
            for (double[] x : inputs) {
                double[] rows = new double[ROWS];
                for (int r = 0; r < ROWS; r++) {
                    for (int j = 0; j < HIDDEN; j++) {
                        rows[r] += (in[r * HIDDEN + j] + change[r * HIDDEN + j]) * x[j];
                    }
                }
                double[] mixed = new double[CONVOLVED];
                for (int c = 0; c < CONVOLVED; c++) {
                    mixed[c] = silu(taps[c * TAPS] * before[WIDTH + c] + taps[c * TAPS + 1] * rows[WIDTH + c]);
                }
                for (int i = 0; i < WIDTH; i++) {
                    int head = i / LENGTH;
                    int b = WIDTH + head / (HEADS / GROUPS) * STATES;
                    double step = Math.log1p(Math.exp(rows[WIDTH + CONVOLVED + head] + stepBias[head]));
                    double left = Math.exp(-step * Math.exp(logDecay[head]));
                    double y = direct[head] * mixed[i];
                    for (int n = 0; n < STATES; n++) {
                        memory[i][n] = left * memory[i][n] + step * mixed[i] * mixed[b + n];
                        y += memory[i][n] * mixed[b + WRITTEN + n];
                    }
                    gated[i] = y * silu(rows[i]);
                }
                before = rows;
            }
            return gated;
        }
    }

    private static double silu(double x) {
        return x / (1 + Math.exp(-x));
    }

    private static double[][] inputs(Random random) {
        double[][] x = new double[12][HIDDEN];
        Arrays.stream(x).forEach(v -> Arrays.setAll(v, _ -> random.nextGaussian()));
        return x;
    }

    /// Gates, channels, B and C read the same inputs and what passes SiLU has a mean, while the mixer is followed as if all were independent.
    private static void assertWithin(double factor, double ratio, String what) {
        assertTrue(ratio < factor && ratio > 1 / factor, what + ": " + ratio);
    }

    @Test
    void whatIsHandedOnIsAsSampled() {
        Random random = new Random(5);
        Mixer mixer = Mixer.random(random);
        double[] context = term(mixer.model().walk(2), MIXER + "out_proj").columns();
        double[] power = new double[WIDTH];
        int samples = 5000;
        for (int s = 0; s < samples; s++) {
            double[] gated = mixer.last(inputs(random), new float[ROWS * HIDDEN]);
            for (int i = 0; i < WIDTH; i++) {
                power[i] += gated[i] * gated[i] / samples;
            }
        }
        for (int i = 0; i < WIDTH; i++) {
            assertWithin(3, power[i] / context[i], "channel " + i);
        }
        assertWithin(1.25, Arrays.stream(power).sum() / Arrays.stream(context).sum(), "all");
    }

    @ParameterizedTest
    @CsvSource({"gates, 0, 20, 1", "channels, 20, 40, 1", "B, 40, 46, 0.15", "C, 46, 52, 0.15", "steps, 52, 56, 1"})
    void noiseIsAsSampled(String what, int from, int to, double factor) {
        Random random = new Random(17);
        Mixer mixer = Mixer.random(random);
        Term term = term(mixer.model().walk(1), MIXER + "in_proj");
        float[] change = new float[ROWS * HIDDEN];
        double predicted = 0;
        for (int i = from * HIDDEN; i < to * HIDDEN; i++) {
            change[i] = (float) (0.002 * random.nextGaussian());
            predicted += term.rows()[i / HIDDEN] * change[i] * change[i] * term.columns()[i % HIDDEN] / factor;
        }
        double noise = 0;
        int samples = 1500;
        for (int s = 0; s < samples; s++) {
            double[][] x = inputs(random);
            double[] before = mixer.last(x, new float[ROWS * HIDDEN]);
            double[] after = mixer.last(x, change);
            for (int i = 0; i < HIDDEN; i++) {
                double y = 0;
                for (int j = 0; j < WIDTH; j++) {
                    y += mixer.out[i * WIDTH + j] * (after[j] - before[j]);
                }
                noise += y * y / samples;
            }
        }
        assertWithin(1.75, noise / predicted, what);
    }

    @Test
    void aNormLeavesSharesAndTakesItsGains() {
        Mixer mixer = Mixer.random(new Random(8));
        float[] gains = gaussian(WIDTH, 1, new Random(9));
        double[] plain = term(mixer.model().walk(1), MIXER + "out_proj").columns();
        double[] normed = term(mixer.model().vector(MIXER + "norm.weight", gains).walk(1), MIXER + "out_proj").columns();
        double mean = Arrays.stream(plain).average().orElseThrow();
        for (int i = 0; i < WIDTH; i++) {
            double gain = NORMED * gains[i] * gains[i];
            assertEquals(gain * plain[i] / mean, normed[i], 1e-6 * gain * plain[i] / mean);
        }
        HandMadeModel groups = mixer.model().vector(MIXER + "norm.weight", filled(WIDTH, 1));
        groups.family = "nemotron_h";
        double[] byGroup = term(groups.walk(1), MIXER + "out_proj").columns();
        assertEquals(NORMED, Arrays.stream(byGroup, 0, WIDTH / 2).average().orElseThrow(), 1e-9);
        assertEquals(NORMED, Arrays.stream(byGroup, WIDTH / 2, WIDTH).average().orElseThrow(), 1e-9);
    }

    /// With all taps 0 but a bias, nothing of the input comes through the convolution.
    @Test
    void biasesOfTheConvolutionCount() {
        Mixer mixer = Mixer.random(new Random(8));
        Mixer deaf = new Mixer(mixer.in, new float[CONVOLVED * TAPS], mixer.logDecay, mixer.stepBias, mixer.direct, mixer.out);
        assertArrayEquals(all(WIDTH, 0), term(deaf.model().walk(1), MIXER + "out_proj").columns(), 0);
        Term in = term(deaf.model().vector(MIXER + "conv1d.bias", filled(CONVOLVED, 1)).walk(1), MIXER + "in_proj");
        for (int r = 0; r < ROWS; r++) {
            assertEquals(r < WIDTH || r >= WIDTH + CONVOLVED, in.rows()[r] > 0, "row " + r);
        }
    }

    @ParameterizedTest
    @CsvSource({"mamba_n_heads, 5", "mamba_d_state, 0", "mamba_d_conv, 3", "mamba_n_groups, 3", "mamba_d_head, -1", "mamba_d_head, 100000"})
    void shapesThatDoNotFitAreLeftAlone(String key, int value) {
        HandMadeModel m = Mixer.random(new Random(3)).model();
        m.config.put(key, value);
        Map<String, ModuleWeights> w = m.walk(1);
        assertEquals(ModuleWeights.Source.LAYER_MEDIAN, w.get(MIXER + "in_proj").source());
        assertEquals(ModuleWeights.Source.EVEN_INPUT, w.get(MIXER + "out_proj").source());
    }
}
