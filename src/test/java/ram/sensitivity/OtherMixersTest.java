package ram.sensitivity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static ram.sensitivity.HandMadeModel.all;
import static ram.sensitivity.HandMadeModel.diagonal;
import static ram.sensitivity.HandMadeModel.filled;
import static ram.sensitivity.HandMadeModel.gaussian;
import static ram.sensitivity.HandMadeModel.term;

import java.util.Map;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.layout.Kind;

/// Mixers of tokens that are no softmax attention.
class OtherMixersTest {
    private static final String CONV = "model.layers.0.conv.";
    private static final String LINEAR = "model.layers.0.linear_attn.";
    private static final double MIXER = 0.2;
    private static final double NORMED = 0.2;
    private static final double ADDRESS = 0.03 / 0.2;
    private static final double O = 0.4;

    private static HandMadeModel model(int hidden) {
        HandMadeModel m = new HandMadeModel();
        m.config.put("hidden_size", hidden);
        return m.matrix("model.embed_tokens", Kind.EMBEDDING, hidden, hidden, diagonal(hidden, hidden, 2)).vector("model.layers.0.operator_norm.weight", filled(hidden, 1));
    }

    private static HandMadeModel convolution(int hidden, float[] in, float[] taps, float[] out) {
        HandMadeModel m = model(hidden);
        m.config.put("conv_L_cache", taps.length / hidden);
        m.plain.addAll(new HandMadeModel().vector(CONV + "conv.weight", taps).plain);
        return m.matrix(CONV + "in_proj", Kind.LINEAR_ATTENTION, 3 * hidden, hidden, in).matrix(CONV + "out_proj", Kind.LINEAR_ATTENTION, hidden, hidden, out);
    }

