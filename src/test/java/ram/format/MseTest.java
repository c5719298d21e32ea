package ram.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import ram.numeric.Decoder;
import ram.numeric.Kernels;
import ram.safetensors.DType;

class MseTest {
    private static float[] gaussian(int count) {
        Random random = new Random(7);
        float[] out = new float[count];
        for (int i = 0; i < count; i++) {
            out[i] = Decoder.round(DType.BF16, (float) (0.02 * random.nextGaussian()));
        }
        return out;
    }

    private static double nrmse(float[] values, Format format, Quantizer quantizer) {
        double[] error = new double[1];
        new BlockCoder(format, quantizer, DType.BF16).errors(values, 1, values.length, null, error, null);
        double power = 0;
        for (float v : values) {
            power += (double) v * v;
        }
        return Math.sqrt(error[0] / power);
    }

    /// What an exhaustive search would reach is one percent below the figures for `mse`, two from 5 bits on.
    @ParameterizedTest
    @CsvSource({"4:64, .0909, .0810", "4:32, .0811, .0691", "3:64, .190, .1638", "2:32, .362, .2957", "5:64, .0442, .0399", "6:64, .02204, .0196", "8:64, .00674, .0049"})
    void gaussianWeights(String format, double rtn, double mse) {
        float[] values = gaussian(1 << 19);
        assertEquals(rtn, nrmse(values, Format.parse(format), Quantizer.RTN), rtn * 0.01);
        assertEquals(mse, nrmse(values, Format.parse(format), Quantizer.MSE), mse * 0.005);
    }

    static Stream<Arguments> all() {
        return Stream.of("float32", "float16", "bfloat16").flatMap(dtype ->
                Stream.concat(Format.allAffine().stream(), Stream.of(Format.MXFP4, Format.NVFP4, Format.MXFP8)).map(f -> Arguments.of(dtype, f)));
    }

    /// Each group of edge cases, plain and with importances over six orders of magnitude.
    @ParameterizedTest
    @MethodSource("all")
    void neverWorseThanRtn(String dtype, Format format) {
        float[] edge = Golden.open("affine_" + dtype).floats("in.edge");
        DType stored = DType.fromTorchName(dtype).orElseThrow();
        float[] importance = new float[format.groupSize()];
        for (int i = 0; i < importance.length; i++) {
            importance[i] = (float) Math.pow(10, i % 13 / 2.0 - 9);
        }
        int groups = edge.length / format.groupSize();
        for (float[] weights : new float[][] {null, importance}) {
            double[] rtn = new double[groups];
            double[] mse = new double[groups];
            new BlockCoder(format, Quantizer.RTN, stored).errors(edge, groups, format.groupSize(), weights, weights == null ? rtn : null, weights == null ? null : rtn);
            new BlockCoder(format, Quantizer.MSE, stored).errors(edge, groups, format.groupSize(), weights, weights == null ? mse : null, weights == null ? null : mse);
            for (int g = 0; g < groups; g++) {
                assertTrue(mse[g] <= rtn[g] || Double.isNaN(rtn[g]), "group " + g + ": " + mse[g] + " > " + rtn[g]);
            }
        }
    }

    /// Rows at the limits of float16: a few extreme weights among small ones, all extreme ones, skewed ones, with one column that counts far more than others.
    private static float[] extremes(int count) {
        Random random = new Random(5);
        float[] out = new float[count];
        for (int i = 0; i < count; i++) {
            int kind = i / 256 % 6;
            double v = switch (kind) {
                case 0 -> random.nextInt(16) == 0 ? 65504 : random.nextGaussian() * 100;
                case 1 -> random.nextBoolean() ? 65504 : -65504;
                case 2 -> 65504 * (1 - Math.pow(random.nextDouble(), 3));
                case 3 -> -65504 * Math.pow(random.nextDouble(), 0.2);
                case 4 -> 65504 * (2 * random.nextDouble() - 1);
                default -> 45_000 + 20_000 * random.nextGaussian();
            };
            out[i] = Decoder.round(DType.F16, Math.clamp((float) v, -65504, 65504));
        }
        return out;
    }

    static Stream<Format> affine() {
        return Format.allAffine().stream();
    }

    /// What float16 holds, it holds quantized.
    @ParameterizedTest
    @MethodSource("affine")
    void float16IsNotLeft(Format format) {
        float[] values = extremes(600 * 256);
        float[] importance = new float[256];
        for (int i = 0; i < importance.length; i++) {
            importance[i] = i % 32 == 3 ? 1e4f : 1;
        }
        for (float[] weights : new float[][] {null, importance}) {
            float[] rtn = stored(format, Quantizer.RTN, GroupKernel.BEST, values, weights);
            float[] mse = stored(format, Quantizer.MSE, GroupKernel.BEST, values, weights);
            assertArrayEquals(stored(format, Quantizer.MSE, new ScalarGroups(), values, weights), mse);
            for (int first = 0; first < values.length; first += format.groupSize()) {
                assertTrue(Kernels.maxMagnitude(rtn, first, format.groupSize()) <= 65504, "rtn, group at " + first);
                assertTrue(Kernels.maxMagnitude(mse, first, format.groupSize()) <= 65504, "mse, group at " + first);
            }
        }
    }

