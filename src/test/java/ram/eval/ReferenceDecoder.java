package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;

/// A decoder in double precision, one token and one number at a time, as plainly as it can be said: the oracle of the forward pass.
/// Tensors have the names of a Hugging Face checkpoint.
final class ReferenceDecoder {
    private final JsonNode config;
    private final String type;
    private final Map<String, double[]> tensors;
    private final int hidden;
    private final int heads;
    private final int kvHeads;
    private final int headDim;

    ReferenceDecoder(JsonNode config, Map<String, double[]> tensors) {
        this.config = config;
        this.type = config.path("model_type").asText();
        this.tensors = tensors;
        hidden = config.path("hidden_size").asInt();
        heads = config.path("num_attention_heads").asInt();
        kvHeads = config.path("num_key_value_heads").asInt();
        headDim = config.path("head_dim").asInt(hidden / heads);
    }

    /// The logits of each position.
    double[][] logits(int[] ids) {
        int n = ids.length;
        double[][] h = new double[n][hidden];
        for (int t = 0; t < n; t++) {
            System.arraycopy(tensors.get("model.embed_tokens.weight"), ids[t] * hidden, h[t], 0, hidden);
        }
        for (int l = 0; l < config.path("num_hidden_layers").asInt(); l++) {
            String p = "model.layers." + l + ".";
            double[][] x = new double[n][];
            for (int t = 0; t < n; t++) {
                x[t] = norm(h[t], p + "input_layernorm");
            }
            double[][] a = attention(p + "self_attn.", l, x);
            for (int t = 0; t < n; t++) {
                add(h[t], a[t], 1);
                add(h[t], feedForward(p, l, norm(h[t], p + "post_attention_layernorm")), 1);
            }
        }
        double[][] out = new double[n][];
        String head = tensors.containsKey("lm_head.weight") ? "lm_head" : "model.embed_tokens";
        for (int t = 0; t < n; t++) {
            out[t] = linear(head, norm(h[t], "model.norm"));
        }
        return out;
    }

