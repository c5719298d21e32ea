package ram.numeric;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.stream.IntStream;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/// The Vector API twin of [ScalarKernels]. A pass covers two vectors' worth of the 32 lanes, so the sums do not depend on the vectors' width.
final class VectorKernels extends ScalarKernels {
    private static final VectorShape SHAPE = VectorShape.forBitSize(VectorSupport.bits() == 0 ? 128 : VectorSupport.bits());
    private static final VectorSpecies<Float> F = VectorSpecies.of(float.class, SHAPE);
    private static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, SHAPE);
    /// As many shorts as a vector has floats.
    private static final VectorSpecies<Short> HALF = VectorSpecies.of(short.class, VectorShape.forBitSize(SHAPE.vectorBitSize() / 2));
    /// As many bytes, or eight where a vector has fewer floats.
    private static final VectorSpecies<Byte> BYTES = VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, SHAPE.vectorBitSize() / 4)));
    private static final int NAN = Float.floatToIntBits(Float.NaN);
    private static final VectorSpecies<Double> D = VectorSpecies.of(double.class, SHAPE);
    private static final int VL = F.length();
    /// Whether there are 32 vector registers (AVX-512, Neon) and not 16: then a tile of the matrix product is four vectors wide, else two.
    private static final boolean WIDE = SHAPE.vectorBitSize() != 256;
    /// Columns and rows of a tile.
    private static final int TILE = (WIDE ? 4 : 2) * VL;
    private static final int NARROW = 2 * VL;
    private static final int ROWS = 6;
    /// Eight floats, in one vector or two, and how the bytes of eight codes get there, by bits.
    private static final VectorSpecies<Float> E = VectorSpecies.of(float.class, VectorShape.forBitSize(Math.min(SHAPE.vectorBitSize(), 256)));
    private static final int EIGHT_FLOATS = 8 / E.length();
    @SuppressWarnings({"unchecked", "rawtypes"})
    private static final VectorShuffle<Byte>[] SPREAD = IntStream.rangeClosed(0, 8).mapToObj(VectorKernels::spread).toArray(VectorShuffle[]::new);
    private static final ShortVector[] UP = IntStream.rangeClosed(0, 8).mapToObj(bits -> ShortVector.fromArray(ShortVector.SPECIES_128, up(Math.max(1, bits)), 0)).toArray(ShortVector[]::new);
    private static final int WORTH_A_VECTOR = 128;

    @Override
    public double sum(float[] a, int from, int count) {
        float[] lanes = new float[LANES];
        double total = 0;
        for (int start = 0; start < count; start += CHUNK) {
            int end = Math.min(count, start + CHUNK);
            int whole = start + (end - start) / LANES * LANES;
            for (int l = 0; l < LANES; l += 2 * VL) {
                FloatVector s0 = FloatVector.zero(F);
                FloatVector s1 = FloatVector.zero(F);
                for (int i = from + start + l; i < from + whole; i += LANES) {
                    s0 = s0.add(FloatVector.fromArray(F, a, i));
                    s1 = s1.add(FloatVector.fromArray(F, a, i + VL));
                }
                s0.intoArray(lanes, l);
                s1.intoArray(lanes, l + VL);
            }
            for (int i = whole; i < end; i++) {
                lanes[i & LANES - 1] += a[from + i];
            }
            total += flush(lanes);
        }
        return total;
    }

    @Override
    public double dot(float[] a, int aFrom, float[] b, int bFrom, int count) {
        float[] lanes = new float[LANES];
        double total = 0;
        int shift = bFrom - aFrom;
        for (int start = 0; start < count; start += CHUNK) {
            int end = Math.min(count, start + CHUNK);
            int whole = start + (end - start) / LANES * LANES;
            for (int l = 0; l < LANES; l += 2 * VL) {
                FloatVector s0 = FloatVector.zero(F);
                FloatVector s1 = FloatVector.zero(F);
                for (int i = aFrom + start + l; i < aFrom + whole; i += LANES) {
                    s0 = s0.add(FloatVector.fromArray(F, a, i).mul(FloatVector.fromArray(F, b, i + shift)));
                    s1 = s1.add(FloatVector.fromArray(F, a, i + VL).mul(FloatVector.fromArray(F, b, i + shift + VL)));
                }
                s0.intoArray(lanes, l);
                s1.intoArray(lanes, l + VL);
            }
            for (int i = whole; i < end; i++) {
                lanes[i & LANES - 1] += a[aFrom + i] * b[bFrom + i];
            }
            total += flush(lanes);
        }
        return total;
    }

    @Override
    public double squaredRanges(float[] a, int from, int count) {
        int whole = count / RANGE * RANGE;
        double total = 0;
        for (int start = from; start < from + whole; start += RANGE) {
            IntVector low = Inlined.inOrder(a, start);
            IntVector high = low;
            for (int i = VL; i < RANGE; i += VL) {
                IntVector v = Inlined.inOrder(a, start + i);
                low = low.min(v);
                high = high.max(v);
            }
            double range = (double) fromOrder(high.reduceLanes(VectorOperators.MAX)) - fromOrder(low.reduceLanes(VectorOperators.MIN));
            total += range * range;
        }
        return whole == count ? total : total + super.squaredRanges(a, from + whole, count - whole);
    }

    @Override
    public int outside(float[] a, int from, int count, float low, float high) {
        int found = 0;
        int i = 0;
        for (; i <= count - VL; i += VL) {
            FloatVector v = FloatVector.fromArray(F, a, from + i);
            found += v.compare(VectorOperators.LT, low).or(v.compare(VectorOperators.GT, high)).trueCount();
        }
        return found + super.outside(a, from + i, count - i, low, high);
    }

    private static float fromOrder(int ordered) {
        return Float.intBitsToFloat(ordered ^ ordered >> 31 & 0x7fffffff);
    }

    @Override
    public void centralSums(float[] a, int from, int count, float mean, float unit, double[] out) {
        float[] squares = new float[LANES];
        float[] cubes = new float[LANES];
        float[] fourths = new float[LANES];
        for (int start = 0; start < count; start += CHUNK) {
            int end = Math.min(count, start + CHUNK);
            int whole = start + (end - start) / LANES * LANES;
            for (int l = 0; l < LANES; l += VL) {
                FloatVector s2 = FloatVector.zero(F);
                FloatVector s3 = FloatVector.zero(F);
                FloatVector s4 = FloatVector.zero(F);
                for (int i = from + start + l; i < from + whole; i += LANES) {
                    FloatVector d = FloatVector.fromArray(F, a, i).sub(mean).mul(unit);
                    FloatVector dd = d.mul(d);
                    s2 = s2.add(dd);
                    s3 = s3.add(dd.mul(d));
                    s4 = s4.add(dd.mul(dd));
                }
                s2.intoArray(squares, l);
                s3.intoArray(cubes, l);
                s4.intoArray(fourths, l);
            }
            addCentral(a, from, whole, end, mean, unit, squares, cubes, fourths);
            out[0] += flush(squares);
            out[1] += flush(cubes);
            out[2] += flush(fourths);
        }
    }

    @Override
    public int maxMagnitudeBits(float[] a, int from, int count) {
        IntVector m0 = IntVector.zero(I);
        IntVector m1 = IntVector.zero(I);
        int i = 0;
        for (; i <= count - 2 * VL; i += 2 * VL) {
            m0 = m0.max(FloatVector.fromArray(F, a, from + i).reinterpretAsInts().and(0x7fffffff));
            m1 = m1.max(FloatVector.fromArray(F, a, from + i + VL).reinterpretAsInts().and(0x7fffffff));
        }
        return Math.max(m0.max(m1).reduceLanes(VectorOperators.MAX), super.maxMagnitudeBits(a, from + i, count - i));
    }

    @Override
    public void addSquares(float[] a, int from, int count, double[] sums) {
        int i = 0;
        for (; i <= count - VL; i += VL) {
            FloatVector v = FloatVector.fromArray(F, a, from + i);
            for (int part = 0; part < 2; part++) {
                DoubleVector d = (DoubleVector) v.convertShape(VectorOperators.F2D, D, part);
                int at = i + part * D.length();
                DoubleVector.fromArray(D, sums, at).add(d.mul(d)).intoArray(sums, at);
            }
        }
        for (; i < count; i++) {
            double v = a[from + i];
            sums[i] += v * v;
        }
    }

    @Override
    public void addScaled(float factor, float[] x, int xFrom, float[] y, int yFrom, int count) {
        int i = 0;
        for (; i <= count - VL; i += VL) {
            FloatVector.fromArray(F, y, yFrom + i).add(FloatVector.fromArray(F, x, xFrom + i).mul(factor)).intoArray(y, yFrom + i);
        }
        super.addScaled(factor, x, xFrom + i, y, yFrom + i, count - i);
    }

    @Override
    public void multiply(float[] a, int aFrom, float[] b, int bFrom, float[] out, int outFrom, int count) {
        int i = 0;
        for (; i <= count - VL; i += VL) {
            FloatVector.fromArray(F, a, aFrom + i).mul(FloatVector.fromArray(F, b, bFrom + i)).intoArray(out, outFrom + i);
        }
        super.multiply(a, aFrom + i, b, bFrom + i, out, outFrom + i, count - i);
    }

    @Override
    public void multiplyStrip(int m, int width, int depth, float[] a, int aFrom, int aStride, float[] strip, int stripFrom, float[] c, int cFrom, int cStride) {
        for (int j = 0; j < width;) {
            int tile = width - j <= NARROW ? NARROW : TILE;
            int columns = Math.min(tile, width - j);
            if (columns == tile) {
                tiles(m, depth, a, aFrom, aStride, strip, stripFrom + j, tile, c, cFrom + j, cStride);
            } else {
                edge(m, columns, depth, a, aFrom, aStride, strip, stripFrom + j, tile, c, cFrom + j, cStride);
            }
            j += columns;
        }
    }

    /// A tile that is wider than what is left of C.
    private static void edge(int m, int columns, int depth, float[] a, int aFrom, int aStride, float[] strip, int from, int tile, float[] c, int cFrom, int cStride) {
        float[] edge = new float[ROWS * TILE];
        for (int i = 0; i < m; i += ROWS) {
            int rows = Math.min(ROWS, m - i);
            int ci = cFrom + i * cStride;
            for (int r = 0; r < rows; r++) {
                System.arraycopy(c, ci + r * cStride, edge, r * TILE, columns);
            }
            tiles(rows, depth, a, aFrom + i * aStride, aStride, strip, from, tile, edge, 0, TILE);
            for (int r = 0; r < rows; r++) {
                System.arraycopy(edge, r * TILE, c, ci + r * cStride, columns);
            }
        }
    }

    private static void tiles(int rows, int depth, float[] a, int ai, int aStride, float[] strip, int from, int tile, float[] c, int ci, int cStride) {
        int i = 0;
        for (; i <= rows - ROWS; i += ROWS) {
            if (tile > NARROW) {
                tile6x4(depth, a, ai + i * aStride, aStride, strip, from, c, ci + i * cStride, cStride);
            } else {
                tile6x2(depth, a, ai + i * aStride, aStride, strip, from, c, ci + i * cStride, cStride);
            }
        }
        for (; i < rows; i++) {
            if (tile > NARROW) {
                tile1x4(depth, a, ai + i * aStride, strip, from, c, ci + i * cStride);
            } else {
                tile1x2(depth, a, ai + i * aStride, strip, from, c, ci + i * cStride);
            }
        }
    }

    private static void tile6x4(int depth, float[] a, int a0, int aStride, float[] strip, int from, float[] c, int c0, int cStride) {
        int a1 = a0 + aStride;
        int a2 = a1 + aStride;
        int a3 = a2 + aStride;
        int a4 = a3 + aStride;
        int a5 = a4 + aStride;
        int c1 = c0 + cStride;
        int c2 = c1 + cStride;
        int c3 = c2 + cStride;
        int c4 = c3 + cStride;
        int c5 = c4 + cStride;
        FloatVector s00 = FloatVector.fromArray(F, c, c0);
        FloatVector s01 = FloatVector.fromArray(F, c, c0 + VL);
        FloatVector s02 = FloatVector.fromArray(F, c, c0 + 2 * VL);
        FloatVector s03 = FloatVector.fromArray(F, c, c0 + 3 * VL);
        FloatVector s10 = FloatVector.fromArray(F, c, c1);
        FloatVector s11 = FloatVector.fromArray(F, c, c1 + VL);
        FloatVector s12 = FloatVector.fromArray(F, c, c1 + 2 * VL);
        FloatVector s13 = FloatVector.fromArray(F, c, c1 + 3 * VL);
        FloatVector s20 = FloatVector.fromArray(F, c, c2);
        FloatVector s21 = FloatVector.fromArray(F, c, c2 + VL);
        FloatVector s22 = FloatVector.fromArray(F, c, c2 + 2 * VL);
        FloatVector s23 = FloatVector.fromArray(F, c, c2 + 3 * VL);
        FloatVector s30 = FloatVector.fromArray(F, c, c3);
        FloatVector s31 = FloatVector.fromArray(F, c, c3 + VL);
        FloatVector s32 = FloatVector.fromArray(F, c, c3 + 2 * VL);
        FloatVector s33 = FloatVector.fromArray(F, c, c3 + 3 * VL);
        FloatVector s40 = FloatVector.fromArray(F, c, c4);
        FloatVector s41 = FloatVector.fromArray(F, c, c4 + VL);
        FloatVector s42 = FloatVector.fromArray(F, c, c4 + 2 * VL);
        FloatVector s43 = FloatVector.fromArray(F, c, c4 + 3 * VL);
        FloatVector s50 = FloatVector.fromArray(F, c, c5);
        FloatVector s51 = FloatVector.fromArray(F, c, c5 + VL);
        FloatVector s52 = FloatVector.fromArray(F, c, c5 + 2 * VL);
        FloatVector s53 = FloatVector.fromArray(F, c, c5 + 3 * VL);
        for (int p = 0, at = from; p < depth; p++, at += PackedMatrix.STRIP) {
            FloatVector b0 = FloatVector.fromArray(F, strip, at);
            FloatVector b1 = FloatVector.fromArray(F, strip, at + VL);
            FloatVector b2 = FloatVector.fromArray(F, strip, at + 2 * VL);
            FloatVector b3 = FloatVector.fromArray(F, strip, at + 3 * VL);
            FloatVector v = FloatVector.broadcast(F, a[a0 + p]);
            s00 = v.fma(b0, s00);
            s01 = v.fma(b1, s01);
            s02 = v.fma(b2, s02);
            s03 = v.fma(b3, s03);
            v = FloatVector.broadcast(F, a[a1 + p]);
            s10 = v.fma(b0, s10);
            s11 = v.fma(b1, s11);
            s12 = v.fma(b2, s12);
            s13 = v.fma(b3, s13);
            v = FloatVector.broadcast(F, a[a2 + p]);
            s20 = v.fma(b0, s20);
            s21 = v.fma(b1, s21);
            s22 = v.fma(b2, s22);
            s23 = v.fma(b3, s23);
            v = FloatVector.broadcast(F, a[a3 + p]);
            s30 = v.fma(b0, s30);
            s31 = v.fma(b1, s31);
            s32 = v.fma(b2, s32);
            s33 = v.fma(b3, s33);
            v = FloatVector.broadcast(F, a[a4 + p]);
            s40 = v.fma(b0, s40);
            s41 = v.fma(b1, s41);
            s42 = v.fma(b2, s42);
            s43 = v.fma(b3, s43);
            v = FloatVector.broadcast(F, a[a5 + p]);
            s50 = v.fma(b0, s50);
            s51 = v.fma(b1, s51);
            s52 = v.fma(b2, s52);
            s53 = v.fma(b3, s53);
        }
        s00.intoArray(c, c0);
        s01.intoArray(c, c0 + VL);
        s02.intoArray(c, c0 + 2 * VL);
        s03.intoArray(c, c0 + 3 * VL);
        s10.intoArray(c, c1);
        s11.intoArray(c, c1 + VL);
        s12.intoArray(c, c1 + 2 * VL);
        s13.intoArray(c, c1 + 3 * VL);
        s20.intoArray(c, c2);
        s21.intoArray(c, c2 + VL);
        s22.intoArray(c, c2 + 2 * VL);
        s23.intoArray(c, c2 + 3 * VL);
        s30.intoArray(c, c3);
        s31.intoArray(c, c3 + VL);
        s32.intoArray(c, c3 + 2 * VL);
        s33.intoArray(c, c3 + 3 * VL);
        s40.intoArray(c, c4);
        s41.intoArray(c, c4 + VL);
        s42.intoArray(c, c4 + 2 * VL);
        s43.intoArray(c, c4 + 3 * VL);
        s50.intoArray(c, c5);
        s51.intoArray(c, c5 + VL);
        s52.intoArray(c, c5 + 2 * VL);
        s53.intoArray(c, c5 + 3 * VL);
    }


    private static void tile6x2(int depth, float[] a, int a0, int aStride, float[] strip, int from, float[] c, int c0, int cStride) {
        int a1 = a0 + aStride;
        int a2 = a1 + aStride;
        int a3 = a2 + aStride;
        int a4 = a3 + aStride;
        int a5 = a4 + aStride;
        int c1 = c0 + cStride;
        int c2 = c1 + cStride;
        int c3 = c2 + cStride;
        int c4 = c3 + cStride;
        int c5 = c4 + cStride;
        FloatVector s00 = FloatVector.fromArray(F, c, c0);
        FloatVector s01 = FloatVector.fromArray(F, c, c0 + VL);
        FloatVector s10 = FloatVector.fromArray(F, c, c1);
        FloatVector s11 = FloatVector.fromArray(F, c, c1 + VL);
        FloatVector s20 = FloatVector.fromArray(F, c, c2);
        FloatVector s21 = FloatVector.fromArray(F, c, c2 + VL);
        FloatVector s30 = FloatVector.fromArray(F, c, c3);
        FloatVector s31 = FloatVector.fromArray(F, c, c3 + VL);
        FloatVector s40 = FloatVector.fromArray(F, c, c4);
        FloatVector s41 = FloatVector.fromArray(F, c, c4 + VL);
        FloatVector s50 = FloatVector.fromArray(F, c, c5);
        FloatVector s51 = FloatVector.fromArray(F, c, c5 + VL);
        for (int p = 0, at = from; p < depth; p++, at += PackedMatrix.STRIP) {
            FloatVector b0 = FloatVector.fromArray(F, strip, at);
            FloatVector b1 = FloatVector.fromArray(F, strip, at + VL);
            FloatVector v = FloatVector.broadcast(F, a[a0 + p]);
            s00 = v.fma(b0, s00);
            s01 = v.fma(b1, s01);
            v = FloatVector.broadcast(F, a[a1 + p]);
            s10 = v.fma(b0, s10);
            s11 = v.fma(b1, s11);
            v = FloatVector.broadcast(F, a[a2 + p]);
            s20 = v.fma(b0, s20);
            s21 = v.fma(b1, s21);
            v = FloatVector.broadcast(F, a[a3 + p]);
            s30 = v.fma(b0, s30);
            s31 = v.fma(b1, s31);
            v = FloatVector.broadcast(F, a[a4 + p]);
            s40 = v.fma(b0, s40);
            s41 = v.fma(b1, s41);
            v = FloatVector.broadcast(F, a[a5 + p]);
            s50 = v.fma(b0, s50);
            s51 = v.fma(b1, s51);
        }
        s00.intoArray(c, c0);
        s01.intoArray(c, c0 + VL);
        s10.intoArray(c, c1);
        s11.intoArray(c, c1 + VL);
        s20.intoArray(c, c2);
        s21.intoArray(c, c2 + VL);
        s30.intoArray(c, c3);
        s31.intoArray(c, c3 + VL);
        s40.intoArray(c, c4);
        s41.intoArray(c, c4 + VL);
        s50.intoArray(c, c5);
        s51.intoArray(c, c5 + VL);
    }


    private static void tile1x4(int depth, float[] a, int a0, float[] strip, int from, float[] c, int c0) {
        FloatVector s00 = FloatVector.fromArray(F, c, c0);
        FloatVector s01 = FloatVector.fromArray(F, c, c0 + VL);
        FloatVector s02 = FloatVector.fromArray(F, c, c0 + 2 * VL);
        FloatVector s03 = FloatVector.fromArray(F, c, c0 + 3 * VL);
        for (int p = 0, at = from; p < depth; p++, at += PackedMatrix.STRIP) {
            FloatVector b0 = FloatVector.fromArray(F, strip, at);
            FloatVector b1 = FloatVector.fromArray(F, strip, at + VL);
            FloatVector b2 = FloatVector.fromArray(F, strip, at + 2 * VL);
            FloatVector b3 = FloatVector.fromArray(F, strip, at + 3 * VL);
            FloatVector v = FloatVector.broadcast(F, a[a0 + p]);
            s00 = v.fma(b0, s00);
            s01 = v.fma(b1, s01);
            s02 = v.fma(b2, s02);
            s03 = v.fma(b3, s03);
        }
        s00.intoArray(c, c0);
        s01.intoArray(c, c0 + VL);
        s02.intoArray(c, c0 + 2 * VL);
        s03.intoArray(c, c0 + 3 * VL);
    }


    private static void tile1x2(int depth, float[] a, int a0, float[] strip, int from, float[] c, int c0) {
        FloatVector s00 = FloatVector.fromArray(F, c, c0);
        FloatVector s01 = FloatVector.fromArray(F, c, c0 + VL);
        for (int p = 0, at = from; p < depth; p++, at += PackedMatrix.STRIP) {
            FloatVector b0 = FloatVector.fromArray(F, strip, at);
            FloatVector b1 = FloatVector.fromArray(F, strip, at + VL);
            FloatVector v = FloatVector.broadcast(F, a[a0 + p]);
            s00 = v.fma(b0, s00);
            s01 = v.fma(b1, s01);
        }
        s00.intoArray(c, c0);
        s01.intoArray(c, c0 + VL);
    }


    @Override
    public void widenBf16(MemorySegment source, long at, float[] out, int outAt, int count) {
        int i = 0;
        for (; i <= count - VL; i += VL) {
            ShortVector v = ShortVector.fromMemorySegment(HALF, source, at + 2L * i, ByteOrder.LITTLE_ENDIAN);
            IntVector bits = ((IntVector) v.convertShape(VectorOperators.S2I, I, 0)).lanewise(VectorOperators.LSHL, 16);
            bits.reinterpretAsFloats().intoArray(out, outAt + i);
        }
        super.widenBf16(source, at + 2L * i, out, outAt + i, count - i);
    }

    /// A byte's exponent and mantissa go to the place of a float's, and the difference of the biases is added. Subnormals, as multiples of the smallest, are converted: to multiply
    /// those of float32 takes processors a hundred times longer.
    @Override
    public void widenE4m3(MemorySegment source, long at, float[] out, int outAt, int count) {
        int i = 0;
        for (; i <= count - BYTES.length(); i += BYTES.length()) {
            ByteVector v = ByteVector.fromMemorySegment(BYTES, source, at + i, ByteOrder.LITTLE_ENDIAN);
            for (int part = 0; part < BYTES.length() / VL; part++) {
                IntVector bits = (IntVector) v.convertShape(VectorOperators.B2I, I, part);
                IntVector magnitude = bits.and(0x7F);
                IntVector subnormal = ((FloatVector) magnitude.convert(VectorOperators.I2F, 0)).mul(0x1p-9f).reinterpretAsInts();
                IntVector value = magnitude.lanewise(VectorOperators.LSHL, 20).add(120 << 23).blend(subnormal, magnitude.compare(VectorOperators.LT, 8))
                        .blend(NAN, magnitude.compare(VectorOperators.EQ, 0x7F));
                value.or(bits.and(Integer.MIN_VALUE)).reinterpretAsFloats().intoArray(out, outAt + i + part * VL);
            }
        }
        super.widenE4m3(source, at + i, out, outAt + i, count - i);
    }

    @Override
    public void narrowBf16(float[] in, int at, int count, MemorySegment target, long targetAt) {
        int i = 0;
        // a few scales at a time would take long to be compiled
        int last = count < WORTH_A_VECTOR ? -1 : count - VL;
        for (; i <= last; i += VL) {
            ((ShortVector) Inlined.roundedBf16(in, at + i).convertShape(VectorOperators.I2S, HALF, 0)).intoMemorySegment(target, targetAt + 2L * i, ByteOrder.LITTLE_ENDIAN);
        }
        super.narrowBf16(in, at + i, count - i, target, targetAt + 2L * i);
    }

    @Override
    public void roundBf16(float[] values, int at, int count) {
        int i = 0;
        for (; i <= count - VL; i += VL) {
            Inlined.roundedBf16(values, at + i).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().intoArray(values, at + i);
        }
        super.roundBf16(values, at + i, count - i);
    }

    /// Eight codes at a time: their bytes are spread to the low or both halves of eight shorts, a multiplication brings each code to the upper end of its short,
    /// and one shift brings all of them down.
    @Override
    public void decodeAffine(byte[] packed, int bits, int groupSize, int groups, float[] scale, float[] bias, float[] out) {
        VectorShuffle<Byte> spread = SPREAD[bits];
        ShortVector up = UP[bits];
        int down = Short.SIZE - bits;
        for (int g = 0; g < groups; g++) {
            float s = scale[g];
            float b = bias[g];
            for (int e = g * groupSize; e < (g + 1) * groupSize; e += 8) {
                ShortVector codes = ByteVector.fromArray(ByteVector.SPECIES_128, packed, e / 8 * bits).rearrange(spread).reinterpretAsShorts().mul(up).lanewise(VectorOperators.LSHR, down);
                for (int part = 0; part < EIGHT_FLOATS; part++) {
                    ((FloatVector) codes.convertShape(VectorOperators.S2F, E, part)).mul(s).add(b).intoArray(out, e + part * E.length());
                }
            }
        }
    }

    private static VectorShuffle<Byte> spread(int bits) {
        return VectorShuffle.fromOp(ByteVector.SPECIES_128, i -> i / 2 * bits / 8 + i % 2);
    }

    private static short[] up(int bits) {
        short[] factors = new short[8];
        for (int i = 0; i < 8; i++) {
            factors[i] = (short) (1 << Short.SIZE - bits - i * bits % 8);
        }
        return factors;
    }

    /// Parts of kernels, in a class of their own: scripts/ram has kernels called and never inlined, but a vector that is an argument or a result is an object wherever
    /// a method that has one is called.
    private static final class Inlined {
        /// Floats as integers of the same order, whose minimum is one instruction where that of floats, which cares for NaN and signs of zero, is many.
        static IntVector inOrder(float[] a, int from) {
            IntVector bits = FloatVector.fromArray(F, a, from).reinterpretAsInts();
            return bits.lanewise(VectorOperators.XOR, bits.lanewise(VectorOperators.ASHR, 31).and(0x7fffffff));
        }

        static IntVector roundedBf16(float[] in, int at) {
            IntVector bits = FloatVector.fromArray(F, in, at).reinterpretAsInts();
            VectorMask<Integer> nan = bits.and(0x7fffffff).compare(VectorOperators.GT, 0x7f800000);
            IntVector high = bits.lanewise(VectorOperators.LSHR, 16);
            return bits.add(0x7fff).add(high.and(1)).lanewise(VectorOperators.LSHR, 16).blend(high.or(0x40), nan);
        }
    }
}
