package ram.sensitivity;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ram.layout.Layout;
import ram.layout.ModelClass;
import ram.layout.Module;
import ram.tensor.Rows;
import ram.tensor.TensorView;

/// The vectors (norm gains, biases) and settings that a propagation needs beside the matrices.
final class Dense {
    private final Map<String, TensorView> plain = new HashMap<>();
    private final JsonNode config;
    private final boolean plusOne;

    Dense(Layout layout) {
        for (Layout.Plain p : layout.plain()) {
            plain.put(p.name(), p.view());
        }
        config = ModelClass.settings(layout);
        plusOne = DecoderRules.has("norm_plus_one", layout.architecture().family());
    }

    /// A number of config.json, also looked for under the other names that `decoder-rules.json` lists for it.
    double number(String name, double otherwise) {
        if (config.path(name).isNumber()) {
            return config.path(name).asDouble();
        }
        for (String other : DecoderRules.list(name)) {
            if (config.path(other).isNumber()) {
                return config.path(other).asDouble();
            }
        }
        return otherwise;
    }

    boolean flag(String name, boolean otherwise) {
        return config.path(name).isBoolean() ? config.path(name).asBoolean() : otherwise;
    }

    Activation activation() {
        for (String name : List.of("hidden_activation", "hidden_act", "mlp_hidden_act", "activation_function")) {
            if (config.path(name).isTextual()) {
                return Activation.named(config.path(name).asText());
            }
        }
        return Activation.SILU;
    }

    boolean has(String name) {
        return plain.containsKey(name);
    }

    /// A vector, when there is one of that name with `length` elements.
    Optional<double[]> vector(String name, int length) {
        TensorView view = plain.get(name);
        if (view == null || view.shape().elements() != length) {
            return Optional.empty();
        }
        Rows rows = Rows.of(view);
        float[] values = new float[length];
        rows.read(0, (int) rows.rows(), values);
        double[] out = new double[length];
        for (int i = 0; i < length; i++) {
            out[i] = values[i];
        }
        return Optional.of(out);
    }

    /// Squared gains of the first of `names` under `prefix`.
    Optional<double[]> gains(String prefix, List<String> names, int length) {
        for (String name : names) {
            Optional<double[]> v = vector(prefix + name + ".weight", length);
            if (v.isPresent()) {
                double[] g = v.get();
                for (int i = 0; i < length; i++) {
                    double x = plusOne ? 1 + g[i] : g[i];
                    g[i] = x * x;
                }
                return Optional.of(g);
            }
        }
        return Optional.empty();
    }

    /// Applies a norm to `power`, where there is one, and returns the gain of noise in each element, 1 without.
    ///
    /// @param names of the norm under `prefix`
    /// @param lengths that it may have; each run of elements of that length is normalised by itself
    double[] normalize(double[] power, String prefix, List<String> names, int... lengths) {
        for (int length : lengths) {
            Optional<double[]> gamma = gains(prefix, names, length);
            if (gamma.isPresent()) {
                return normalize(power, gamma.get(), length);
            }
        }
        return ones(power.length);
    }

    /// Applies a norm to each run of `length` elements of `power`, and returns the gain of noise in each element.
    ///
    /// @param gamma squared gains, of all elements or of those of a run
    static double[] normalize(double[] power, double[] gamma, int length) {
        double[] gain = new double[power.length];
        for (int from = 0; from < power.length; from += length) {
            double mean = 0;
            for (int i = from; i < from + length; i++) {
                mean += power[i] / length;
            }
            for (int i = from; i < from + length; i++) {
                gain[i] = mean == 0 ? 0 : gamma[i % gamma.length] / mean;
                power[i] *= gain[i];
            }
        }
        return gain;
    }

    static double[] ones(int n) {
        double[] out = new double[n];
        Arrays.fill(out, 1);
        return out;
    }

    /// Mean squares of what a module with its bias makes of inputs with the mean squares `input`, each part of the same.
    double[] outputs(Squares squares, Module module, double[] input) {
        double[][] each = new double[module.parts().size()][];
        Arrays.fill(each, input);
        double[] rows = squares.of(module, each, null, false).rows();
        addBias(module.path() + ".bias", rows);
        return rows;
    }

    /// What the scores of latent attention are multiplied by beside the usual factor: (0.1 · mscale_all_dim · ln factor + 1)², with the two from `rope_scaling`.
    double latentScoreGrowth() {
        JsonNode scaling = config.path("rope_scaling");
        double factor = scaling.path("factor").asDouble(1);
        double growth = factor > 1 ? 0.1 * scaling.path("mscale_all_dim").asDouble(0) * StrictMath.log(factor) + 1 : 1;
        return growth * growth;
    }

    /// Per channel the sum of the squares of a convolution's taps, when there is such a tensor of the size that config.json implies.
    ///
    /// @param length the key of the number of taps
    Optional<double[]> squaredTaps(String name, int channels, String length) {
        int each = (int) Math.clamp(number(length, 0), 0, 1 << 10);
        return each == 0 ? Optional.empty() : vector(name, Math.multiplyExact(channels, each)).map(w -> {
            double[] out = new double[channels];
            for (int i = 0; i < w.length; i++) {
                out[i / each] += w[i] * w[i];
            }
            return out;
        });
    }

    /// Adds the squares of a bias to `power`, when there is such a bias.
    void addBias(String name, double[] power) {
        vector(name, power.length).ifPresent(b -> {
            for (int i = 0; i < b.length; i++) {
                power[i] += b[i] * b[i];
            }
        });
    }
}
