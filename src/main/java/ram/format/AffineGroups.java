package ram.format;

import static ram.format.Batch.LANES;

import java.util.Arrays;
import ram.numeric.Decoder;
import ram.safetensors.DType;

/// Chooses scale and bias for the groups of a [Batch] in one affine format.
final class AffineGroups {
    /// Smallest scale that MLX's quantizer uses.
    private static final float SMALLEST_SCALE = 1e-7f;
    /// How much better a searched solution must be to be preferred to `rtn`: more than the rounding of a sum of 128 squares.
    private static final float CLEARLY = 1 - 0x1p-14f;
    private static final float MAX_FLOAT16 = 65504;
    private static final int REFITS = 5;

    private final int bits;
    private final int maxCode;
    private final Quantizer quantizer;
    private final DType stored;
    private final GroupKernel kernel;

    AffineGroups(int bits, Quantizer quantizer, DType stored, GroupKernel kernel) {
        this.bits = bits;
        this.maxCode = (1 << bits) - 1;
        this.quantizer = quantizer;
        this.stored = stored;
        this.kernel = kernel;
    }

    /// Sets the batch's scales and biases, and its range and units.
    void choose(Batch b) {
        kernel.range(b);
        roundToNearest(b);
        if (quantizer == Quantizer.MSE) {
            b.scaleUnits();
            search(b);
        }
    }

    /// Sets the batch's errors for the scales and biases it holds.
    void measure(Batch b) {
        b.scaleUnits();
        kernel.residual(b, maxCode);
    }

    void pack(Batch b) {
        kernel.pack(b, bits);
    }

    /// MLX's choice, on a CPU: the range is stretched so that zero falls on the grid, and the end of larger magnitude is exact.
    private void roundToNearest(Batch b) {
        for (int l = 0; l < LANES; l++) {
            float low = b.low[l];
            float high = b.high[l];
            float s = Math.max((high - low) / maxCode, SMALLEST_SCALE);
            boolean fromLow = Math.abs(low) > Math.abs(high);
            float edge = fromLow ? low : high;
            s = fromLow ? s : -s;
            float steps = (float) Math.rint(edge / s);
            float bias = 0;
            if (steps != 0) {
                s = edge / steps;
                bias = edge;
            }
            b.codeScale[l] = s;
            b.codeBias[l] = bias;
            b.scale[l] = Decoder.round(stored, s);
            b.bias[l] = Decoder.round(stored, bias);
        }
    }

    /// The smallest share of the range worth trying: the fewer the levels, the more it pays to clip the ends.
    private static float smallestShare(int bits) {
        return switch (bits) {
            case 2 -> 0.35f;
            case 3 -> 0.55f;
            case 4 -> 0.7f;
            case 5 -> 0.8f;
            case 6 -> 0.85f;
            default -> 0.95f;
        };
    }

    private static int shares(int bits) {
        return bits <= 3 ? 8 : 6;
    }

    private void search(Batch b) {
        kernel.residual(b, maxCode);
        float[] bestError = new float[LANES];
        float[] bestScale = b.scale.clone();
        float[] bestBias = b.bias.clone();
        for (int l = 0; l < LANES; l++) {
            bestError[l] = Float.isNaN(b.weightedError[l]) ? Float.POSITIVE_INFINITY : b.weightedError[l];
        }
        float[] limit = bestError.clone();
        Arrays.fill(bestError, Float.POSITIVE_INFINITY);
        float from = smallestShare(bits);
        int count = shares(bits);
        for (int k = 0; k < count; k++) {
            float share = 1 - (1 - from) * k / (count - 1);
            for (int l = 0; l < LANES; l++) {
                float s = round(share * (b.high[l] / maxCode - b.low[l] / maxCode));
                tryOut(b, l, s, round(0.5f * b.low[l] + 0.5f * b.high[l] - s * (0.5f * maxCode)));
            }
            kernel.score(b, maxCode);
            keepBetter(b, bestError, bestScale, bestBias);
        }
        for (int l = 0; l < LANES; l++) {
            // rtn's scale is the better start where it beats every share of the range
            boolean rtn = limit[l] < bestError[l];
            tryOut(b, l, rtn ? b.scale[l] : bestScale[l], rtn ? b.bias[l] : bestBias[l]);
        }
        for (int k = 0; k < REFITS; k++) {
            kernel.fit(b, maxCode);
            keepBetter(b, bestError, bestScale, bestBias);
            refit(b);
        }
        kernel.score(b, maxCode);
        keepBetter(b, bestError, bestScale, bestBias);
        for (int l = 0; l < LANES; l++) {
            if (bestError[l] < limit[l] * CLEARLY) {
                b.scale[l] = b.codeScale[l] = bestScale[l];
                b.bias[l] = b.codeBias[l] = bestBias[l];
            }
        }
    }

    private static void tryOut(Batch b, int l, float scale, float bias) {
        b.trialScale[l] = scale;
        b.trialBias[l] = bias;
        // A scale too small to be inverted codes everything as zero.
        b.trialInverse[l] = Math.abs(scale) < Float.MIN_NORMAL * 4 ? 0 : 1 / scale;
    }

    private static void keepBetter(Batch b, float[] bestError, float[] bestScale, float[] bestBias) {
        for (int l = 0; l < LANES; l++) {
            if (b.trialError[l] < bestError[l]) {
                bestError[l] = b.trialError[l];
                bestScale[l] = b.trialScale[l];
                bestBias[l] = b.trialBias[l];
            }
        }
    }

    /// Least squares of the residuals against the codes gives the correction of the scale, which is rounded as stored;
    /// the bias then takes the mean of what is left.
    private void refit(Batch b) {
        for (int l = 0; l < LANES; l++) {
            double n = b.sum1[l];
            double sq = b.sumQ[l];
            double determinant = n * b.sumQQ[l] - sq * sq;
            double wide = 1.0 / b.unit[l];
            float scale = b.trialScale[l];
            if (determinant > 0) {
                scale = round((float) (scale + (n * b.sumQR[l] - sq * b.sumR[l]) / determinant * wide));
            }
            float bias = b.trialBias[l];
            if (n > 0) {
                bias = round((float) (bias + (b.sumR[l] * wide - ((double) scale - b.trialScale[l]) * sq) / n));
            }
            tryOut(b, l, scale, bias);
        }
    }

    private float round(float v) {
        return Decoder.round(stored, stored == DType.F16 ? Math.clamp(v, -MAX_FLOAT16, MAX_FLOAT16) : v);
    }
}