    private double[][] attention(String p, int l, double[][] x) {
        int n = x.length;
        double[][] q = new double[n][];
        double[][] k = new double[n][];
        double[][] v = new double[n][];
        for (int t = 0; t < n; t++) {
            q[t] = rotated(normed(linear(p + "q_proj", x[t]), p + "q_norm"), t);
            k[t] = rotated(normed(linear(p + "k_proj", x[t]), p + "k_norm"), t);
            v[t] = linear(p + "v_proj", x[t]);
        }
        boolean sliding = config.path("layer_types").path(l).asText().equals("sliding_attention");
        double[][] out = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] mixed = new double[heads * headDim];
            int first = sliding ? Math.max(0, t - config.path("sliding_window").asInt() + 1) : 0;
            for (int h = 0; h < heads; h++) {
                int g = h * kvHeads / heads;
                double[] w = new double[t + 1];
                double total = 0;
                for (int s = first; s <= t; s++) {
                    double dot = 0;
                    for (int i = 0; i < headDim; i++) {
                        dot += q[t][h * headDim + i] * k[s][g * headDim + i];
                    }
                    w[s] = Math.exp(dot / Math.sqrt(headDim));
                    total += w[s];
                }
                for (int s = first; s <= t; s++) {
                    for (int i = 0; i < headDim; i++) {
                        mixed[h * headDim + i] += w[s] / total * v[s][g * headDim + i];
                    }
                }
            }
            out[t] = linear(p + "o_proj", mixed);
        }
        return out;
    }

    private double[] normed(double[] x, String name) {
        double[] w = tensors.get(name + ".weight");
        if (w == null) {
            return x;
        }
        double[] out = x.clone();
        for (int from = 0; from < x.length; from += w.length) {
            double squares = 0;
            for (int i = 0; i < w.length; i++) {
                squares += x[from + i] * x[from + i];
            }
            for (int i = 0; i < w.length; i++) {
                out[from + i] = x[from + i] / Math.sqrt(squares / w.length + config.path("rms_norm_eps").asDouble()) * w[i];
            }
        }
        return out;
    }

    private double[] norm(double[] x, String name) {
        return normed(x, name);
    }

    private double[] rotated(double[] x, int position) {
        JsonNode parameters = config.path("rope_parameters");
        double theta = parameters.path("rope_theta").asDouble(config.path("rope_theta").asDouble());
        int dims = (int) (headDim * config.path("partial_rotary_factor").asDouble(1));
        JsonNode scaling = config.path("rope_scaling").isObject() ? config.path("rope_scaling") : parameters;
        String kind = scaling.path("rope_type").asText(scaling.path("type").asText("default"));
        double factor = scaling.path("factor").asDouble(1);
        double original = scaling.path("original_max_position_embeddings").asDouble();
        double[] out = x.clone();
        for (int i = 0; i < dims / 2; i++) {
            double wavelength = 2 * Math.PI * Math.pow(theta, 2.0 * i / dims);
            double turn = 2 * Math.PI / wavelength;
            double magnitude = 1;
            switch (kind) {
                case "linear" -> turn /= factor;
                case "llama3" -> {
                    double low = scaling.path("low_freq_factor").asDouble();
                    double high = scaling.path("high_freq_factor").asDouble();
                    if (wavelength > original / low) {
                        turn /= factor;
                    } else if (wavelength >= original / high) {
                        double smooth = (original / wavelength - low) / (high - low);
                        turn = (1 - smooth) * turn / factor + smooth * turn;
                    }
                }
                case "yarn" -> {
                    double low = Math.floor(dims * Math.log(original / 32 / 2 / Math.PI) / 2 / Math.log(theta));
                    double high = Math.ceil(dims * Math.log(original / 2 / Math.PI) / 2 / Math.log(theta));
                    double kept = 1 - Math.min(1, Math.max(0, (i - Math.max(0, low)) / (Math.min(dims - 1, high) - Math.max(0, low))));
                    turn = turn * kept + turn / factor * (1 - kept);
                    magnitude = 0.1 * Math.log(factor) + 1;
                }
                default -> { }
            }
            double cos = Math.cos(position * turn) * magnitude;
            double sin = Math.sin(position * turn) * magnitude;
            for (int h = 0; h < x.length; h += headDim) {
                double a = x[h + i];
                double b = x[h + i + dims / 2];
                out[h + i] = a * cos - b * sin;
                out[h + i + dims / 2] = a * sin + b * cos;
            }
        }
        return out;
    }

    private double[] feedForward(String layer, int l, double[] x) {
        String p = layer + (type.equals("mixtral") ? "block_sparse_moe." : "mlp.");
        if (!tensors.containsKey(p + "gate.weight")) {
            return gated(p + "gate_proj", p + "up_proj", p + "down_proj", x);
        }
        double[] scores = linear(p + "gate", x);
        int perToken = config.path("num_experts_per_tok").asInt();
        boolean[] picked = new boolean[scores.length];
        double pickedTotal = 0;
        double total = 0;
        for (double s : scores) {
            total += Math.exp(s);
        }
        for (int i = 0; i < perToken; i++) {
            int best = -1;
            for (int e = 0; e < scores.length; e++) {
                if (!picked[e] && (best < 0 || scores[e] > scores[best])) {
                    best = e;
                }
            }
            picked[best] = true;
            pickedTotal += Math.exp(scores[best]);
        }
        boolean amongPicked = type.equals("mixtral") || config.path("norm_topk_prob").asBoolean();
        double[] out = new double[hidden];
        for (int e = 0; e < scores.length; e++) {
            if (picked[e]) {
                String x1 = p + "experts." + e + ".";
                double[] y = type.equals("mixtral") ? gated(x1 + "w1", x1 + "w3", x1 + "w2", x) : gated(x1 + "gate_proj", x1 + "up_proj", x1 + "down_proj", x);
                add(out, y, Math.exp(scores[e]) / (amongPicked ? pickedTotal : total));
            }
        }
        if (tensors.containsKey(p + "shared_expert_gate.weight")) {
            double open = 1 / (1 + Math.exp(-linear(p + "shared_expert_gate", x)[0]));
            add(out, gated(p + "shared_expert.gate_proj", p + "shared_expert.up_proj", p + "shared_expert.down_proj", x), open);
        }
        return out;
    }

    private double[] gated(String gate, String up, String down, double[] x) {
        double[] g = linear(gate, x);
        double[] u = linear(up, x);
        for (int i = 0; i < g.length; i++) {
            g[i] = g[i] / (1 + Math.exp(-g[i])) * u[i];
        }
        return linear(down, g);
    }

    private double[] linear(String path, double[] x) {
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

    private static void add(double[] to, double[] x, double factor) {
        for (int i = 0; i < to.length; i++) {
            to[i] += factor * x[i];
        }
    }
}
