package ram.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import ram.numeric.Decoder;
import ram.safetensors.DType;

/// The vector loops give the bits of the plain ones.
class ScalarAgainstVectorTest {
    static Stream<Arguments> all() {
        return Stream.of("float32", "float16", "bfloat16").flatMap(dtype -> Format.allAffine().stream().map(f -> Arguments.of(dtype, f)));
    }

    /// Edge cases, then random rows of many magnitudes; 41 rows, so that the last batch is not full.
    static float[] values(String dtype) {
        float[] edge = Golden.open("affine_" + dtype).floats("in.edge");
        DType stored = DType.fromTorchName(dtype).orElseThrow();
        float[] out = new float[41 * 256];
        System.arraycopy(edge, 0, out, 0, edge.length);
        Random random = new Random(3);
        for (int i = edge.length; i < out.length; i++) {
            out[i] = Decoder.round(stored, (float) ((random.nextGaussian() + i / 256 % 3) * Math.pow(10, i / 256 - 37)));
        }
        return out;
    }

    static float[] importance() {
        float[] out = new float[256];
        Random random = new Random(4);
        for (int i = 0; i < 256; i++) {
            out[i] = i % 50 == 7 ? 0 : (float) Math.exp(3 * random.nextGaussian());
        }
        return out;
    }

    @ParameterizedTest
    @MethodSource("all")
    void sameBits(String dtype, Format format) {
        DType stored = DType.fromTorchName(dtype).orElseThrow();
        float[] values = values(dtype);
        for (Quantizer quantizer : Quantizer.values()) {
            for (float[] importance : new float[][] {null, importance()}) {
                byte[][][] stores = new byte[2][3][];
                double[][][] errors = new double[2][2][41];
                float[] decoded = new float[values.length];
                for (int k = 0; k < 2; k++) {
                    BlockCoder coder = new BlockCoder(format, quantizer, stored, k == 0 ? new ScalarGroups() : GroupKernel.BEST);
                    byte[] codes = new byte[values.length * format.bits() / 8];
                    byte[] scales = new byte[values.length / format.groupSize() * stored.bytes()];
                    byte[] biases = new byte[scales.length];
                    coder.encode(values, 41, 256, importance, MemorySegment.ofArray(codes), MemorySegment.ofArray(scales), MemorySegment.ofArray(biases));
                    coder.errors(values, 41, 256, importance, errors[k][0], errors[k][1]);
                    coder.decode(MemorySegment.ofArray(codes), MemorySegment.ofArray(scales), MemorySegment.ofArray(biases), 41, 256, decoded);
                    stores[k] = new byte[][] {codes, scales, biases};
                }
                assertArrayEquals(stores[0], stores[1]);
                assertArrayEquals(errors[0], errors[1]);
                checkErrors(values, decoded, importance, errors[0]);
            }
        }
    }

    private static void checkErrors(float[] values, float[] decoded, float[] importance, double[][] errors) {
        for (int r = 0; r < 41; r++) {
            double plain = 0;
            double weighted = 0;
            for (int c = 0; c < 256; c++) {
                double d = (double) values[r * 256 + c] - decoded[r * 256 + c];
                plain += d * d;
                weighted += d * d * (importance == null ? 1 : importance[c]);
            }
            assertEquals(plain, errors[0][r], plain * 1e-5, "row " + r);
            assertEquals(weighted, errors[1][r], weighted * 1e-5, "row " + r);
        }
    }

    @Test
    void roundingIsThatOfTheStoredType() {
        Random random = new Random(6);
        for (int i = 0; i < 200_000; i++) {
            float v = Float.intBitsToFloat(random.nextInt());
            if (i % 2 == 0) {
                v = (float) (random.nextGaussian() * Math.pow(2, random.nextInt(-27, 16)));
            }
            if (Float.isFinite(v)) {
                assertEquals(Decoder.round(DType.BF16, v), ScalarGroups.rounded(DType.BF16, v));
                float f16 = Decoder.round(DType.F16, Math.clamp(v, -65504f, 65504f));
                assertEquals(f16, ScalarGroups.rounded(DType.F16, v));
            }
        }
    }

    /// Values that float16 holds only as denormals, and values near its limit, are stored with finite scales and biases.
    @Test
    void float16Extremes() {
        for (double magnitude : new double[] {6e-8, 1e-6, 3e4, 65504}) {
            float[] values = new float[64];
            Random random = new Random(8);
            for (int i = 0; i < 64; i++) {
                values[i] = Decoder.round(DType.F16, (float) (magnitude * (2 * random.nextDouble() - 1)));
            }
            for (Format format : Format.allAffine()) {
                if (format.groupSize() <= 64) {
                    MemorySegment codes = MemorySegment.ofArray(new byte[64]);
                    MemorySegment scales = MemorySegment.ofArray(new byte[4]);
                    MemorySegment biases = MemorySegment.ofArray(new byte[4]);
                    BlockCoder coder = new BlockCoder(format, Quantizer.MSE, DType.F16);
                    coder.encode(values, 1, 64, null, codes, scales, biases);
                    float[] decoded = new float[64];
                    coder.decode(codes, scales, biases, 1, 64, decoded);
                    for (int i = 0; i < 64; i++) {
                        assertEquals(values[i], decoded[i], 2 * magnitude / ((1 << format.bits()) - 1) + 6e-8, format + " at " + magnitude);
                    }
                }
            }
        }
    }

    /// Ranges that overflow float32 are stored as by `rtn` or better, whatever was coded before them.
    @Test
    void overflowingRanges() {
        float[] huge = new float[2 * 32 * 64];
        Random random = new Random(2);
        for (int i = 0; i < huge.length; i++) {
            huge[i] = i < 32 * 64 ? (float) random.nextGaussian() : i % 2 == 0 ? 3e38f : -3e38f;
        }
        float[] tail = Arrays.copyOfRange(huge, 32 * 64, huge.length);
        BlockCoder coder = new BlockCoder(Format.affine(4, 64), Quantizer.MSE, DType.F32);
        byte[][] after = encode(coder, huge, 2);
        byte[][] alone = encode(coder, tail, 1);
        for (int k = 0; k < 3; k++) {
            int half = after[k].length / 2;
            assertArrayEquals(alone[k], Arrays.copyOfRange(after[k], half, 2 * half));
        }
    }

    private static byte[][] encode(BlockCoder coder, float[] values, int rows) {
        byte[][] out = {new byte[values.length / 2], new byte[values.length / 16], new byte[values.length / 16]};
        coder.encode(values, rows, values.length / rows, null, MemorySegment.ofArray(out[0]), MemorySegment.ofArray(out[1]), MemorySegment.ofArray(out[2]));
        return out;
    }
}
