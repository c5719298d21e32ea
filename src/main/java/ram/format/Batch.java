package ram.format;

import java.util.Arrays;

/// Up to 32 groups side by side: lane `l` of element `e` lies at `e · 32 + l`. Every group is computed on its own and in the order
/// of its elements, so the results do not depend on how many lanes the processor handles at once.
final class Batch {
    static final int LANES = 32;
    private static final int MAX_WORDS = 32;

    final int groupSize;
    /// The elements.
    final float[] w;
    /// The weight of each element's squared error.
    final float[] importance;
    /// Whether `importance` is 1 everywhere.
    boolean uniform = true;
    /// Range of each group.
    final float[] low = new float[LANES];
    final float[] high = new float[LANES];
    /// Power of two that brings each group to the order of one, so that squared errors neither overflow nor vanish.
    final float[] unit = new float[LANES];
    /// What codes are taken against: `rint((w − codeBias) / codeScale)`.
    final float[] codeScale = new float[LANES];
    final float[] codeBias = new float[LANES];
    /// What is stored, widened to float32.
    final float[] scale = new float[LANES];
    final float[] bias = new float[LANES];
    /// Sums of squared errors in multiples of `unit⁻²`, plain and weighted by importance.
    final float[] error = new float[LANES];
    final float[] weightedError = new float[LANES];
    /// Scale and bias on trial, the reciprocal of the former, and the weighted error that they cause.
    final float[] trialScale = new float[LANES];
    final float[] trialBias = new float[LANES];
    final float[] trialInverse = new float[LANES];
    final float[] trialError = new float[LANES];
    /// The best of what was on trial.
    final float[] bestScale = new float[LANES];
    final float[] bestBias = new float[LANES];
    final float[] bestError = new float[LANES];
    /// Importance-weighted sums over a group on trial: 1, code, code², residual, code · residual.
    final float[] sum1 = new float[LANES];
    final float[] sumQ = new float[LANES];
    final float[] sumQQ = new float[LANES];
    final float[] sumR = new float[LANES];
    final float[] sumQR = new float[LANES];
    /// Packed codes: word `k` of lane `l` at `k · 32 + l`.
    final int[] words = new int[MAX_WORDS * LANES];

    Batch(int groupSize) {
        this.groupSize = groupSize;
        this.w = new float[groupSize * LANES];
        this.importance = new float[groupSize * LANES];
        Arrays.fill(importance, 1);
    }

    /// Loads `lanes` consecutive groups; lanes beyond them become zeros.
    void load(float[] values, int at, int lanes) {
        transpose(values, at, lanes, w);
    }

    /// Loads the importance of groups `first…` when each row has `perRow` groups.
    void loadImportance(float[] columns, long first, int perRow, int lanes) {
        uniform = false;
        for (int l = 0; l < lanes; l++) {
            int from = (int) ((first + l) % perRow) * groupSize;
            for (int e = 0; e < groupSize; e++) {
                importance[e * LANES + l] = columns[from + e];
            }
        }
    }

    private void transpose(float[] in, int at, int lanes, float[] out) {
        if (lanes < LANES) {
            Arrays.fill(out, 0);
        }
        for (int l = 0; l < lanes; l++) {
            int from = at + l * groupSize;
            for (int e = 0; e < groupSize; e++) {
                out[e * LANES + l] = in[from + e];
            }
        }
    }

    /// Sets `unit` from the range.
    void scaleUnits() {
        for (int l = 0; l < LANES; l++) {
            float magnitude = Math.max(Math.abs(low[l]), Math.abs(high[l]));
            int exponent = Math.clamp(Math.getExponent(magnitude), Float.MIN_EXPONENT, Float.MAX_EXPONENT);
            unit[l] = Math.scalb(1f, -exponent);
        }
    }
}
