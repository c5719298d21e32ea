package ram.eval;

import ram.numeric.Workers;

/// What a feed-forward part does to the outputs of its gate, or of its first projection where it has none.
public enum Activation {
    SILU, GELU, GELU_TANH,
    /// The square of what is above 0.
    RELU_SQUARED,
    /// `x · σ(1.702 x)` of what is at most 7, times one more than what is multiplied by it, which is within ±7.
    CLAMPED;

    /// Values that one task puts through a function.
    static final int GRAIN = 1 << 14;

    private static final float STEEPNESS = 1.702f;
    private static final float LIMIT = 7;

    private static final double SQRT_2_OVER_PI = 0.7978845608028654;
    private static final double CUBIC = 0.044715;

    /// `gate ← f(gate) · up` for the elements `from … to`. What `up` holds afterwards is not said.
    void gate(float[] gate, float[] up, int from, int to) {
        if (this == CLAMPED) {
            for (int i = from; i < to; i++) {
                gate[i] = Math.min(gate[i], LIMIT);
                up[i] = Math.clamp(up[i], -LIMIT, LIMIT) + 1;
            }
        }
        apply(gate, from, to);
        for (int i = from; i < to; i++) {
            gate[i] *= up[i];
        }
    }

    /// `x ← f(x)` for all elements, in several threads.
    void apply(float[] x, Workers workers) {
        workers.forRanges(x.length, GRAIN, (from, to) -> apply(x, from, to));
    }

    /// `x ← f(x)` for the elements `from … to`, where `f` is what a single input has.
    void apply(float[] x, int from, int to) {
        if (this == RELU_SQUARED) {
            for (int i = from; i < to; i++) {
                float positive = Math.max(0, x[i]);
                x[i] = positive * positive;
            }
            return;
        }
        int n = to - from;
        float[] e = new float[n];
        for (int i = 0; i < n; i++) {
            e[i] = exponent(x[from + i]);
        }
        Exp.exp(e, 0, n, 0);
        for (int i = 0; i < n; i++) {
            float v = x[from + i];
            x[from + i] = this == GELU ? (float) (v * normal(v, e[i])) : v / (1 + e[i]);
        }
    }

    /// Of the exponential that a value needs. `x · (1 + tanh z) / 2` is `x / (1 + e^(−2z))`.
    private float exponent(float x) {
        return switch (this) {
            case SILU -> -x;
            case CLAMPED -> -STEEPNESS * x;
            case GELU_TANH -> (float) (-2 * SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
            case GELU -> -x * x / 2;
            case RELU_SQUARED -> 0;
        };
    }

    /// The normal distribution's function, within 8·10⁻⁸ (Abramowitz and Stegun, 7.1.26).
    ///
    /// @param e `e^(−x²/2)`
    private static double normal(double x, double e) {
        double t = 1 / (1 + 0.3275911 * Math.abs(x) * Math.sqrt(0.5));
        double tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * e / 2;
        return x < 0 ? tail : 1 - tail;
    }
}
