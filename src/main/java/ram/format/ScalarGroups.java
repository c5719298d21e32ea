package ram.format;

import static ram.format.Batch.LANES;

import java.util.Arrays;
import ram.safetensors.DType;

/// The plain Java twin of [VectorGroups], and its oracle.
final class ScalarGroups implements GroupKernel {
    static float code(float x, float maxCode) {
        float upper = x > maxCode ? maxCode : x;
        float clamped = upper > 0 ? upper : 0;
        return clamped + ROUNDER - ROUNDER;
    }

    @Override
    public void range(Batch b) {
        for (int l = 0; l < LANES; l++) {
            float low = b.w[l];
            float high = low;
            for (int i = LANES + l; i < b.w.length; i += LANES) {
                float v = b.w[i];
                low = v < low ? v : low;
                high = v > high ? v : high;
            }
            b.low[l] = low;
            b.high[l] = high;
        }
    }

    @Override
    public void residual(Batch b, int maxCode) {
        for (int l = 0; l < LANES; l++) {
            float error = 0;
            float weighted = 0;
            for (int i = l; i < b.w.length; i += LANES) {
                float q = code((b.w[i] - b.codeBias[l]) / b.codeScale[l], maxCode);
                float r = (b.w[i] - (q * b.scale[l] + b.bias[l])) * b.unit[l];
                float rr = r * r;
                error += rr;
                weighted = Math.fma(rr, b.importance[i], weighted);
            }
            b.error[l] = error;
            b.weightedError[l] = weighted;
        }
    }

    @Override
    public void pack(Batch b, int bits) {
        int maxCode = (1 << bits) - 1;
        Arrays.fill(b.words, 0);
        for (int e = 0; e < b.groupSize; e++) {
            int word = e * bits / 32 * LANES;
            int shift = e * bits % 32;
            for (int l = 0; l < LANES; l++) {
                int q = (int) code((b.w[e * LANES + l] - b.codeBias[l]) / b.codeScale[l], maxCode);
                b.words[word + l] |= q << shift;
                if (shift + bits > 32) {
                    b.words[word + LANES + l] = q >>> 32 - shift;
                }
            }
        }
    }

    @Override
    public void score(Batch b, int maxCode) {
        for (int l = 0; l < LANES; l++) {
            float weighted = 0;
            for (int i = l; i < b.w.length; i += LANES) {
                float q = code((b.w[i] - b.trialBias[l]) * b.trialInverse[l], maxCode);
                float r = (b.w[i] - (q * b.trialScale[l] + b.trialBias[l])) * b.unit[l];
                weighted = Math.fma(r * b.importance[i], r, weighted);
            }
            b.trialError[l] = weighted;
        }
    }

    @Override
    public void fit(Batch b, int maxCode) {
        for (int l = 0; l < LANES; l++) {
            float weighted = 0;
            float s1 = 0;
            float sq = 0;
            float sqq = 0;
            float sr = 0;
            float sqr = 0;
            for (int i = l; i < b.w.length; i += LANES) {
                float c = b.importance[i];
                float q = code((b.w[i] - b.trialBias[l]) * b.trialInverse[l], maxCode);
                float r = (b.w[i] - (q * b.trialScale[l] + b.trialBias[l])) * b.unit[l];
                float cr = r * c;
                float cq = q * c;
                weighted = Math.fma(cr, r, weighted);
                s1 += c;
                sq += cq;
                sqq = Math.fma(cq, q, sqq);
                sr += cr;
                sqr = Math.fma(cr, q, sqr);
            }
            b.trialError[l] = weighted;
            b.sum1[l] = s1;
            b.sumQ[l] = sq;
            b.sumQQ[l] = sqq;
            b.sumR[l] = sr;
            b.sumQR[l] = sqr;
        }
    }

    @Override
    public void start(Batch b, float lowCut, float highCut, int maxCode, DType stored) {
        for (int l = 0; l < LANES; l++) {
            // shares of the two ends, as their difference may overflow
            float low = b.low[l] * (1 - lowCut) + b.high[l] * lowCut;
            float high = b.high[l] * (1 - highCut) + b.low[l] * highCut;
            float s = rounded(stored, high / maxCode - low / maxCode);
            b.trialScale[l] = s;
            b.trialBias[l] = rounded(stored, 0.5f * low + 0.5f * high - s * (0.5f * maxCode));
            b.trialInverse[l] = inverse(s);
        }
    }

    @Override
    public void keepBetter(Batch b) {
        for (int l = 0; l < LANES; l++) {
            if (b.trialError[l] < b.bestError[l]) {
                b.bestError[l] = b.trialError[l];
                b.bestScale[l] = b.trialScale[l];
                b.bestBias[l] = b.trialBias[l];
            }
        }
    }

    @Override
    public void refit(Batch b, DType stored) {
        for (int l = 0; l < LANES; l++) {
            float n = b.sum1[l];
            float sq = b.sumQ[l];
            float determinant = n * b.sumQQ[l] - sq * sq;
            float old = b.trialScale[l];
            float step = (n * b.sumQR[l] - sq * b.sumR[l]) / determinant / b.unit[l];
            float scale = determinant > 0 ? rounded(stored, old + step) : old;
            float shift = (b.sumR[l] / b.unit[l] - (scale - old) * sq) / n;
            b.trialScale[l] = scale;
            b.trialBias[l] = n > 0 ? rounded(stored, b.trialBias[l] + shift) : b.trialBias[l];
            b.trialInverse[l] = inverse(scale);
        }
    }

    static float inverse(float scale) {
        return Math.abs(scale) > SMALLEST_INVERTED ? 1 / scale : 0;
    }

    /// To the nearest value of a type, ties to even, in operations that vectors have, too. float16 stops at its largest finite value.
    static float rounded(DType stored, float v) {
        return switch (stored) {
            case BF16 -> {
                int bits = Float.floatToRawIntBits(v);
                yield Float.intBitsToFloat(bits + 0x7fff + (bits >>> 16 & 1) & 0xffff0000);
            }
            case F16 -> {
                int bits = Float.floatToRawIntBits(v);
                float magnitude = Float.intBitsToFloat(bits & 0x7fffffff);
                magnitude = magnitude > MAX_FLOAT16 ? MAX_FLOAT16 : magnitude;
                int m = Float.floatToRawIntBits(magnitude);
                float normal = Float.intBitsToFloat(m + 0xfff + (m >>> 13 & 1) & 0xffffe000);
                float subnormal = magnitude + 0.5f - 0.5f;
                float nearest = magnitude < 0x1p-14f ? subnormal : normal;
                yield Float.intBitsToFloat(Float.floatToRawIntBits(nearest) | bits & 0x80000000);
            }
            default -> v;
        };
    }
}
