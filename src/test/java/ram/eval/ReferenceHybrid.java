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
    private final boolean qwen;
    private final boolean lfm2;

    ReferenceHybrid(JsonNode config, Map<String, double[]> tensors) {
        this.config = config;
        this.type = config.path("model_type").asText();
        this.tensors = tensors;
        hidden = size("hidden_size");
        qwen = type.startsWith("qwen");
        lfm2 = type.startsWith("lfm2");
    }

    private int size(String key) {
        return config.path(key).asInt();
    }

    /// The logits of each position.
    double[][] logits(int[] ids) {
        double[][] h = new double[ids.length][];
        double[] embedding = tensors.get("model.embed_tokens.weight");
        for (int t = 0; t < ids.length; t++) {
            h[t] = new double[hidden];
            ReferenceMath.add(h[t], Arrays.copyOfRange(embedding, ids[t] * hidden, (ids[t] + 1) * hidden), config.path("embedding_multiplier").asDouble(1));
        }
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            String p = "model.layers." + l + ".";
            double[][] x = new double[h.length][];
            for (int t = 0; t < h.length; t++) {
                x[t] = norm(h[t], p + (lfm2 ? "operator_norm" : "input_layernorm"));
            }
            double[][] mixed = tensors.containsKey(p + "self_attn.q_proj.weight") ? attention(p + "self_attn.", x)
                    : qwen ? deltaNet(p + "linear_attn.", x) : lfm2 ? shortConvolution(p + "conv.", x) : stateSpace(p + "mamba.", x);
            for (int t = 0; t < h.length; t++) {
                double share = config.path("residual_multiplier").asDouble(1);
                ReferenceMath.add(h[t], mixed[t], share);
                double[] fed = norm(h[t], p + (lfm2 ? "ffn_norm" : "post_attention_layernorm"));
                ReferenceMath.add(h[t], qwen ? mixture(p + "mlp.", fed) : lfm2 ? feedForward(p, fed) : granite(p, fed), share);
            }
        }
        double[][] out = new double[h.length][];
        for (int t = 0; t < h.length; t++) {
            out[t] = linear(tensors.containsKey("lm_head.weight") ? "lm_head" : "model.embed_tokens", norm(h[t], lfm2 ? "model.embedding_norm" : "model.norm"));
            for (int i = 0; i < out[t].length; i++) {
                out[t][i] /= config.path("logits_scaling").asDouble(1);
            }
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
        int d = qwen ? size("head_dim") : hidden / heads;
        int n = x.length;
        double[][] open = new double[n][heads * d];
        double[][] q = new double[n][];
        double[][] k = new double[n][];
        double[][] v = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] queries = linear(p + "q_proj", x[t]);
            if (qwen) {
                // each head has its gate after its query
                double[] both = queries;
                queries = new double[heads * d];
                for (int i = 0; i < heads * d; i++) {
                    queries[i] = both[i / d * 2 * d + i % d];
                    open[t][i] = 1 / (1 + Math.exp(-both[i / d * 2 * d + d + i % d]));
                }
            } else {
                Arrays.fill(open[t], 1);
            }
            double[] keys = linear(p + "k_proj", x[t]);
            boolean plain = type.equals("granitemoehybrid");
            boolean turns = !config.path("position_embedding_type").asText().equals("nope");
            queries = plain ? queries : norm(queries, p + (qwen ? "q_norm" : "q_layernorm"));
            keys = plain ? keys : norm(keys, p + (qwen ? "k_norm" : "k_layernorm"));
            q[t] = turns ? turned(queries, t, d) : queries;
            k[t] = turns ? turned(keys, t, d) : keys;
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
                    w[s] = Math.exp(dot * config.path("attention_multiplier").asDouble(1 / Math.sqrt(d)));
                }
                double total = Arrays.stream(w).sum();
                for (int s = 0; s <= t; s++) {
                    for (int i = 0; i < d; i++) {
                        mixed[h * d + i] += w[s] / total * v[s][h / group * d + i];
                    }
                }
            }
            for (int i = 0; i < mixed.length; i++) {
                mixed[i] *= open[t][i];
            }
            out[t] = linear(p + (lfm2 ? "out_proj" : "o_proj"), mixed);
        }
        return out;
    }

    /// Each head of values has its matrix S. A token makes it `g · (S − b · k · (kᵀS)) + b · k · vᵀ`, and reads `qᵀS`.
    private double[][] deltaNet(String p, double[][] x) {
        int keyHeads = size("linear_num_key_heads");
        int heads = size("linear_num_value_heads");
        int group = heads / keyHeads;
        int rows = size("linear_key_head_dim");
        int columns = size("linear_value_head_dim");
        int keys = keyHeads * rows;
        int n = x.length;
        double[][] in = new double[n][];
        double[][] gate = new double[n][];
        double[][] b = new double[n][];
        double[][] a = new double[n][];
        for (int t = 0; t < n; t++) {
            if (!type.equals("qwen3_next")) {
                in[t] = linear(p + "in_proj_qkv", x[t]);
                gate[t] = linear(p + "in_proj_z", x[t]);
                b[t] = linear(p + "in_proj_b", x[t]);
                a[t] = linear(p + "in_proj_a", x[t]);
                continue;
            }
            double[] all = linear(p + "in_proj_qkvz", x[t]);
            double[] two = linear(p + "in_proj_ba", x[t]);
            in[t] = new double[2 * keys + heads * columns];
            gate[t] = new double[heads * columns];
            b[t] = new double[heads];
            a[t] = new double[heads];
            int own = 2 * rows + 2 * group * columns;
            for (int k = 0; k < keyHeads; k++) {
                for (int i = 0; i < rows; i++) {
                    in[t][k * rows + i] = all[k * own + i];
                    in[t][keys + k * rows + i] = all[k * own + rows + i];
                }
                for (int i = 0; i < group * columns; i++) {
                    in[t][2 * keys + k * group * columns + i] = all[k * own + 2 * rows + i];
                    gate[t][k * group * columns + i] = all[k * own + 2 * rows + group * columns + i];
                }
                for (int i = 0; i < group; i++) {
                    b[t][k * group + i] = two[k * 2 * group + i];
                    a[t][k * group + i] = two[k * 2 * group + group + i];
                }
            }
        }
        double[][] mixed = convolved(p + "conv1d", in, size("linear_conv_kernel_dim"));
        double[][] read = new double[n][heads * columns];
        for (int h = 0; h < heads; h++) {
            double[][] s = new double[rows][columns];
            for (int t = 0; t < n; t++) {
                int from = h / group * rows;
                double[] q = unit(Arrays.copyOfRange(mixed[t], from, from + rows));
                double[] k = unit(Arrays.copyOfRange(mixed[t], keys + from, keys + from + rows));
                double beta = 1 / (1 + Math.exp(-b[t][h]));
                double g = Math.exp(-Math.exp(tensors.get(p + "A_log")[h]) * Math.log(1 + Math.exp(a[t][h] + tensors.get(p + "dt_bias")[h])));
                for (int c = 0; c < columns; c++) {
                    double held = 0;
                    for (int i = 0; i < rows; i++) {
                        held += k[i] * s[i][c];
                    }
                    for (int i = 0; i < rows; i++) {
                        s[i][c] = g * (s[i][c] - beta * k[i] * held) + beta * k[i] * mixed[t][2 * keys + h * columns + c];
                        read[t][h * columns + c] += q[i] / Math.sqrt(rows) * s[i][c];
                    }
                }
            }
        }
        double[][] out = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] normed = scaled(read[t], tensors.get(p + "norm.weight"), 0);
            for (int i = 0; i < normed.length; i++) {
                normed[i] *= ReferenceMath.silu(gate[t][i]);
            }
            out[t] = linear(p + "out_proj", normed);
        }
        return out;
    }

    /// Without states: a token reads what each before it has written, by the product of what they write and read with and of how much the steps between have left.
    private double[][] stateSpace(String p, double[][] x) {
        int heads = size("mamba_n_heads");
        int d = size("mamba_d_head");
        int states = size("mamba_d_state");
        int shared = size("mamba_n_groups") * states;
        int width = heads * d;
        int n = x.length;
        double[][] gate = new double[n][];
        double[][] in = new double[n][];
        double[][] steps = new double[n][heads];
        for (int t = 0; t < n; t++) {
            double[] all = linear(p + "in_proj", x[t]);
            gate[t] = Arrays.copyOf(all, width);
            in[t] = Arrays.copyOfRange(all, width, all.length - heads);
            for (int h = 0; h < heads; h++) {
                double step = Math.log(1 + Math.exp(all[all.length - heads + h] + tensors.get(p + "dt_bias")[h]));
                double least = config.path("time_step_limit").path(0).asDouble(0.001);
                double most = config.path("time_step_limit").path(1).asDouble(100);
                steps[t][h] = step < least ? least : step > most ? most : step;
            }
        }
        double[][] mixed = convolved(p + "conv1d", in, size("mamba_d_conv"));
        double[][] out = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] read = new double[width];
            for (int h = 0; h < heads; h++) {
                int group = h * size("mamba_n_groups") / heads;
                double time = 0;
                for (int s = t; s >= 0; s--) {
                    double product = 0;
                    for (int i = 0; i < states; i++) {
                        product += mixed[s][width + group * states + i] * mixed[t][width + shared + group * states + i];
                    }
                    double weight = product * steps[s][h] * Math.exp(-Math.exp(tensors.get(p + "A_log")[h]) * time) + (s == t ? tensors.get(p + "D")[h] : 0);
                    for (int i = 0; i < d; i++) {
                        read[h * d + i] += weight * mixed[s][h * d + i];
                    }
                    time += steps[s][h];
                }
            }
            for (int i = 0; i < width; i++) {
                read[i] *= ReferenceMath.silu(gate[t][i]);
            }
            out[t] = linear(p + "out_proj", scaled(read, tensors.get(p + "norm.weight"), 0));
        }
        return out;
    }

    /// Of Granite: the best experts by their outputs alone, and one beside them.
    private double[] granite(String layer, double[] x) {
        double[] out = fused(layer + "shared_mlp.", x);
        String p = layer + "block_sparse_moe.";
        if (!tensors.containsKey(p + "router.layer.weight")) {
            return out;
        }
        double[] outputs = linear(p + "router.layer", x);
        double[] sorted = outputs.clone();
        Arrays.sort(sorted);
        double last = sorted[sorted.length - size("num_experts_per_tok")];
        double total = Arrays.stream(outputs).filter(o -> o >= last).map(Math::exp).sum();
        for (int e = 0; e < outputs.length; e++) {
            if (outputs[e] >= last) {
                ReferenceMath.add(out, projected(p + "experts." + e + ".", "gate_proj", "up_proj", "down_proj", x), Math.exp(outputs[e]) / total);
            }
        }
        return out;
    }

    private double[] fused(String p, double[] x) {
        double[] both = linear(p + "input_linear", x);
        double[] middle = new double[both.length / 2];
        Arrays.setAll(middle, i -> ReferenceMath.silu(both[i]) * both[middle.length + i]);
        return linear(p + "output_linear", middle);
    }

    private static double[] unit(double[] x) {
        double squares = Arrays.stream(x).map(v -> v * v).sum();
        return Arrays.stream(x).map(v -> v / Math.sqrt(squares + x.length * 1e-6)).toArray();
    }

    /// Each channel with those of the tokens before, then through silu.
    private double[][] convolved(String path, double[][] in, int taps) {
        double[] weight = tensors.get(path + ".weight");
        double[] bias = tensors.get(path + ".bias");
        double[][] out = new double[in.length][in[0].length];
        for (int t = 0; t < in.length; t++) {
            for (int c = 0; c < in[t].length; c++) {
                double sum = bias == null ? 0 : bias[c];
                for (int back = 0; back < taps && back <= t; back++) {
                    sum += weight[c * taps + taps - 1 - back] * in[t - back][c];
                }
                out[t][c] = ReferenceMath.silu(sum);
            }
        }
        return out;
    }

    /// Each head with its first dimensions turned, the first half of them with the second.
    private double[] turned(double[] x, int position, int d) {
        JsonNode rope = config.path("rope_parameters");
        // Qwen 3.5 has these of its own where it says nothing
        double theta = rope.path("rope_theta").asDouble(rope.isObject() && type.startsWith("qwen3_5") ? 100_000 : config.path("rope_theta").asDouble());
        double share = rope.path("partial_rotary_factor").asDouble(rope.isObject() && type.startsWith("qwen3_5") ? 0.25 : config.path("partial_rotary_factor").asDouble(1));
        int dims = (int) (d * share);
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

    /// Of Qwen: shares of all experts, those of the best brought to a sum of 1 where the model says so, and an expert for all tokens.
    private double[] mixture(String p, double[] x) {
        if (!tensors.containsKey(p + "gate.weight")) {
            return projected(p, "gate_proj", "up_proj", "down_proj", x);
        }
        double[] shares = Arrays.stream(linear(p + "gate", x)).map(Math::exp).toArray();
        double[] sorted = shares.clone();
        Arrays.sort(sorted);
        double last = sorted[sorted.length - size("num_experts_per_tok")];
        double total = Arrays.stream(shares).filter(s -> !config.path("norm_topk_prob").asBoolean() || s >= last).sum();
        double[] out = new double[hidden];
        for (int e = 0; e < shares.length; e++) {
            if (shares[e] >= last) {
                ReferenceMath.add(out, projected(p + "experts." + e + ".", "gate_proj", "up_proj", "down_proj", x), shares[e] / total);
            }
        }
        ReferenceMath.add(out, projected(p + "shared_expert.", "gate_proj", "up_proj", "down_proj", x), 1 / (1 + Math.exp(-linear(p + "shared_expert_gate", x)[0])));
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
                ReferenceMath.add(out, gated(p + "experts." + e + ".", x), scores[e] * config.path("routed_scaling_factor").asDouble(1));
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
        return projected(p, "w1", "w3", "w2", x);
    }

    private double[] projected(String p, String first, String second, String last, double[] x) {
        double[] gate = linear(p + first, x);
        double[] up = linear(p + second, x);
        for (int i = 0; i < gate.length; i++) {
            gate[i] = ReferenceMath.silu(gate[i]) * up[i];
        }
        return linear(p + last, gate);
    }

    private double[] norm(double[] x, String path) {
        return scaled(x, tensors.get(path + ".weight"), qwen ? 1 : 0);
    }

    /// Each stretch as long as the weights, divided by the root of its mean square.
    private static double[] scaled(double[] x, double[] w, double offset) {
        double[] out = new double[x.length];
        for (int from = 0; from < x.length; from += w.length) {
            double squares = Arrays.stream(x, from, from + w.length).map(v -> v * v).sum();
            for (int i = 0; i < w.length; i++) {
                out[from + i] = x[from + i] / Math.sqrt(squares / w.length + 1e-5) * (w[i] + offset);
            }
        }
        return out;
    }

    private double[] linear(String path, double[] x) {
        return ReferenceMath.linear(tensors, path, x);
    }
}
