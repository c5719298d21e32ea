package ram.format;

import ram.numeric.Decoder;
import ram.safetensors.DType;

/// The modes whose elements are small floating-point numbers under a one-byte scale: mxfp4, nvfp4, mxfp8.
/// As on MLX's CPU, each operation of the encoder is rounded to the type of the weight.
final class FloatGroups {
    private static final float[] E2M1 = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    private static final float[] E4M3 = e4m3Table();
    private static final float LARGEST_E4M3 = 448;
    private static final double LOG_2 = StrictMath.log(2);

    private final Format format;
    private final Quantizer quantizer;
    private final DType arithmetic;

    FloatGroups(Format format, Quantizer quantizer, DType arithmetic) {
        this.format = format;
        this.quantizer = quantizer;
        this.arithmetic = arithmetic;
    }

    /// All 256 values; 0x7F is 480 to MLX, not NaN.
    private static float[] e4m3Table() {
        float[] out = new float[256];
        for (int i = 0; i < 128; i++) {
            int exponent = i >> 3;
            out[i] = exponent == 0 ? (i & 7) * 0x1p-9f : Math.scalb(8 + (i & 7), exponent - 10);
            out[i + 128] = -out[i];
        }
        return out;
    }

    /// The values of all element codes.
    static float[] elements(Format.Mode mode) {
        return mode == Format.Mode.MXFP8 ? E4M3 : E2M1;
    }

    /// The value of a scale byte.
    static float scale(Format.Mode mode, int scaleByte) {
        if (mode == Format.Mode.NVFP4) {
            return E4M3[scaleByte];
        }
        return scaleByte == 255 ? Float.POSITIVE_INFINITY : scaleByte == 0 ? 0x1p-127f : Float.intBitsToFloat(scaleByte << 23);
    }

    private float round(float v) {
        return Decoder.round(arithmetic, v);
    }

    /// Codes one group.
    ///
    /// @param importance weights of the squared errors from `column` on; null for equal ones
    /// @return the scale byte
    int encode(float[] w, int at, float[] importance, int column, byte[] codes) {
        boolean nvfp4 = format.mode() == Format.Mode.NVFP4;
        int chosen = nvfp4 ? toE4m3(largest(w, at)) : exponent(w, at);
        if (quantizer == Quantizer.RTN) {
            code(w, at, nvfp4 ? E4M3[chosen] : Math.scalb(1f, chosen), codes);
            // MLX keeps the low byte of an exponent below -127
            return nvfp4 ? chosen : chosen + 127 & 255;
        }
        int centre = nvfp4 ? chosen : Math.max(chosen + 127, 0);
        int best = centre;
        double bestError = Double.POSITIVE_INFINITY;
        int reach = nvfp4 ? 3 : 1;
        for (int k = 0; k <= 2 * reach; k++) {
            // the byte of rtn first, so that it wins a tie
            int candidate = centre + (k % 2 == 0 ? k / 2 : -(k + 1) / 2);
            if (candidate >= 0 && candidate <= (nvfp4 ? 126 : 254)) {
                code(w, at, scale(format.mode(), candidate), codes);
                double error = error(w, at, importance, column, candidate, codes);
                if (error < bestError) {
                    best = candidate;
                    bestError = error;
                }
            }
        }
        code(w, at, scale(format.mode(), best), codes);
        return best;
    }

    double error(float[] w, int at, float[] importance, int column, int scaleByte, byte[] codes) {
        float s = scale(format.mode(), scaleByte);
        float[] elements = elements(format.mode());
        double sum = 0;
        for (int e = 0; e < format.groupSize(); e++) {
            double r = w[at + e] - s * elements[codes[e] & 255];
            sum += r * r * (importance == null ? 1 : importance[column + e]);
        }
        return sum;
    }

    /// The largest magnitude of a group in units of the largest element.
    private float largest(float[] w, int at) {
        float largest = 0;
        for (int e = 0; e < format.groupSize(); e++) {
            largest = Math.max(largest, Math.abs(w[at + e]));
        }
        return round(largest / (format.bits() == 4 ? 6 : LARGEST_E4M3));
    }

    private int exponent(float[] w, int at) {
        float t = largest(w, at);
        return t == 0 ? 0 : (int) Math.rint(round((float) (StrictMath.log(t) / LOG_2)));
    }

    private void code(float[] w, int at, float scale, byte[] codes) {
        for (int e = 0; e < format.groupSize(); e++) {
            float v = round(w[at + e] / scale);
            codes[e] = (byte) (format.bits() == 4 ? toE2m1(v) : toE4m3(v));
        }
    }

    /// The nearest table entry; of two, the one nearer to zero. Zero is always code 0, and so is what a scale of zero made infinite.
    private static int toE2m1(float v) {
        int bits = Float.floatToRawIntBits(v);
        int m = bits & 0x7fffffff;
        if (m >= 0x7f800000) {
            return 0;
        }
        // Without branches, which would be guesses: below 1 the codes 1 and 2 begin above 0.25 and 0.75, from 1 on a code is an exponent and one mantissa bit.
        int small = (0x3e800000 - m >>> 31) + (0x3f400000 - m >>> 31);
        int large = Math.min(Math.max(m, 0x3f800000) + 0x1fffff >>> 22, 259) - 254;
        int code = small + large;
        return code | bits >>> 28 & 8 & -code >> 31;
    }

    /// To nearest, ties to even, saturating at 448.
    private static int toE4m3(float v) {
        float m = Math.min(Math.abs(v), LARGEST_E4M3);
        int code;
        if (m < 0x1p-6f) {
            code = (int) Math.rint(m * 0x1p9);
        } else {
            int bits = Float.floatToRawIntBits(m);
            code = (bits + 0x7ffff + (bits >>> 20 & 1) >>> 20) - (120 << 3);
        }
        return Float.floatToRawIntBits(v) < 0 ? code | 128 : code;
    }
}