    private static float[] stored(Format format, Quantizer quantizer, GroupKernel kernel, float[] values, float[] weights) {
        int rows = values.length / 256;
        MemorySegment codes = MemorySegment.ofArray(new byte[values.length * format.bits() / 8]);
        MemorySegment scales = MemorySegment.ofArray(new byte[values.length / format.groupSize() * 2]);
        MemorySegment biases = MemorySegment.ofArray(new byte[values.length / format.groupSize() * 2]);
        BlockCoder coder = new BlockCoder(format, quantizer, DType.F16, kernel);
        coder.encode(values, rows, 256, weights, codes, scales, biases);
        float[] decoded = new float[values.length];
        coder.decode(codes, scales, biases, rows, 256, decoded);
        return decoded;
    }

    /// An exhaustive search over a fine grid of scales and biases, in double precision, finds little that is better.
    @ParameterizedTest
    @CsvSource({"2:32, false", "3:32, true", "4:32, true", "5:32, false", "6:32, false", "8:32, false"})
    void nearTheExhaustiveOptimum(String name, boolean weighted) {
        Format format = Format.parse(name);
        Random random = new Random(11);
        double found = 0;
        double optimal = 0;
        for (int trial = 0; trial < 12; trial++) {
            float[] values = new float[32];
            float[] importance = new float[32];
            double low = 0;
            double high = 0;
            for (int i = 0; i < 32; i++) {
                values[i] = (float) random.nextGaussian();
                importance[i] = weighted ? (float) Math.exp(random.nextGaussian()) : 1;
                low = Math.min(low, values[i]);
                high = Math.max(high, values[i]);
            }
            int maxCode = (1 << format.bits()) - 1;
            double best = Double.POSITIVE_INFINITY;
            // from a step beyond an end to 40 % or three steps inside
            double first = -1.0 / maxCode;
            double each = ((maxCode < 16 ? 0.4 : 3.0 / maxCode) - first) / 80;
            for (int i = 0; i <= 80; i++) {
                for (int j = 0; j <= 80; j++) {
                    double from = low + (high - low) * (first + i * each);
                    double to = high - (high - low) * (first + j * each);
                    best = Math.min(best, error(values, importance, (to - from) / maxCode, from, maxCode, best));
                }
            }
            double[] sum = new double[1];
            new BlockCoder(format, Quantizer.MSE, DType.F32).errors(values, 1, 32, importance, null, sum);
            found += sum[0];
            optimal += best;
        }
        assertTrue(found < 1.06 * optimal, found + " against " + optimal);
    }

    /// Of all pairs of a scale and a bias in bfloat16, the best one is little better.
    @ParameterizedTest
    @CsvSource({"2:32, 1.015", "3:32, 1.015", "4:32, 1.03", "4:128, 1.025", "5:32, 1.035", "6:32, 1.11", "6:128, 1.035", "8:32, 1.18"})
    void nearTheBestStoredPair(String name, double limit) {
        Format format = Format.parse(name);
        int size = format.groupSize();
        int groups = 32;
        float[] values = gaussian(groups * size);
        double[] found = new double[groups];
        new BlockCoder(format, Quantizer.MSE, DType.BF16).errors(values, groups, size, null, found, null);
        double[] best = new double[groups];
        for (int g = 0; g < groups; g++) {
            best[g] = best(Arrays.copyOfRange(values, g * size, (g + 1) * size), (1 << format.bits()) - 1, found[g]);
        }
        double ratio = Arrays.stream(found).sum() / Arrays.stream(best).sum();
        assertTrue(ratio < limit, name + ": " + ratio);
    }

    /// The least error, or `known` when none is below it, with ranges that are cut by up to 60 % or widened by up to 12 %.
    private static double best(float[] values, int maxCode, double known) {
        float low = values[0];
        float high = values[0];
        for (float v : values) {
            low = Math.min(low, v);
            high = Math.max(high, v);
        }
        double best = known;
        float full = (high - low) / maxCode;
        for (float scale = round(full * (maxCode < 8 ? 0.4f : maxCode < 32 ? 0.65f : 0.85f)); scale < full * 1.12f; scale = next(scale)) {
            float middle = (low + high) / 2 - scale * maxCode / 2;
            float reach = (maxCode < 8 ? 1.2f : 2.2f) * scale + Math.abs(full - scale) * maxCode / 2;
            for (float bias = round(middle - reach); bias <= middle + reach; bias = next(bias)) {
                best = Math.min(best, error(values, null, scale, bias, maxCode, best));
            }
        }
        return best;
    }

    /// Of the nearest codes, in double precision; some of it once that is `enough`.
    ///
    /// @param importance null for 1
    private static double error(float[] values, float[] importance, double scale, double bias, int maxCode, double enough) {
        double error = 0;
        for (int e = 0; e < values.length && error < enough; e++) {
            double q = Math.clamp(Math.rint((values[e] - bias) / scale), 0, maxCode);
            double d = values[e] - (q * scale + bias);
            error += importance == null ? d * d : d * d * importance[e];
        }
        return error;
    }

    private static float round(float v) {
        return Decoder.round(DType.BF16, v);
    }

    /// The next larger bfloat16; numbers below 1e-5 count as zero.
    private static float next(float v) {
        int step = 1 << 16;
        float next = Float.intBitsToFloat(Float.floatToRawIntBits(v) + (v < 0 ? -step : step));
        return v < 0 && next > -1e-5f ? 0 : v == 0 ? 1e-5f : next;
    }
}
