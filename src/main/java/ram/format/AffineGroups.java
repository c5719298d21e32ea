package ram.format;

import static ram.format.Batch.LANES;
import static ram.format.GroupKernel.MAX_FLOAT16;
import static ram.format.ScalarGroups.inverse;

import java.util.Arrays;
import ram.numeric.Decoder;
import ram.safetensors.DType;

/// Chooses scale and bias for the groups of a [Batch] in one affine format.
final class AffineGroups {
    /// Smallest scale that MLX's quantizer uses.
    private static final float SMALLEST_SCALE = 1e-7f;
    /// How much better a searched solution must be to be preferred to `rtn`: more than the rounding of a sum of 128 squares.
    private static final float CLEARLY = 1 - 0x1p-14f;
    private static final int STEPS_OF_BEST = 4;
    /// Cuts at one end alone, as shares of the largest cut; they matter where importance differs from column to column.
    private static final float[] ONE_SIDED = {0.3f, 0.6f};

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
            default -> 0.9f;
        };
    }

    /// How many ranges to start from that are cut at both ends alike. Many levels leave little to find: from 6 bits on, further starts and steps
    /// improve the error of Gaussian weights by less than half a percent.
    private static int symmetricStarts(int bits) {
        return bits == 8 ? 3 : bits <= 4 ? 5 : 6;
    }

    /// Least-squares steps from each start.
    private static int steps(int bits) {
        return bits <= 4 ? 2 : bits == 5 ? 1 : 0;
    }

    /// Starts from shrunken ranges, moves each a little towards its optimum, then moves the best of them further.
    private void search(Batch b) {
        kernel.residual(b, maxCode);
        Arrays.fill(b.bestError, Float.POSITIVE_INFINITY);
        // what remains where a range overflows float32, so that every trial fails
        System.arraycopy(b.scale, 0, b.bestScale, 0, LANES);
        System.arraycopy(b.bias, 0, b.bestBias, 0, LANES);
        float most = 1 - smallestShare(bits);
        int starts = symmetricStarts(bits);
        for (int k = 0; k < starts; k++) {
            float cut = most / 2 * k / (starts - 1);
            startFrom(b, cut, cut);
        }
        if (bits <= 4) {
            for (float cut : ONE_SIDED) {
                startFrom(b, most * cut, 0);
                startFrom(b, 0, most * cut);
            }
        }
        for (int l = 0; l < LANES; l++) {
            // rtn's solution is the better start where it beats all others
            boolean rtn = b.weightedError[l] < b.bestError[l];
            b.trialScale[l] = rtn ? b.scale[l] : b.bestScale[l];
            b.trialBias[l] = rtn ? b.bias[l] : b.bestBias[l];
            b.trialInverse[l] = inverse(b.trialScale[l]);
        }
        improve(b, STEPS_OF_BEST);
        for (int l = 0; l < LANES; l++) {
            float limit = Float.isNaN(b.weightedError[l]) ? Float.POSITIVE_INFINITY : b.weightedError[l] * CLEARLY;
            if (b.bestError[l] < limit && (isRepresentable(b, l, b.bestScale[l], b.bestBias[l]) || !isRepresentable(b, l, b.scale[l], b.bias[l]))) {
                b.scale[l] = b.codeScale[l] = b.bestScale[l];
                b.bias[l] = b.codeBias[l] = b.bestBias[l];
            }
        }
    }

    /// Whether a group decodes to numbers of the stored type. A scale that is fitted to its middle may lead its ends beyond float16, where `rtn` does not;
    /// where that does too, the weights themselves are beyond it.
    private boolean isRepresentable(Batch b, int l, float scale, float bias) {
        if (stored != DType.F16 || Math.abs(maxCode * scale + bias) <= MAX_FLOAT16 && Math.abs(bias) <= MAX_FLOAT16) {
            return true;
        }
        return Math.abs(decoded(b.low[l], scale, bias)) <= MAX_FLOAT16 && Math.abs(decoded(b.high[l], scale, bias)) <= MAX_FLOAT16;
    }

    /// As it is packed and read.
    private float decoded(float w, float scale, float bias) {
        return ScalarGroups.code((w - bias) / scale, maxCode) * scale + bias;
    }

    private void startFrom(Batch b, float lowCut, float highCut) {
        kernel.start(b, lowCut, highCut, maxCode, stored);
        improve(b, steps(bits));
    }

    private void improve(Batch b, int steps) {
        for (int k = 0; k < steps; k++) {
            kernel.fit(b, maxCode);
            kernel.keepBetter(b);
            kernel.refit(b, stored);
        }
        kernel.score(b, maxCode);
        kernel.keepBetter(b);
    }
}
