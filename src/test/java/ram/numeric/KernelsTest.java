package ram.numeric;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.safetensors.DType;

/// The scalar kernels against double precision, the vector kernels against the scalar ones to the bit.
class KernelsTest {
    private static final KernelOps SCALAR = new ScalarKernels();
    private static final KernelOps BEST = Kernels.OPS;

    private static float[] gaussian(int count, long seed) {
        Random random = new Random(seed);
        float[] out = new float[count];
        for (int i = 0; i < count; i++) {
            out[i] = (float) random.nextGaussian();
        }
        return out;
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 4095, 4096, 4097, 10_000})
    void reductions(int count) {
        float[] a = gaussian(count + 5, count);
        float[] b = gaussian(count + 9, count + 1);
        double sum = 0;
        double dot = 0;
        double[] powers = new double[3];
        float largest = 0;
        for (int i = 0; i < count; i++) {
            double v = a[3 + i];
            sum += v;
            dot += v * b[7 + i];
            double d = (v - 0.25f) * 2;
            powers[0] += d * d;
            powers[1] += d * d * d;
            powers[2] += d * d * d * d;
            largest = Math.max(largest, Math.abs(a[3 + i]));
        }
        double[] scalar = new double[3];
        double[] best = new double[3];
        SCALAR.centralSums(a, 3, count, 0.25f, 2, scalar);
        BEST.centralSums(a, 3, count, 0.25f, 2, best);
        assertArrayEquals(scalar, best);
        assertArrayEquals(powers, scalar, 1e-6 * powers[2]);
        assertEquals(SCALAR.sum(a, 3, count), BEST.sum(a, 3, count));
        assertEquals(sum, SCALAR.sum(a, 3, count), 1e-6 * (count + 1));
        assertEquals(SCALAR.dot(a, 3, b, 7, count), BEST.dot(a, 3, b, 7, count));
        assertEquals(dot, SCALAR.dot(a, 3, b, 7, count), 1e-6 * (count + 1));
        assertEquals(largest, Kernels.maxMagnitude(a, 3, count));
        double[] squaresScalar = new double[count];
        double[] squares = new double[count];
        for (int k = 0; k < 2; k++) {
            SCALAR.addSquares(a, 3, count, squaresScalar);
            BEST.addSquares(a, 3, count, squares);
        }
        assertArrayEquals(squaresScalar, squares);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8})
    void packedCodes(int bits) {
        Random random = new Random(bits);
        for (int size : new int[] {8, 16, 32, 64, 128}) {
            int groups = 5;
            int[] codes = random.ints((long) groups * size, 0, 1 << bits).toArray();
            BitSet stream = new BitSet();
            for (int i = 0; i < codes.length * bits; i++) {
                stream.set(i, (codes[i / bits] >> i % bits & 1) == 1);
            }
            byte[] packed = Arrays.copyOf(stream.toByteArray(), codes.length * bits / 8 + Kernels.PADDING);
            Arrays.fill(packed, codes.length * bits / 8, packed.length, (byte) 0xa5);
            float[] scale = gaussian(groups, bits);
            float[] bias = gaussian(groups, bits + 1);
            float[] scalar = new float[codes.length];
            float[] best = new float[codes.length];
            SCALAR.decodeAffine(packed, bits, size, groups, scale, bias, scalar);
            BEST.decodeAffine(packed, bits, size, groups, scale, bias, best);
            for (int i = 0; i < codes.length; i++) {
                assertEquals(codes[i] * scale[i / size] + bias[i / size], scalar[i]);
                assertEquals(scalar[i], best[i]);
            }
        }
    }

    @Test
    void nonFiniteValuesAreCounted() {
        float[] a = gaussian(100, 1);
        assertEquals(0, Kernels.nonFinite(a, 0, 100));
        a[0] = Float.NaN;
        a[50] = Float.NEGATIVE_INFINITY;
        a[99] = Float.POSITIVE_INFINITY;
        assertEquals(3, Kernels.nonFinite(a, 0, 100));
        assertEquals(1, Kernels.nonFinite(a, 1, 98));
    }

    @ParameterizedTest
    @CsvSource({"1, 1, 0, 1, 0, 1", "5, 40, 0, 5, 32, 8", "300, 130, 0, 300, 0, 130", "300, 130, 10, 280, 64, 40", "520, 200, 250, 20, 96, 100", "600, 64, 256, 344, 0, 64"})
    void productsWithAPackedMatrix(int rows, int columns, int row, int rowCount, int column, int columnCount) {
        float[] b = gaussian(rows * (columns + 3) + 2, 1);
        PackedMatrix.Buffers buffers = new PackedMatrix.Buffers();
        PackedMatrix.ofColumns(rows + 1, columns + 1, buffers, (_, count, out) -> Arrays.fill(out, 0, count * (rows + 1), Float.NaN));
        PackedMatrix byRows = PackedMatrix.ofRows(rows, columns, b, 2, columns + 3);
        PackedMatrix byColumns = PackedMatrix.ofColumns(rows, columns, buffers, (first, count, out) -> {
            for (int j = 0; j < count; j++) {
                for (int p = 0; p < rows; p++) {
                    out[j * rows + p] = b[2 + p * (columns + 3) + first + j];
                }
            }
        });
        float[] rowMajor = byColumns.rowMajor();
        float[] columnMajor = byRows.columnMajor(new PackedMatrix.Buffers());
        for (int p = 0; p < rows; p++) {
            for (int j = 0; j < columns; j++) {
                float value = b[2 + p * (columns + 3) + j];
                assertEquals(value, byRows.get(p, j));
                assertEquals(value, byColumns.get(p, j));
                assertEquals(value, rowMajor[p * columns + j]);
                assertEquals(value, columnMajor[j * rows + p]);
            }
        }
        for (int m : new int[] {1, 6, 13}) {
            float[] a = gaussian(m * (rowCount + 2), 2);
            float[] start = gaussian(m * (columnCount + 1), 3);
            float[] expected = start.clone();
            PackedMatrix.product(SCALAR, m, columnCount, rowCount, a, 1, rowCount + 2, b, 2 + row * (columns + 3) + column, 1, columns + 3, expected, 0, columnCount + 1);
            for (KernelOps ops : List.of(SCALAR, BEST)) {
                float[] c = start.clone();
                byRows.multiplyAdd(ops, m, a, 1, rowCount + 2, row, rowCount, column, columnCount, c, 0, columnCount + 1);
                assertArrayEquals(expected, c);
            }
        }
        assertThrows(IllegalArgumentException.class, () -> byRows.multiplyAdd(BEST, 1, new float[rows], 0, rows, 0, 1, 16, 1, new float[1], 0, 1));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 4, 5, 31, 32, 33, 70, 300})
    void products(int k) {
        for (int m : new int[] {1, 3, 4, 9}) {
            for (int n : new int[] {1, 8, 31, 32, 65}) {
                float[] a = gaussian(m * (k + 3) + 1, 1);
                float[] b = gaussian(n * (k + 2) + 2, 2);
                float[] start = gaussian(m * (n + 1) + 3, 3);
                float[] scalar = start.clone();
                float[] best = start.clone();
                PackedMatrix.product(SCALAR, m, n, k, a, 1, k + 3, b, 2, k + 2, 1, scalar, 3, n + 1);
                PackedMatrix.product(BEST, m, n, k, a, 1, k + 3, b, 2, k + 2, 1, best, 3, n + 1);
                assertArrayEquals(scalar, best);
                float[] turned = new float[k * (n + 5) + 4];
                for (int i = 0; i < n; i++) {
                    for (int p = 0; p < k; p++) {
                        turned[4 + p * (n + 5) + i] = b[2 + i * (k + 2) + p];
                    }
                }
                float[] scalarByRows = start.clone();
                float[] bestByRows = start.clone();
                PackedMatrix.product(SCALAR, m, n, k, a, 1, k + 3, turned, 4, 1, n + 5, scalarByRows, 3, n + 1);
                PackedMatrix.product(BEST, m, n, k, a, 1, k + 3, turned, 4, 1, n + 5, bestByRows, 3, n + 1);
                assertArrayEquals(scalar, scalarByRows);
                assertArrayEquals(scalar, bestByRows);
                double expected = start[3 + (m - 1) * (n + 1) + n - 1];
                for (int p = 0; p < k; p++) {
                    expected += (double) a[1 + (m - 1) * (k + 3) + p] * b[2 + (n - 1) * (k + 2) + p];
                }
                assertEquals(expected, scalar[3 + (m - 1) * (n + 1) + n - 1], 1e-6 * (k + 10));
                if (m > 1) {
                    assertEquals(start[3 + n], best[3 + n], "between rows nothing is written");
                }
            }
        }
    }

    @Test
    void columnSquares() {
        float[] a = {1, 2, 3, 4, 5, 6};
        double[] columns = new double[3];
        Kernels.addColumnSquares(a, 2, 3, columns);
        assertArrayEquals(new double[] {17, 29, 45}, columns);
    }

    /// Every 16-bit pattern widens exactly and narrows back; shifted by one element, so that nothing is aligned.
    @Test
    void sixteenBitPatterns() {
        for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
            short[] all = new short[65_537];
            for (int i = 0; i < all.length; i++) {
                all[i] = (short) i;
            }
            float[] fast = new float[65_537];
            float[] plain = new float[65_537];
            Decoder.decode(dtype, MemorySegment.ofArray(all), 1, fast, 1, 65_535);
            Decoder.decodeEach(dtype, MemorySegment.ofArray(all), 2, plain, 1, 65_535);
            assertArrayEquals(plain, fast);
            short[] back = new short[65_537];
            Decoder.encode(dtype, fast, 1, 65_535, MemorySegment.ofArray(back), 1);
            for (int i = 1; i < 65_536; i++) {
                if (!Float.isNaN(fast[i])) {
                    assertEquals(all[i], back[i]);
                } else {
                    assertEquals(true, Float.isNaN(dtype == DType.BF16 ? Decoder.fromBf16(back[i]) : Float.float16ToFloat(back[i])));
                }
            }
        }
    }

    @Test
    void narrowingRoundsAlike() {
        Random random = new Random(5);
        float[] any = new float[100_000];
        for (int i = 0; i < any.length; i++) {
            any[i] = Float.intBitsToFloat(random.nextInt());
        }
        short[] scalar = new short[any.length];
        short[] best = new short[any.length];
        SCALAR.narrowBf16(any, 0, any.length, MemorySegment.ofArray(scalar), 0);
        BEST.narrowBf16(any, 0, any.length, MemorySegment.ofArray(best), 0);
        assertArrayEquals(scalar, best);
        float[] rounded = any.clone();
        BEST.roundBf16(rounded, 3, any.length - 5);
        for (int i = 0; i < any.length; i++) {
            boolean inside = i >= 3 && i < any.length - 2;
            assertEquals(Float.floatToRawIntBits(inside ? Decoder.fromBf16(scalar[i]) : any[i]), Float.floatToRawIntBits(rounded[i]));
        }
    }

    @Test
    void bytes() {
        byte[] all = new byte[256];
        for (int i = 0; i < 256; i++) {
            all[i] = (byte) i;
        }
        for (DType dtype : new DType[] {DType.F8_E4M3, DType.F8_E5M2, DType.F8_E8M0, DType.I8, DType.U8}) {
            float[] fast = new float[256];
            float[] plain = new float[256];
            Decoder.decode(dtype, MemorySegment.ofArray(all), 0, fast, 0, 256);
            Decoder.decodeEach(dtype, MemorySegment.ofArray(all), 0, plain, 0, 256);
            assertArrayEquals(plain, fast);
        }
        for (int from : new int[] {0, 3, 250}) {
            for (int count : new int[] {0, 1, 6, 100}) {
                float[] some = new float[2 + count];
                Decoder.decode(DType.F8_E4M3, MemorySegment.ofArray(all).asSlice(0, Math.min(256, from + count)), from, some, 2, Math.min(count, 256 - from));
                for (int i = 0; i < Math.min(count, 256 - from); i++) {
                    assertEquals(Float.floatToRawIntBits(Decoder.e4m3(all[from + i])), Float.floatToRawIntBits(some[2 + i]), "byte " + (from + i));
                }
            }
        }
    }

    @Test
    void elementwiseKernelsAgree() {
        Random random = new Random(6);
        float[] x = new float[203];
        float[] y = new float[203];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) random.nextGaussian();
            y[i] = (float) random.nextGaussian();
        }
        for (int count : new int[] {0, 1, 31, 100, 200}) {
            float[] sum = y.clone();
            float[] product = y.clone();
            for (int i = 0; i < count; i++) {
                sum[2 + i] += 0.3f * x[3 + i];
                product[2 + i] = x[1 + i] * y[3 + i];
            }
            for (KernelOps ops : new KernelOps[] {SCALAR, BEST}) {
                float[] out = y.clone();
                ops.addScaled(0.3f, x, 3, out, 2, count);
                assertArrayEquals(sum, out);
                out = y.clone();
                ops.multiply(x, 1, y, 3, out, 2, count);
                assertArrayEquals(product, out);
            }
        }
    }

    @Test
    void squaredRanges() {
        float[] a = new float[200];
        a[3] = -2;
        a[63] = 1;
        a[64] = 5;
        a[65] = 5;
        a[199] = 3;
        double first = 9;
        double second = 25;
        double last = 9;
        for (KernelOps ops : new KernelOps[] {SCALAR, BEST}) {
            assertEquals(first + second + last, ops.squaredRanges(a, 0, 200));
            assertEquals(first, ops.squaredRanges(a, 0, 64));
            assertEquals(0, ops.squaredRanges(a, 100, 0));
        }
    }

    @Test
    void rangesAndOutlyingValuesOfAnySignAreTheSameInVectors() {
        Random random = new Random(9);
        float[] a = new float[1003];
        for (int i = 0; i < a.length; i++) {
            // Groups of one sign, of both, of zeros of both signs, and of the smallest numbers.
            a[i] = (float) random.nextGaussian() * (i / 100 % 2 == 0 ? 1 : 0);
            a[i] = i / 200 % 3 == 0 ? Math.abs(a[i]) : i / 200 % 3 == 1 ? -Math.abs(a[i]) : i % 7 == 0 ? Float.MIN_VALUE : a[i];
        }
        for (int from : new int[] {0, 3}) {
            for (int count : new int[] {0, 1, 63, 64, 65, 500, 1000}) {
                double ranges = 0;
                for (int start = from; start < from + count; start += 64) {
                    double low = Double.POSITIVE_INFINITY;
                    double high = Double.NEGATIVE_INFINITY;
                    for (int i = start; i < Math.min(from + count, start + 64); i++) {
                        low = Math.min(low, a[i]);
                        high = Math.max(high, a[i]);
                    }
                    ranges += (high - low) * (high - low);
                }
                int outside = 0;
                for (int i = from; i < from + count; i++) {
                    outside += a[i] < -0.5f || a[i] > 1 ? 1 : 0;
                }
                for (KernelOps ops : new KernelOps[] {SCALAR, BEST}) {
                    assertEquals(ranges, ops.squaredRanges(a, from, count));
                    assertEquals(outside, ops.outside(a, from, count, -0.5f, 1));
                }
            }
        }
    }
}
