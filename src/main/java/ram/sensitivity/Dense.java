package ram.sensitivity;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ram.layout.Layout;
import ram.layout.ModelClass;
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

    /// Adds the squares of a bias to `power`, when there is such a bias.
    void addBias(String name, double[] power) {
        vector(name, power.length).ifPresent(b -> {
            for (int i = 0; i < b.length; i++) {
                power[i] += b[i] * b[i];
            }
        });
    }
}
