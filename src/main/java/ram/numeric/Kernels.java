package ram.numeric;

/// Reductions and products over `float[]`, with the same bits on every processor: the order of all additions is fixed.
public final class Kernels {
    static final KernelOps OPS = VectorSupport.bits() > 0 ? new VectorKernels() : new ScalarKernels();

    /// What vectors may read beyond the last code.
    public static final int PADDING = 16;

    private Kernels() {
    }

    /// Sum of `a[from … from + count]`, added up in double precision in an order that does not depend on the width of vectors.
    public static double sum(float[] a, int from, int count) {
        return OPS.sum(a, from, count);
    }

    /// In float32 lanes where squares stay in their range, else in double precision.
    public static double sumOfSquares(float[] a, int from, int count) {
        float largest = maxMagnitude(a, from, count);
        if (largest == 0 || largest > 1e-12f && largest < 1e15f) {
            return OPS.dot(a, from, a, from, count);
        }
        double sum = 0;
        for (int i = from; i < from + count; i++) {
            sum += (double) a[i] * a[i];
        }
        return sum;
    }

    /// Σ a·b in float32 lanes, whose sums are added in double precision; the same with any width of vectors.
    public static double dot(float[] a, int aFrom, float[] b, int bFrom, int count) {
        return OPS.dot(a, aFrom, b, bFrom, count);
    }

    /// Adds the sums of `d²`, `d³` and `d⁴` with `d = (x − mean) · unit` to `out[0]`, `out[1]` and `out[2]`.
    ///
    /// @param unit brings `d` to the order of one, so that float32 neither overflows nor loses small values
    public static void centralSums(float[] a, int from, int count, float mean, float unit, double[] out) {
        OPS.centralSums(a, from, count, mean, unit, out);
    }

    /// The largest magnitude, 0 for none; infinite or NaN when any value is.
    public static float maxMagnitude(float[] a, int from, int count) {
        return Float.intBitsToFloat(OPS.maxMagnitudeBits(a, from, count));
    }

    /// Σ (max − min)² over groups of 64 neighbours, the last of which may be smaller. Values must be finite.
    public static double squaredRanges(float[] a, int from, int count) {
        return OPS.squaredRanges(a, from, count);
    }

    /// Number of infinities and NaNs.
    public static int nonFinite(float[] a, int from, int count) {
        // nearly always zero, which one maximum tells
        return OPS.maxMagnitudeBits(a, from, count) < 0x7f800000 ? 0 : OPS.nonFinite(a, from, count);
    }

    /// Number of values below `low` or above `high`.
    public static int outside(float[] a, int from, int count, float low, float high) {
        return OPS.outside(a, from, count, low, high);
    }

    /// Adds to `sums[c]` the squares of column `c` of a block of whole rows that starts at `a[0]`, row by row.
    public static void addColumnSquares(float[] a, int rows, int columns, double[] sums) {
        for (int r = 0; r < rows; r++) {
            OPS.addSquares(a, r * columns, columns, sums);
        }
    }

    /// `y += factor · x`, in two roundings.
    public static void addScaled(float factor, float[] x, int xFrom, float[] y, int yFrom, int count) {
        OPS.addScaled(factor, x, xFrom, y, yFrom, count);
    }

    /// Products element by element.
    public static void multiply(float[] a, int aFrom, float[] b, int bFrom, float[] out, int outFrom, int count) {
        OPS.multiply(a, aFrom, b, bFrom, out, outFrom, count);
    }

    /// `C += A · Bᵀ`: element `(i, j)` of C takes the products of row `i` of A with row `j` of B one after the other, each added in one rounding.
    ///
    /// @param m rows of A and C
    /// @param n rows of B, columns of C
    /// @param k columns of A and B
    public static void multiplyAdd(int m, int n, int k, float[] a, int aFrom, int aStride, float[] b, int bFrom, int bStride, float[] c, int cFrom, int cStride) {
        PackedMatrix.product(OPS, m, n, k, a, aFrom, aStride, b, bFrom, bStride, 1, c, cFrom, cStride);
    }

    /// `C += A · B`: as [#multiplyAdd], with B stored the other way round.
    ///
    /// @param n columns of B and C
    /// @param k columns of A, rows of B
    public static void multiplyAddByRows(int m, int n, int k, float[] a, int aFrom, int aStride, float[] b, int bFrom, int bStride, float[] c, int cFrom, int cStride) {
        PackedMatrix.product(OPS, m, n, k, a, aFrom, aStride, b, bFrom, 1, bStride, c, cFrom, cStride);
    }

    /// [#multiplyAdd] for matrices without gaps between their rows.
    public static void multiplyAdd(int m, int n, int k, float[] a, float[] b, float[] c) {
        multiplyAdd(m, n, k, a, 0, k, b, 0, k, c, 0, n);
    }

    /// `C += A · B` with the same bits as the others.
    ///
    /// @param m rows of A and C
    public static void multiplyAdd(int m, float[] a, int aFrom, int aStride, PackedMatrix b, float[] c, int cFrom, int cStride) {
        multiplyAdd(m, a, aFrom, aStride, b, 0, b.rows(), 0, b.columns(), c, cFrom, cStride);
    }

    /// `C += A · B` with some rows and columns of B.
    ///
    /// @param m rows of A and C
    /// @param row the first one of B
    /// @param rows of B, columns of A
    /// @param column the first one of B, a multiple of 32
    /// @param columns of B and C
    public static void multiplyAdd(int m, float[] a, int aFrom, int aStride, PackedMatrix b, int row, int rows, int column, int columns, float[] c, int cFrom, int cStride) {
        b.multiplyAdd(OPS, m, a, aFrom, aStride, row, rows, column, columns, c, cFrom, cStride);
    }

    /// Decodes whole groups of packed codes: `code · scale + bias`, each step rounded once.
    ///
    /// @param packed a stream of bits whose first bit is the lowest of the first byte, and [#PADDING] bytes of anything
    /// @param bits 1 to 8
    /// @param groupSize a multiple of 8
    public static void decodeAffine(byte[] packed, int bits, int groupSize, int groups, float[] scale, float[] bias, float[] out) {
        OPS.decodeAffine(packed, bits, groupSize, groups, scale, bias, out);
    }
}