    @Test
    void aShortConvolutionMultipliesThreeProjections() {
        float[] in = new float[3 * 16];
        System.arraycopy(diagonal(4, 4, 2), 0, in, 0, 16);
        System.arraycopy(diagonal(4, 4, 3), 0, in, 16, 16);
        System.arraycopy(diagonal(4, 4, 5), 0, in, 32, 16);
        HandMadeModel m = convolution(4, in, new float[] {1, 2, 2, 0, 3, 0, 1, -2, 2, -3, 0, 0}, diagonal(4, 4, 0.5));
        Map<String, ModuleWeights> w = m.walk(1);
        // Inputs have a power of 1 after the norm, the taps of every channel one of 9.
        double context = 9 * 4 * 9 * 25;
        assertEquals(4 * context * 0.25, m.added(), 1e-2);
        Term out = term(w, CONV + "out_proj");
        assertArrayEquals(all(4, context), out.columns(), 1e-2);
        assertEquals(O * 0.5 / m.result.residualPower().getLast(), out.scale(), 1e-9);
        Term projection = term(w, CONV + "in_proj");
        assertArrayEquals(all(4, 1), projection.columns(), 1e-5);
        assertEquals(MIXER * 0.5 / m.result.residualPower().getLast(), projection.scale(), 1e-9);
        double[] expected = {9 * 9 * 25 * 0.25, 9 * 4 * 25 * 0.25, 9 * 4 * 9 * 0.25};
        for (int i = 0; i < 12; i++) {
            assertEquals(expected[i / 4], projection.rows()[i], 1e-5 * expected[i / 4]);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void noiseOfAShortConvolutionIsAsSampled(int factor) {
        int d = 24;
        int taps = 3;
        Random random = new Random(17);
        float[] in = gaussian(3 * d * d, 0.2, random);
        float[] kernel = gaussian(d * taps, 0.5, random);
        float[] out = gaussian(d * d, 0.2, random);
        Map<String, ModuleWeights> w = convolution(d, in, kernel, out).walk(2);
        float[] change = new float[3 * d * d];
        System.arraycopy(gaussian(d * d, 0.002, random), 0, change, factor * d * d, d * d);
        Term term = term(w, CONV + "in_proj");
        double predicted = 0;
        for (int i = 0; i < change.length; i++) {
            predicted += term.rows()[i / d] * change[i] * change[i] * term.columns()[i % d];
        }
        int samples = 3000;
        double noise = 0;
        for (int s = 0; s < samples; s++) {
            double[] before = new double[d];
            double[] after = new double[d];
            for (int t = 0; t < taps; t++) {
                double[] x = new double[d];
                for (int j = 0; j < d; j++) {
                    x[j] = random.nextGaussian();
                }
                for (int i = 0; i < d; i++) {
                    double[] a = new double[3];
                    double[] b = new double[3];
                    for (int k = 0; k < 3; k++) {
                        for (int j = 0; j < d; j++) {
                            int at = (k * d + i) * d + j;
                            a[k] += in[at] * x[j];
                            b[k] += (in[at] + change[at]) * x[j];
                        }
                    }
                    before[i] += kernel[i * taps + t] * a[0] * a[2];
                    after[i] += kernel[i * taps + t] * b[0] * b[2];
                    if (t == taps - 1) {
                        before[i] *= a[1];
                        after[i] *= b[1];
                    }
                }
            }
            for (int i = 0; i < d; i++) {
                double y = 0;
                for (int j = 0; j < d; j++) {
                    y += out[i * d + j] * (after[j] - before[j]);
                }
                noise += y * y / samples;
            }
        }
        assertEquals(1, noise / predicted, 0.3);
    }

    private static HandMadeModel delta() {
        HandMadeModel m = model(8);
        m.config.put("linear_num_key_heads", 2).put("linear_num_value_heads", 4).put("linear_key_head_dim", 3).put("linear_value_head_dim", 2).put("linear_conv_kernel_dim", 2);
        return m.vector(LINEAR + "A_log", -1, 0, 0.5f, 1).vector(LINEAR + "dt_bias", -2, -1, 0, 1);
    }

    /// Two heads of keys of 3 channels, four of values of 2: 6 rows for queries, 6 for keys, 8 for values, 8 for gates.
    private static HandMadeModel separate(float[] qkv, float[] z, float[] taps, float[] out) {
        return delta().vector(LINEAR + "conv1d.weight", taps).vector(LINEAR + "norm.weight", 2, 3).matrix(LINEAR + "in_proj_qkv", Kind.LINEAR_ATTENTION, 20, 8, qkv)
                .matrix(LINEAR + "in_proj_z", Kind.LINEAR_ATTENTION, 8, 8, z).matrix(LINEAR + "out_proj", Kind.LINEAR_ATTENTION, 8, 8, out);
    }

    @Test
    void noiseInADeltaNetIsAShareOfWhatAHeadReads() {
        float[] qkv = new float[20 * 8];
        for (int r = 0; r < 20; r++) {
            qkv[r * 8 + r % 8] = 0.2f * (1 + r);
        }
        float[] z = diagonal(8, 8, 1.5);
        float[] taps = filled(40, 0.5);
        HandMadeModel m = separate(qkv, z, taps, diagonal(8, 8, 0.5));
        Map<String, ModuleWeights> w = m.walk(1);
        DoubleUnaryOperator silu = x -> x / (1 + Math.exp(-x));
        DoubleUnaryOperator slope = x -> (silu.applyAsDouble(x + 1e-5) - silu.applyAsDouble(x - 1e-5)) / 2e-5;
        double[] context = new double[8];
        for (int i = 0; i < 8; i++) {
            context[i] = NORMED * (i % 2 == 0 ? 4 : 9) * meanSquare(silu, 1.5);
        }
        assertArrayEquals(context, term(w, LINEAR + "out_proj").columns(), 1e-4);
        // each channel's power before SiLU: two taps of a half, so half of the row's
        double[] power = new double[20];
        double[] steep = new double[20];
        for (int r = 0; r < 20; r++) {
            double deviation = Math.sqrt(0.5) * 0.2 * (1 + r);
            power[r] = meanSquare(silu, deviation);
            steep[r] = 0.5 * meanSquare(slope, deviation);
        }
        double[] rows = term(w, LINEAR + "in_proj_qkv").rows();
        for (int r = 0; r < 20; r++) {
            double whole = 0;
            double reach = 0;
            if (r < 12) {
                int head = r % 6 / 3;
                for (int i = 0; i < 3; i++) {
                    whole += power[r / 6 * 6 + head * 3 + i];
                }
                for (int i = 0; i < 4; i++) {
                    reach += context[head * 4 + i] * 0.25;
                }
            } else {
                int first = r / 2 * 2;
                whole = (power[first] + power[first + 1]) / 2;
                reach = context[r - 12] * 0.25;
            }
            assertEquals((r < 12 ? ADDRESS : 1) * steep[r] / whole * reach, rows[r], 1e-3 * rows[r], "row " + r);
        }
        double[] gates = term(w, LINEAR + "in_proj_z").rows();
        for (int i = 0; i < 8; i++) {
            assertEquals(NORMED * (i % 2 == 0 ? 4 : 9) * meanSquare(slope, 1.5) * 0.25, gates[i], 1e-4);
        }
    }

    /// Two heads of values for each of two heads of keys, so the four rows of a fused projection are b, b, a, a and the same again.
    @Test
    void noiseInStrengthAndFadingIsAShareOfWhatAHeadReads() {
        Random random = new Random(4);
        float[] b = gaussian(4 * 8, 0.4, random);
        float[] a = gaussian(4 * 8, 0.4, random);
        float[] out = diagonal(8, 8, 0.5);
        HandMadeModel m = separate(gaussian(20 * 8, 1, random), diagonal(8, 8, 1.5), filled(40, 0.5), out).matrix(LINEAR + "in_proj_b", Kind.LINEAR_ATTENTION, 4, 8, b)
                .matrix(LINEAR + "in_proj_a", Kind.LINEAR_ATTENTION, 4, 8, a);
        Map<String, ModuleWeights> w = m.walk(1);
        double[] context = term(w, LINEAR + "out_proj").columns();
        DoubleUnaryOperator sigmoid = x -> 1 / (1 + Math.exp(-x));
        float[] fused = new float[8 * 8];
        for (int h = 0; h < 4; h++) {
            double reach = 0.25 * (context[2 * h] + context[2 * h + 1]);
            double deviation = norm(b, h);
            double steep = meanSquare(x -> sigmoid.applyAsDouble(x) * (1 - sigmoid.applyAsDouble(x)), deviation);
            assertEquals(reach * steep / meanSquare(sigmoid, deviation), term(w, LINEAR + "in_proj_b").rows()[h], 1e-4 * reach);
            double bias = m.data.get(LINEAR + "dt_bias")[h];
            double rate = Math.exp(m.data.get(LINEAR + "A_log")[h]);
            double kept = meanSquare(x -> Math.exp(-rate * Math.log1p(Math.exp(x + bias))), norm(a, h));
            double slope = meanSquare(x -> rate * sigmoid.applyAsDouble(x + bias), norm(a, h));
            assertEquals(reach * slope / (1 - kept), term(w, LINEAR + "in_proj_a").rows()[h], 1e-4 * reach);
            System.arraycopy(b, 8 * h, fused, 8 * (h / 2 * 4 + h % 2), 8);
            System.arraycopy(a, 8 * h, fused, 8 * (h / 2 * 4 + 2 + h % 2), 8);
        }
        m.modules.removeIf(x -> x.path().endsWith("_a") || x.path().endsWith("_b"));
        double[] both = term(m.matrix(LINEAR + "in_proj_ba", Kind.LINEAR_ATTENTION, 8, 8, fused).walk(1), LINEAR + "in_proj_ba").rows();
        for (int h = 0; h < 4; h++) {
            assertEquals(term(w, LINEAR + "in_proj_b").rows()[h], both[h / 2 * 4 + h % 2], 1e-9);
            assertEquals(term(w, LINEAR + "in_proj_a").rows()[h], both[h / 2 * 4 + 2 + h % 2], 1e-9);
        }
    }

    private static double norm(float[] w, int row) {
        double sum = 0;
        for (int j = 0; j < 8; j++) {
            sum += (double) w[8 * row + j] * w[8 * row + j];
        }
        return Math.sqrt(sum);
    }

    /// By the trapezoid rule, of f(g) for a Gaussian g.
    private static double meanSquare(DoubleUnaryOperator f, double deviation) {
        double sum = 0;
        for (int i = -800; i <= 800; i++) {
            double x = i / 100.0;
            double y = f.applyAsDouble(deviation * x);
            sum += Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) / 100 * y * y;
        }
        return sum;
    }

    /// One projection that holds, for each head of keys, its query, its key, the values of its two heads and their gates.
    @Test
    void oneProjectionForAllHasTheSameRows() {
        Random random = new Random(3);
        float[] qkv = gaussian(20 * 8, 1, random);
        float[] z = gaussian(8 * 8, 1, random);
        float[] taps = gaussian(40, 1, random);
        float[] out = gaussian(64, 1, random);
        int[] order = {0, 1, 2, 6, 7, 8, 12, 13, 14, 15, 20, 21, 22, 23, 3, 4, 5, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27};
        float[] fused = new float[28 * 8];
        for (int r = 0; r < 28; r++) {
            System.arraycopy(order[r] < 20 ? qkv : z, order[r] % 20 * 8, fused, r * 8, 8);
        }
        Map<String, ModuleWeights> expected = separate(qkv, z, taps, out).walk(1);
        HandMadeModel m = delta().vector(LINEAR + "norm.weight", 2, 3).matrix(LINEAR + "in_proj_qkvz", Kind.LINEAR_ATTENTION, 28, 8, fused).matrix(LINEAR + "out_proj", Kind.LINEAR_ATTENTION, 8, 8, out);
        m.vector(LINEAR + "conv1d.weight", taps);
        Map<String, ModuleWeights> actual = m.walk(2);
        double[] rows = term(actual, LINEAR + "in_proj_qkvz").rows();
        for (int r = 0; r < 28; r++) {
            double[] from = term(expected, LINEAR + (order[r] < 20 ? "in_proj_qkv" : "in_proj_z")).rows();
            assertEquals(from[order[r] % 20], rows[r], 1e-12 * rows[r], "row " + r);
        }
        assertArrayEquals(term(expected, LINEAR + "out_proj").columns(), term(actual, LINEAR + "out_proj").columns(), 1e-12);
    }

    @ParameterizedTest
    @CsvSource({"linear_num_key_heads, 3", "linear_key_head_dim, 0", "linear_value_head_dim, 7", "linear_conv_kernel_dim, 4", "linear_num_value_heads, -4", "linear_conv_kernel_dim, 0"})
    void shapesThatDoNotFitAreLeftAlone(String key, int value) {
        Random random = new Random(3);
        HandMadeModel m = separate(gaussian(20 * 8, 1, random), gaussian(8 * 8, 1, random), gaussian(40, 1, random), gaussian(64, 1, random));
        m.config.put(key, value);
        Map<String, ModuleWeights> w = m.walk(1);
        assertEquals(ModuleWeights.Source.LAYER_MEDIAN, w.get(LINEAR + "in_proj_qkv").source());
        assertEquals(ModuleWeights.Source.EVEN_INPUT, w.get(LINEAR + "out_proj").source());
    }
}
