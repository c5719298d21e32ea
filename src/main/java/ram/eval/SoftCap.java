package ram.eval;

/// Keeps numbers between −c and c: `c · tanh(x / c)`.
final class SoftCap {
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
            x[from + i] = cap - 2 * cap / (e[i] + 1);
        }
    }
}
