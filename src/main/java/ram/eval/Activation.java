package ram.eval;

/// What a feed-forward part does to the outputs of its gate, or of its first projection where it has none.
public enum Activation {
    SILU, GELU, GELU_TANH,
    /// The square of what is above 0.
    RELU_SQUARED;

    private static final double SQRT_2_OVER_PI = 0.7978845608028654;
    private static final double CUBIC = 0.044715;

    /// `x ← f(x)` for the elements `from … to`.
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
