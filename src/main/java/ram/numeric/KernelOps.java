package ram.numeric;

import java.lang.foreign.MemorySegment;

/// What [Kernels] offers, once in plain Java and once with the Vector API.
///
/// Sums run in 32 lanes, lane `i mod 32` taking element `i`, in float32 over chunks; at the end of a chunk the lanes are added in order in double.
interface KernelOps {
    int LANES = 32;
    /// Elements summed in float32 before the lanes are added up in double.
    int CHUNK = 4096;

    /// Elements whose range is taken together.
    int RANGE = 64;

    double sum(float[] a, int from, int count);

    double dot(float[] a, int aFrom, float[] b, int bFrom, int count);

    void centralSums(float[] a, int from, int count, float mean, float unit, double[] out);

    int maxMagnitudeBits(float[] a, int from, int count);

    double squaredRanges(float[] a, int from, int count);

    int nonFinite(float[] a, int from, int count);

    int outside(float[] a, int from, int count, float low, float high);

    void addSquares(float[] a, int from, int count, double[] sums);

    void addScaled(float factor, float[] x, int xFrom, float[] y, int yFrom, int count);

    void multiply(float[] a, int aFrom, float[] b, int bFrom, float[] out, int outFrom, int count);

    /// C += A · B for one strip of a [PackedMatrix]: element `(p, j)` of B is at `stripFrom + p · 64 + j`. A product sums up row after row of B, each step rounded once.
    ///
    /// @param width columns of B; those up to the end of the strip may be read too, without effect
    void multiplyStrip(int m, int width, int depth, float[] a, int aFrom, int aStride, float[] strip, int stripFrom, float[] c, int cFrom, int cStride);

    void widenBf16(MemorySegment source, long at, float[] out, int outAt, int count);

    void narrowBf16(float[] in, int at, int count, MemorySegment target, long targetAt);

    /// Rounds `values[at … at + count)` to bfloat16 in place.
    void roundBf16(float[] values, int at, int count);

    void widenE4m3(MemorySegment source, long at, float[] out, int outAt, int count);

    void decodeAffine(byte[] packed, int bits, int groupSize, int groups, float[] scale, float[] bias, float[] out);
}
