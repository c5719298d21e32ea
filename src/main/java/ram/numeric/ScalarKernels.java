package ram.numeric;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import ram.safetensors.DType;
import ram.safetensors.LittleEndian;

/// The plain Java twin of [VectorKernels], and its oracle.
class ScalarKernels implements KernelOps {
    static double flush(float[] lanes) {
        double sum = 0;
        for (float lane : lanes) {
            sum += lane;
        }
        return sum;
    }

    @Override
    public double sum(float[] a, int from, int count) {
        float[] lanes = new float[LANES];
        double total = 0;
        for (int start = 0; start < count; start += CHUNK) {
            Arrays.fill(lanes, 0);
            int end = Math.min(count, start + CHUNK);
            for (int i = start; i < end; i++) {
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
        for (int start = 0; start < count; start += CHUNK) {
            Arrays.fill(lanes, 0);
            int end = Math.min(count, start + CHUNK);
            for (int i = start; i < end; i++) {
                lanes[i & LANES - 1] += a[aFrom + i] * b[bFrom + i];
            }
            total += flush(lanes);
        }
        return total;
    }

    @Override
    public double squaredRanges(float[] a, int from, int count) {
        double total = 0;
        for (int start = 0; start < count; start += RANGE) {
            float low = a[from + start];
            float high = low;
            for (int i = from + start + 1; i < from + Math.min(count, start + RANGE); i++) {
                low = a[i] < low ? a[i] : low;
                high = a[i] > high ? a[i] : high;
            }
            double range = (double) high - low;
            total += range * range;
        }
        return total;
    }

    @Override
    public void centralSums(float[] a, int from, int count, float mean, float unit, double[] out) {
        float[] squares = new float[LANES];
        float[] cubes = new float[LANES];
        float[] fourths = new float[LANES];
        for (int start = 0; start < count; start += CHUNK) {
            Arrays.fill(squares, 0);
            Arrays.fill(cubes, 0);
            Arrays.fill(fourths, 0);
            addCentral(a, from, start, Math.min(count, start + CHUNK), mean, unit, squares, cubes, fourths);
            out[0] += flush(squares);
            out[1] += flush(cubes);
            out[2] += flush(fourths);
        }
    }

    static void addCentral(float[] a, int from, int start, int end, float mean, float unit, float[] squares, float[] cubes, float[] fourths) {
        for (int i = start; i < end; i++) {
            int l = i & LANES - 1;
            float d = (a[from + i] - mean) * unit;
            float dd = d * d;
            squares[l] += dd;
            cubes[l] += dd * d;
            fourths[l] += dd * dd;
        }
    }

    @Override
    public int maxMagnitudeBits(float[] a, int from, int count) {
        int max = 0;
        for (int i = from; i < from + count; i++) {
            max = Math.max(max, Float.floatToRawIntBits(a[i]) & 0x7fffffff);
        }
        return max;
    }

    @Override
    public int nonFinite(float[] a, int from, int count) {
        int found = 0;
        for (int i = from; i < from + count; i++) {
            found += Float.isFinite(a[i]) ? 0 : 1;
        }
        return found;
    }

    @Override
    public int outside(float[] a, int from, int count, float low, float high) {
        int found = 0;
        for (int i = from; i < from + count; i++) {
            found += a[i] < low || a[i] > high ? 1 : 0;
        }
        return found;
    }

    @Override
    public void addSquares(float[] a, int from, int count, double[] sums) {
        for (int i = 0; i < count; i++) {
            double v = a[from + i];
            sums[i] += v * v;
        }
    }

    @Override
    public void addScaled(float factor, float[] x, int xFrom, float[] y, int yFrom, int count) {
        for (int i = 0; i < count; i++) {
            y[yFrom + i] += factor * x[xFrom + i];
        }
    }

    @Override
    public void multiply(float[] a, int aFrom, float[] b, int bFrom, float[] out, int outFrom, int count) {
        for (int i = 0; i < count; i++) {
            out[outFrom + i] = a[aFrom + i] * b[bFrom + i];
        }
    }

    @Override
    public void multiplyStrip(int m, int width, int depth, float[] a, int aFrom, int aStride, float[] strip, int stripFrom, float[] c, int cFrom, int cStride) {
        for (int i = 0; i < m; i++) {
            int ci = cFrom + i * cStride;
            for (int p = 0; p < depth; p++) {
                float v = a[aFrom + i * aStride + p];
                int bp = stripFrom + p * PackedMatrix.STRIP;
                for (int j = 0; j < width; j++) {
                    c[ci + j] = Math.fma(v, strip[bp + j], c[ci + j]);
                }
            }
        }
    }

    @Override
    public void widenBf16(MemorySegment source, long at, float[] out, int outAt, int count) {
        for (int i = 0; i < count; i++) {
            out[outAt + i] = Float.intBitsToFloat(source.get(LittleEndian.SHORT, at + 2L * i) << 16);
        }
    }

    @Override
    public void narrowBf16(float[] in, int at, int count, MemorySegment target, long targetAt) {
        for (int i = 0; i < count; i++) {
            target.set(LittleEndian.SHORT, targetAt + 2L * i, Decoder.toBf16(in[at + i]));
        }
    }

    @Override
    public void roundBf16(float[] values, int at, int count) {
        for (int i = at; i < at + count; i++) {
            values[i] = Decoder.fromBf16(Decoder.toBf16(values[i]));
        }
    }

    @Override
    public void widenE4m3(MemorySegment source, long at, float[] out, int outAt, int count) {
        Decoder.lookUp(DType.F8_E4M3, source, at, out, outAt, count);
    }

    @Override
    public void decodeAffine(byte[] packed, int bits, int groupSize, int groups, float[] scale, float[] bias, float[] out) {
        MemorySegment codes = MemorySegment.ofArray(packed);
        int mask = (1 << bits) - 1;
        for (int g = 0; g < groups; g++) {
            float s = scale[g];
            float b = bias[g];
            for (int e = g * groupSize; e < (g + 1) * groupSize; e += 8) {
                long eight = codes.get(LittleEndian.LONG, (long) e / 8 * bits);
                for (int k = 0; k < 8; k++) {
                    out[e + k] = (int) (eight >>> k * bits & mask) * s + b;
                }
            }
        }
    }
}
