package ram.eval;

import java.util.Arrays;
import java.util.Map;

/// What plain decoders in double precision have in common.
final class ReferenceMath {
    private ReferenceMath() {
    }

    /// The products of a matrix, with the bias beside it where there is one.
    static double[] linear(Map<String, double[]> tensors, String path, double[] x) {
        double[] w = tensors.get(path + ".weight");
        double[] bias = tensors.get(path + ".bias");
        double[] out = new double[w.length / x.length];
        for (int r = 0; r < out.length; r++) {
            out[r] = bias == null ? 0 : bias[r];
            for (int i = 0; i < x.length; i++) {
                out[r] += w[r * x.length + i] * x[i];
            }
        }
        return out;
    }

    static double silu(double x) {
        return x / (1 + Math.exp(-x));
    }

    static double geluByTanh(double x) {
        return x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
    }

    static double[] times(double[] x, double factor) {
        return Arrays.stream(x).map(v -> v * factor).toArray();
    }

    static void add(double[] to, double[] x, double factor) {
        for (int i = 0; i < to.length; i++) {
            to[i] += factor * x[i];
        }
    }
}
