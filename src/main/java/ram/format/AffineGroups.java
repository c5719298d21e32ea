package ram.format;

import static ram.format.Batch.LANES;
import static ram.format.GroupKernel.MAX_FLOAT16;
import static ram.format.ScalarGroups.inverse;

import java.util.Arrays;
import java.util.Map;
import ram.numeric.Decoder;
import ram.safetensors.DType;

/// Chooses scale and bias for the groups of a [Batch] in one affine format.
final class AffineGroups {
    /// Smallest scale that MLX's quantizer uses.
    private static final float SMALLEST_SCALE = 1e-7f;
    /// How much better a searched solution must be to be preferred to `rtn`: more than the rounding of a sum of 128 squares.
    private static final float CLEARLY = 1 - 0x1p-14f;
    /// Least-squares steps from the best of the ranges tried.
    private static final int STEPS = 2;
    /// Where the ends of the range are tried, in steps of the grid from the ends of the group inwards, each of the low end with each of the high one.
    ///
    /// Few levels want ends that are clipped. With more of them clipping pays less, and what is found are scales and biases with which the elements of the group
    /// happen to lie near levels: a step more or less from end to end moves all of them. In a stored type of 8 or 11 bits there are few of either near the ends,
    /// so that with many levels it pays to look further out. Chosen for the least error over Gaussian, Laplace, Student's t and one-sided uniform elements in groups
    /// of 32 to 128, partly with uneven importance.
    private static final Map<Integer, float[]> CUTS = Map.of(
            2, new float[] {0.1f, 0.3f, 0.45f, 0.7f, 1},
            3, new float[] {-0.05f, 0.25f, 0.5f, 0.75f, 1.2f},
            4, new float[] {-0.9f, -0.15f, 0.2f, 0.5f, 0.95f},
            5, new float[] {-0.85f, -0.25f, 0.05f, 0.4f},
            6, new float[] {-0.95f, -0.3f, 0, 0.35f},
            8, new float[] {-2.75f, -1.25f, -0.2f, 0.4f});

    private final int bits;
    private final int maxCode;
    private final float[] cuts;
    private final Quantizer quantizer;
    private final DType stored;
    private final GroupKernel kernel;

    AffineGroups(int bits, Quantizer quantizer, DType stored, GroupKernel kernel) {
        this.bits = bits;
        this.maxCode = (1 << bits) - 1;
        this.cuts = CUTS.get(bits);
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

    /// Tries ranges, and moves the best of them towards its optimum.
    private void search(Batch b) {
        kernel.residual(b, maxCode);
        Arrays.fill(b.bestError, Float.POSITIVE_INFINITY);
        // what remains where a range overflows float32, so that every trial fails
        System.arraycopy(b.scale, 0, b.bestScale, 0, LANES);
        System.arraycopy(b.bias, 0, b.bestBias, 0, LANES);
        for (float low : cuts) {
            for (float high : cuts) {
                kernel.start(b, low / maxCode, high / maxCode, maxCode, stored);
                kernel.score(b, maxCode);
                kernel.keepBetter(b);
            }
        }
        for (int l = 0; l < LANES; l++) {
            // rtn's solution is the better start where it beats all others
            boolean rtn = b.weightedError[l] < b.bestError[l];
            b.trialScale[l] = rtn ? b.scale[l] : b.bestScale[l];
            b.trialBias[l] = rtn ? b.bias[l] : b.bestBias[l];
            b.trialInverse[l] = inverse(b.trialScale[l]);
        }
        improve(b);
        for (int l = 0; l < LANES; l++) {
            float limit = Float.isNaN(b.weightedError[l]) ? Float.POSITIVE_INFINITY : b.weightedError[l] * CLEARLY;
            if (b.bestError[l] < limit && (isRepresentable(b, l, b.bestScale[l], b.bestBias[l]) || !isRepresentable(b, l, b.scale[l], b.bias[l]))) {
                b.scale[l] = b.bestScale[l];
                // codes of a scale that is too small for its type do not matter, but have to be the same everywhere
                b.codeScale[l] = b.bestScale[l] == 0 ? Float.POSITIVE_INFINITY : b.bestScale[l];
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

    private void improve(Batch b) {
        for (int k = 0; k < STEPS; k++) {
            kernel.fit(b, maxCode);
            kernel.keepBetter(b);
            kernel.refit(b, stored);
        }
        kernel.score(b, maxCode);
        kernel.keepBetter(b);
    }
}
