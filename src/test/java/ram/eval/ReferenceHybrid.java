package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.Map;

/// Decoders of which some layers do not attend, in double precision with the weights of a Hugging Face checkpoint, as plainly as it can be said.
final class ReferenceHybrid {
    private final JsonNode config;
    private final String type;
    private final Map<String, double[]> tensors;
    private final int hidden;

    ReferenceHybrid(JsonNode config, Map<String, double[]> tensors) {
        this.config = config;
        this.type = config.path("model_type").asText();
        this.tensors = tensors;
        hidden = size("hidden_size");
    }

    private int size(String key) {
        return config.path(key).asInt();
    }

    /// The logits of each position.
    double[][] logits(int[] ids) {
        double[][] h = new double[ids.length][];
        double[] embedding = tensors.get("model.embed_tokens.weight");
        for (int t = 0; t < ids.length; t++) {
            h[t] = Arrays.copyOfRange(embedding, ids[t] * hidden, (ids[t] + 1) * hidden);
        }
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            String p = "model.layers." + l + ".";
            double[][] x = new double[h.length][];
            for (int t = 0; t < h.length; t++) {
                x[t] = norm(h[t], p + "operator_norm");
            }
            double[][] mixed = tensors.containsKey(p + "self_attn.q_proj.weight") ? attention(p + "self_attn.", x) : shortConvolution(p + "conv.", x);
            for (int t = 0; t < h.length; t++) {
                add(h[t], mixed[t], 1);
                add(h[t], feedForward(p, norm(h[t], p + "ffn_norm")), 1);
            }
        }
        double[][] out = new double[h.length][];
        for (int t = 0; t < h.length; t++) {
            out[t] = linear("model.embed_tokens", norm(h[t], "model.embedding_norm"));
        }
        return out;
    }

    /// The three parts of a token's projection are the gate of what enters, the gate of what leaves, and what is convolved.
    private double[][] shortConvolution(String p, double[][] x) {
        int taps = size("conv_L_cache");
        double[][] in = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            in[t] = linear(p + "in_proj", x[t]);
        }
        double[] weight = tensors.get(p + "conv.weight");
        double[] bias = tensors.get(p + "conv.bias");
        double[][] out = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            double[] left = new double[hidden];
            for (int c = 0; c < hidden; c++) {
                double sum = bias == null ? 0 : bias[c];
                for (int back = 0; back < taps && back <= t; back++) {
                    sum += weight[c * taps + taps - 1 - back] * in[t - back][c] * in[t - back][2 * hidden + c];
                }
                left[c] = in[t][hidden + c] * sum;
            }
            out[t] = linear(p + "out_proj", left);
        }
        return out;
    }

    private double[][] attention(String p, double[][] x) {
        int heads = size("num_attention_heads");
        int group = heads / size("num_key_value_heads");
        int d = hidden / heads;
        int n = x.length;
        double[][] q = new double[n][];
        double[][] k = new double[n][];
        double[][] v = new double[n][];
        for (int t = 0; t < n; t++) {
            q[t] = turned(heads(linear(p + "q_proj", x[t]), p + "q_layernorm"), t, d);
            k[t] = turned(heads(linear(p + "k_proj", x[t]), p + "k_layernorm"), t, d);
            v[t] = linear(p + "v_proj", x[t]);
        }
        double[][] out = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] mixed = new double[heads * d];
            for (int h = 0; h < heads; h++) {
                double[] w = new double[t + 1];
                for (int s = 0; s <= t; s++) {
                    double dot = 0;
                    for (int i = 0; i < d; i++) {
                        dot += q[t][h * d + i] * k[s][h / group * d + i];
                    }
                    w[s] = Math.exp(dot / Math.sqrt(d));
                }
                double total = Arrays.stream(w).sum();
                for (int s = 0; s <= t; s++) {
                    for (int i = 0; i < d; i++) {
                        mixed[h * d + i] += w[s] / total * v[s][h / group * d + i];
                    }
                }
            }
            out[t] = linear(p + "out_proj", mixed);
        }
        return out;
    }

    /// Each head with its first dimensions turned, the first half of them with the second.
    private double[] turned(double[] x, int position, int d) {
        double theta = config.path("rope_parameters").path("rope_theta").asDouble(config.path("rope_theta").asDouble());
        int dims = d;
        double[] out = x.clone();
        for (int from = 0; from < x.length; from += d) {
            for (int i = 0; i < dims / 2; i++) {
                double angle = position * Math.pow(theta, -2.0 * i / dims);
                double a = x[from + i];
                double b = x[from + dims / 2 + i];
                out[from + i] = a * Math.cos(angle) - b * Math.sin(angle);
                out[from + dims / 2 + i] = a * Math.sin(angle) + b * Math.cos(angle);
            }
        }
        return out;
    }

    private double[] feedForward(String layer, double[] x) {
        String p = layer + "feed_forward.";
        if (!tensors.containsKey(p + "gate.weight")) {
            return gated(p, x);
        }
        double[] scores = Arrays.stream(linear(p + "gate", x)).map(o -> 1 / (1 + Math.exp(-o))).toArray();
        double[] bias = tensors.getOrDefault(p + "expert_bias", new double[scores.length]);
        double[] ranks = new double[scores.length];
        Arrays.setAll(ranks, e -> scores[e] + bias[e]);
        double[] sorted = ranks.clone();
        Arrays.sort(sorted);
        double last = sorted[sorted.length - size("num_experts_per_tok")];
        double sum = 0;
        double[] out = new double[hidden];
        for (int e = 0; e < scores.length; e++) {
            if (ranks[e] >= last) {
                sum += scores[e];
                add(out, gated(p + "experts." + e + ".", x), scores[e] * config.path("routed_scaling_factor").asDouble(1));
            }
        }
        if (config.path("norm_topk_prob").asBoolean()) {
            for (int i = 0; i < out.length; i++) {
                out[i] /= sum + 1e-6;
            }
        }
        return out;
    }

    private double[] gated(String p, double[] x) {
        double[] gate = linear(p + "w1", x);
        double[] up = linear(p + "w3", x);
        for (int i = 0; i < gate.length; i++) {
            gate[i] = silu(gate[i]) * up[i];
        }
        return linear(p + "w2", gate);
    }

    private static double silu(double x) {
        return x / (1 + Math.exp(-x));
    }

    private double[] norm(double[] x, String path) {
        return heads(x, path);
    }

    /// Each stretch as long as the weights, divided by the root of its mean square.
    private double[] heads(double[] x, String path) {
        double[] w = tensors.get(path + ".weight");
        double[] out = new double[x.length];
        for (int from = 0; from < x.length; from += w.length) {
            double squares = Arrays.stream(x, from, from + w.length).map(v -> v * v).sum();
            for (int i = 0; i < w.length; i++) {
                out[from + i] = x[from + i] / Math.sqrt(squares / w.length + 1e-5) * w[i];
            }
        }
        return out;
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
