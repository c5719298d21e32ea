package ram.eval;

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

    static void add(double[] to, double[] x, double factor) {
        for (int i = 0; i < to.length; i++) {
            to[i] += factor * x[i];
        }
    }
}
