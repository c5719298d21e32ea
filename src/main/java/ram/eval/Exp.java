package ram.eval;

import ram.numeric.VectorSupport;

/// The exponential function over `float[]`, within 2·10⁻⁷ relative, with the same bits on every processor.
///
/// `e^x = 2ⁿ · e^r`, `n` the integer nearest to `x / ln 2`; `e^r` by its Taylor polynomial, |r| ≤ 0.35.
final class Exp {
    static final float LOWEST = -87f;
    static final float HIGHEST = 88f;
    static final float LOG2_E = 1.44269504f;
    /// Adding it to a small number rounds that to an integer, which then stands in the low bits.
    static final float MAGIC = 12582912f;
    static final int MAGIC_BITS = 0x4b400000;
    /// ln 2 in two parts, the first short enough for exact products with `n`.
    static final float LN2_HIGH = 0.693359375f;
    static final float LN2_LOW = -2.12194440e-4f;
    static final float C2 = 1f / 2;
    static final float C3 = 1f / 6;
    static final float C4 = 1f / 24;
    static final float C5 = 1f / 120;
    static final float C6 = 1f / 720;
    private static final boolean VECTOR = VectorSupport.bits() > 0;

    private Exp() {
    }

    /// Replaces `x[from … from + count)` by `e^(x − shift)`; under e⁻⁸⁷ and over e⁸⁸ it stays there.
    static void exp(float[] x, int from, int count, float shift) {
        int i = VECTOR ? VectorExp.exp(x, from, count, shift) : 0;
        for (; i < count; i++) {
            x[from + i] = exp(x[from + i] - shift);
        }
    }

    static float exp(float x) {
        float v = Math.min(Math.max(x, LOWEST), HIGHEST);
        float t = v * LOG2_E + MAGIC;
        float n = t - MAGIC;
        float r = v - n * LN2_HIGH - n * LN2_LOW;
        float p = (((((r * C6 + C5) * r + C4) * r + C3) * r + C2) * r + 1) * r + 1;
        return p * Float.intBitsToFloat(Float.floatToRawIntBits(t) - (MAGIC_BITS - 127) << 23);
    }
}
