package ram.eval;

import java.util.Arrays;
import java.util.Optional;
import ram.numeric.Kernels;
import ram.numeric.Workers;

/// Norms as a model has them, in place: without or with their mean, weights and biases.
final class Normalization {
    private final NetworkShape.Norms norms;
    private final Linears linears;
    private final Workers workers;

    Normalization(NetworkShape.Norms norms, Linears linears, Workers workers) {
        this.norms = norms;
        this.linears = linears;
        this.workers = workers;
    }

    /// Normalises each stretch of `width` values by the norm of that path.
    void apply(float[] x, String path, int width) {
        apply(x, path, width, norms.eps());
    }

    void apply(float[] x, String path, int width, float eps) {
        apply(x, norms.plain() ? ones(width) : linears.vector(path + ".weight", width), norms.offset(), linears.bias(path, width), eps);
    }

    /// Normalises each stretch as long as the weights, by these and without a bias.
    void apply(float[] x, float[] weight) {
        apply(x, weight, 0, Optional.empty(), norms.eps());
    }

    private void apply(float[] x, float[] weight, float offset, Optional<float[]> bias, float eps) {
        int width = weight.length;
        workers.forRanges(x.length, Math.max(1, (1 << 15) / width) * width, (from, to) -> {
            for (int at = from; at < to; at += width) {
                if (norms.centered()) {
                    float mean = (float) (Kernels.sum(x, at, width) / width);
                    for (int i = at; i < at + width; i++) {
                        x[i] -= mean;
                    }
                }
                float factor = (float) (1 / Math.sqrt(Kernels.sumOfSquares(x, at, width) / width + eps));
                for (int i = 0; i < width; i++) {
                    x[at + i] = x[at + i] * factor * (weight[i] + offset);
                }
                if (bias.isPresent()) {
                    Kernels.addScaled(1, bias.get(), 0, x, at, width);
                }
            }
        });
    }

    static float[] ones(int n) {
        float[] out = new float[n];
        Arrays.fill(out, 1);
        return out;
    }
}
