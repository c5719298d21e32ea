package ram.eval;

/// Keeps numbers between −c and c: `c · tanh(x / c)`.
final class SoftCap {
    /// Below it the difference of two numbers near one would leave few digits, and the series is exact to float32.
    private static final float SMALL = 0.1f;

    private SoftCap() {
    }

    /// @param cap 0 for none
    static void apply(float[] x, int from, int count, float cap) {
        if (cap == 0) {
            return;
        }
        float[] e = new float[count];
        for (int i = 0; i < count; i++) {
            e[i] = 2 * x[from + i] / cap;
        }
        Exp.exp(e, 0, count, 0);
        for (int i = 0; i < count; i++) {
            float t = x[from + i] / cap;
            x[from + i] = Math.abs(t) < SMALL ? cap * series(t) : cap - 2 * cap / (e[i] + 1);
        }
    }

    private static float series(float t) {
        float square = t * t;
        return t * (1 + square * (-1f / 3 + square * (2f / 15)));
    }
}
