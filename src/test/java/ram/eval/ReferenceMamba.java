package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.Map;

/// Nemotron-H, Falcon-H1, Jamba and both Mambas in double precision with the weights of a Hugging Face checkpoint, as plainly as it can be said. What multiplies is applied to activations.
final class ReferenceMamba {
    private final JsonNode config;
    private final Map<String, double[]> tensors;
    private final int hidden;

    ReferenceMamba(JsonNode config, Map<String, double[]> tensors) {
        this.config = config;
        this.tensors = tensors;
        hidden = size("hidden_size");
    }

    private int size(String key) {
        return config.path(key).asInt();
    }

    private double factor(String key) {
        return config.path(key).asDouble();
    }

    private double[] linear(String path, double[] x) {
        return ReferenceMath.linear(tensors, path, x);
    }

    /// The logits of each position.
    double[][] logits(int[] ids) {
        return switch (config.path("model_type").asText()) {
            case "falcon_h1" -> falcon(ids);
            case "mamba2" -> mamba(ids);
            case "mamba" -> first(ids);
            case "jamba" -> jamba(ids);
            default -> nemotron(ids);
        };
    }

    private double[][] embedded(String name, int[] ids, double by) {
        double[] table = tensors.get(name);
        double[][] h = new double[ids.length][];
        for (int t = 0; t < ids.length; t++) {
            h[t] = ReferenceMath.times(Arrays.copyOfRange(table, ids[t] * hidden, (ids[t] + 1) * hidden), by);
        }
        return h;
    }

    private double[][] norms(double[][] h, String path, double eps) {
        return Arrays.stream(h).map(x -> norm(x, tensors.get(path + ".weight"), 1, eps)).toArray(double[][]::new);
    }

    /// @param stretches that are normalised each for itself
    private static double[] norm(double[] x, double[] w, int stretches, double eps) {
        int n = x.length / stretches;
        double[] out = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            int from = i / n * n;
            out[i] = x[i] * w[i] / Math.sqrt(Arrays.stream(x, from, from + n).map(v -> v * v).average().orElseThrow() + eps);
        }
        return out;
    }

    private double[][] nemotron(int[] ids) {
        double eps = factor("layer_norm_epsilon");
        double[][] h = embedded("backbone.embeddings.weight", ids, 1);
        String letters = TinyMamba.letters(config);
        for (int l = 0; l < letters.length(); l++) {
            String p = "backbone.layers." + l + ".mixer.";
            double[][] x = norms(h, "backbone.layers." + l + ".norm", eps);
            double[][] out = switch (letters.charAt(l)) {
                case 'M' -> space(p, x, size("mamba_num_heads"), size("mamba_head_dim"), size("ssm_state_size"), size("n_groups"), eps);
                case '*' -> attention(p, x, false);
                case '-' -> Arrays.stream(x).map(v -> squared(p, v)).toArray(double[][]::new);
                default -> Arrays.stream(x).map(v -> mixture(p, v)).toArray(double[][]::new);
            };
            for (int t = 0; t < h.length; t++) {
                ReferenceMath.add(h[t], out[t], 1);
            }
        }
        return Arrays.stream(norms(h, "backbone.norm_f", eps)).map(v -> linear("lm_head", v)).toArray(double[][]::new);
    }

    private double[] squared(String p, double[] x) {
        return linear(p + "down_proj", Arrays.stream(linear(p + "up_proj", x)).map(v -> v > 0 ? v * v : 0).toArray());
    }

    /// The two best of each group's scores rank it; of the best groups, experts are chosen by corrected scores, and weighed by their own.
    private double[] mixture(String p, double[] x) {
        double[] scores = Arrays.stream(linear(p + "gate", x)).map(v -> 1 / (1 + Math.exp(-v))).toArray();
        double[] ranks = new double[scores.length];
        Arrays.setAll(ranks, e -> scores[e] + tensors.get(p + "gate.e_score_correction_bias")[e]);
        int groups = Math.max(1, size("n_group"));
        int each = scores.length / groups;
        boolean[] out = new boolean[groups];
        for (int i = 0; i < groups - Math.max(1, size("topk_group")); i++) {
            int worst = -1;
            double least = Double.POSITIVE_INFINITY;
            for (int g = 0; g < groups; g++) {
                double[] sorted = Arrays.copyOfRange(ranks, g * each, (g + 1) * each);
                Arrays.sort(sorted);
                double sum = sorted[each - 1] + sorted[each - 2];
                if (!out[g] && sum < least) {
                    least = sum;
                    worst = g;
                }
            }
            out[worst] = true;
        }
        for (int e = 0; e < ranks.length; e++) {
            ranks[e] = out[e / each] ? 0 : ranks[e];
        }
        double[] sorted = ranks.clone();
        Arrays.sort(sorted);
        double last = sorted[sorted.length - size("num_experts_per_tok")];
        double total = 0;
        boolean narrow = tensors.containsKey(p + "fc1_latent_proj.weight");
        double[] read = narrow ? linear(p + "fc1_latent_proj", x) : x;
        double[] sum = new double[read.length];
        for (int e = 0; e < scores.length; e++) {
            if (ranks[e] >= last) {
                total += scores[e];
                ReferenceMath.add(sum, squared(p + "experts." + e + ".", read), scores[e]);
            }
        }
        boolean whole = config.path("norm_topk_prob").asBoolean() && size("num_experts_per_tok") > 1;
        sum = ReferenceMath.times(sum, factor("routed_scaling_factor") / (whole ? total : 1));
        sum = narrow ? linear(p + "fc2_latent_proj", sum) : sum;
        if (tensors.containsKey(p + "shared_experts.up_proj.weight")) {
            ReferenceMath.add(sum, squared(p + "shared_experts.", x), 1);
        }
        return sum;
    }

    /// One kind of layer, whose norms have an epsilon that config.json does not say.
    private double[][] mamba(int[] ids) {
        double eps = factor("layer_norm_epsilon");
        double[][] h = embedded("backbone.embeddings.weight", ids, 1);
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            double[][] x = norms(h, "backbone.layers." + l + ".norm", 1e-5);
            double[][] out = space("backbone.layers." + l + ".mixer.", x, size("num_heads"), size("head_dim"), size("state_size"), 1, eps);
            for (int t = 0; t < h.length; t++) {
                ReferenceMath.add(h[t], out[t], 1);
            }
        }
        String head = tensors.containsKey("lm_head.weight") ? "lm_head" : "backbone.embeddings";
        return Arrays.stream(norms(h, "backbone.norm_f", eps)).map(v -> linear(head, v)).toArray(double[][]::new);
    }

    /// The mixer of the first Mamba: what a dimension's state `n` holds of token `s` when `t` reads it is a product of what the steps after `s` leave.
    private double[][] selective(String p, double[][] x, int states, int taps, boolean norms) {
        double[] direct = tensors.get(p + "D");
        double[] rates = tensors.get(p + "A_log");
        double[] kernel = tensors.get(p + "conv1d.weight");
        double[] bias = tensors.get(p + "conv1d.bias");
        int width = direct.length;
        int rank = tensors.get(p + "dt_proj.weight").length / width;
        double[][] in = Arrays.stream(x).map(v -> linear(p + "in_proj", v)).toArray(double[][]::new);
        double[][] values = new double[x.length][width];
        double[][] steps = new double[x.length][];
        double[][] writes = new double[x.length][];
        double[][] reads = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            for (int c = 0; c < width; c++) {
                double sum = bias == null ? 0 : bias[c];
                for (int k = Math.max(0, taps - 1 - t); k < taps; k++) {
                    sum += kernel[c * taps + k] * in[t + k - taps + 1][c];
                }
                values[t][c] = ReferenceMath.silu(sum);
            }
            double[] all = linear(p + "x_proj", values[t]);
            double[] made = Arrays.copyOf(all, rank);
            writes[t] = Arrays.copyOfRange(all, rank, rank + states);
            reads[t] = Arrays.copyOfRange(all, rank + states, rank + 2 * states);
            if (norms) {
                made = norm(made, tensors.get(p + "dt_layernorm.weight"), 1, factor("rms_norm_eps"));
                writes[t] = norm(writes[t], tensors.get(p + "b_layernorm.weight"), 1, factor("rms_norm_eps"));
                reads[t] = norm(reads[t], tensors.get(p + "c_layernorm.weight"), 1, factor("rms_norm_eps"));
            }
            steps[t] = Arrays.stream(linear(p + "dt_proj", made)).map(v -> Math.log1p(Math.exp(v))).toArray();
        }
        double[][] out = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            double[] read = new double[width];
            for (int c = 0; c < width; c++) {
                read[c] = direct[c] * values[t][c];
                double time = 0;
                for (int s = t; s >= 0; s--) {
                    for (int n = 0; n < states; n++) {
                        read[c] += reads[t][n] * writes[s][n] * steps[s][c] * values[s][c] * Math.exp(-Math.exp(rates[c * states + n]) * time);
                    }
                    time += steps[s][c];
                }
                read[c] *= ReferenceMath.silu(in[t][width + c]);
            }
            out[t] = linear(p + "out_proj", read);
        }
        return out;
    }

    private double[][] first(int[] ids) {
        double[][] h = embedded("backbone.embeddings.weight", ids, 1);
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            double[][] out = selective("backbone.layers." + l + ".mixer.", norms(h, "backbone.layers." + l + ".norm", 1e-5), size("state_size"), size("conv_kernel"), false);
            for (int t = 0; t < h.length; t++) {
                ReferenceMath.add(h[t], out[t], 1);
            }
        }
        String head = tensors.containsKey("lm_head.weight") ? "lm_head" : "backbone.embeddings";
        return Arrays.stream(norms(h, "backbone.norm_f", 1e-5)).map(v -> linear(head, v)).toArray(double[][]::new);
    }

    private double[][] jamba(int[] ids) {
        double eps = factor("rms_norm_eps");
        double[][] h = embedded("model.embed_tokens.weight", ids, 1);
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            String p = "model.layers." + l + ".";
            double[][] x = norms(h, p + "input_layernorm", eps);
            double[][] out = tensors.containsKey(p + "self_attn.q_proj.weight") ? attention(p + "self_attn.", x, false)
                    : selective(p + "mamba.", x, size("mamba_d_state"), size("mamba_d_conv"), true);
            for (int t = 0; t < h.length; t++) {
                ReferenceMath.add(h[t], out[t], 1);
                double[] fed = norm(h[t], tensors.get(p + "pre_ff_layernorm.weight"), 1, eps);
                ReferenceMath.add(h[t], tensors.containsKey(p + "feed_forward.router.weight") ? chosen(p + "feed_forward.", fed) : gated(p + "feed_forward.", fed), 1);
            }
        }
        String head = tensors.containsKey("lm_head.weight") ? "lm_head" : "model.embed_tokens";
        return Arrays.stream(norms(h, "model.final_layernorm", eps)).map(v -> linear(head, v)).toArray(double[][]::new);
    }

    /// The softmax is that of the chosen ones alone.
    private double[] chosen(String p, double[] x) {
        double[] outputs = linear(p + "router", x);
        double[] sorted = outputs.clone();
        Arrays.sort(sorted);
        double last = sorted[sorted.length - size("num_experts_per_tok")];
        double total = Arrays.stream(outputs).filter(o -> o >= last).map(Math::exp).sum();
        double[] out = new double[hidden];
        for (int e = 0; e < outputs.length; e++) {
            if (outputs[e] >= last) {
                ReferenceMath.add(out, gated(p + "experts." + e + ".", x), Math.exp(outputs[e]) / total);
            }
        }
        return out;
    }

    private double[] gated(String p, double[] x) {
        double[] gate = linear(p + "gate_proj", x);
        double[] up = linear(p + "up_proj", x);
        Arrays.setAll(up, i -> ReferenceMath.silu(gate[i]) * up[i]);
        return linear(p + "down_proj", up);
    }

    /// @param stretches of what is read that are normalised each for itself
    private double[][] space(String p, double[][] x, int heads, int headDim, int states, int stretches, double eps) {
        double[][] in = Arrays.stream(x).map(v -> linear(p + "in_proj", v)).toArray(double[][]::new);
        double[][] read = read(p, in, heads, headDim, size("n_groups"), states, size("conv_kernel"),
                config.path("time_step_limit").path(0).asDouble(0), config.path("time_step_limit").path(1).asDouble(Double.MAX_VALUE));
        double[][] out = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            for (int i = 0; i < read[t].length; i++) {
                read[t][i] *= ReferenceMath.silu(in[t][i]);
            }
            out[t] = linear(p + "out_proj", norm(read[t], tensors.get(p + "norm.weight"), stretches, eps));
        }
        return out;
    }

    /// What states give, and each head's own input. The matrix is that of a sum over all tokens before: what is left of the input of `s` at `t` is a product of what the steps
    /// after it leave.
    ///
    /// @param in per token gates, the inputs of heads, what is written and read with, and steps
    private double[][] read(String p, double[][] in, int heads, int headDim, int groups, int states, int taps, double least, double most) {
        int width = heads * headDim;
        int convolved = width + 2 * groups * states;
        double[] kernel = tensors.get(p + "conv1d.weight");
        double[] bias = tensors.get(p + "conv1d.bias");
        double[][] mixed = new double[in.length][convolved];
        for (int t = 0; t < in.length; t++) {
            for (int c = 0; c < convolved; c++) {
                double sum = bias == null ? 0 : bias[c];
                for (int k = 0; k < taps; k++) {
                    int seen = t + k - taps + 1;
                    sum += seen < 0 ? 0 : kernel[c * taps + k] * in[seen][width + c];
                }
                mixed[t][c] = ReferenceMath.silu(sum);
            }
        }
        double[][] out = new double[in.length][width];
        for (int h = 0; h < heads; h++) {
            int write = width + h / (heads / groups) * states;
            int read = write + groups * states;
            double rate = -Math.exp(tensors.get(p + "A_log")[h]);
            for (int t = 0; t < in.length; t++) {
                double left = 1;
                for (int s = t; s >= 0; s--) {
                    double step = Math.min(most, Math.max(least, Math.log1p(Math.exp(in[s][width + convolved + h] + tensors.get(p + "dt_bias")[h]))));
                    double dot = 0;
                    for (int n = 0; n < states; n++) {
                        dot += mixed[s][write + n] * mixed[t][read + n];
                    }
                    double share = dot * step * left + (s == t ? tensors.get(p + "D")[h] : 0);
                    for (int i = h * headDim; i < (h + 1) * headDim; i++) {
                        out[t][i] += share * mixed[s][i];
                    }
                    left *= Math.exp(rate * step);
                }
            }
        }
        return out;
    }

    /// @param falcon whether queries and keys turn, by halves, and are multiplied first
    private double[][] attention(String p, double[][] x, boolean falcon) {
        int heads = size("num_attention_heads");
        int kvHeads = size("num_key_value_heads");
        int d = size("head_dim") == 0 ? hidden / heads : size("head_dim");
        double by = falcon ? factor("attention_in_multiplier") : 1;
        double[][] q = new double[x.length][];
        double[][] k = new double[x.length][];
        double[][] v = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            q[t] = biased(p + "q_proj", x[t], by);
            k[t] = biased(p + "k_proj", x[t], by);
            v[t] = linear(p + "v_proj", x[t]);
            if (falcon) {
                turn(q[t], t, d);
                turn(k[t], t, d);
            }
        }
        double[][] out = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            double[] all = new double[heads * d];
            for (int h = 0; h < heads; h++) {
                int key = h * kvHeads / heads * d;
                double[] weights = new double[t + 1];
                for (int s = 0; s <= t; s++) {
                    for (int i = 0; i < d; i++) {
                        weights[s] += q[t][h * d + i] * k[s][key + i] / Math.sqrt(d);
                    }
                }
                double total = Arrays.stream(weights).map(Math::exp).sum();
                for (int s = 0; s <= t; s++) {
                    for (int i = 0; i < d; i++) {
                        all[h * d + i] += Math.exp(weights[s]) / total * v[s][key + i];
                    }
                }
            }
            out[t] = biased(p + "o_proj", all, falcon ? factor("attention_out_multiplier") : 1);
        }
        return out;
    }

    private void turn(double[] x, int position, int d) {
        boolean neighbours = config.path("rope_traditional").asBoolean();
        for (int from = 0; from < x.length; from += d) {
            for (int i = 0; i < d / 2; i++) {
                double angle = position * Math.pow(factor("rope_theta"), -2.0 * i / d);
                int a = from + (neighbours ? 2 * i : i);
                int b = neighbours ? a + 1 : a + d / 2;
                double first = x[a];
                x[a] = first * Math.cos(angle) - x[b] * Math.sin(angle);
                x[b] = first * Math.sin(angle) + x[b] * Math.cos(angle);
            }
        }
    }

    /// Multiplied before the bias is added.
    private double[] biased(String path, double[] x, double by) {
        double[] out = linear(path, x);
        double[] bias = tensors.get(path + ".bias");
        for (int i = 0; i < out.length; i++) {
            double added = bias == null ? 0 : bias[i];
            out[i] = (out[i] - added) * by + added;
        }
        return out;
    }

    private double[][] falcon(int[] ids) {
        double eps = factor("rms_norm_eps");
        double[][] h = embedded("model.embed_tokens.weight", ids, factor("embedding_multiplier"));
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            String p = "model.layers." + l + ".";
            double[][] x = norms(h, p + "input_layernorm", eps);
            double[][] attended = attention(p + "self_attn.", x, true);
            double[][] mixed = falconSpace(p + "mamba.", x, eps);
            for (int t = 0; t < h.length; t++) {
                ReferenceMath.add(h[t], attended[t], 1);
                ReferenceMath.add(h[t], mixed[t], 1);
                double[] fed = norm(h[t], tensors.get(p + "pre_ff_layernorm.weight"), 1, eps);
                double[] gate = biased(p + "feed_forward.gate_proj", fed, config.path("mlp_multipliers").path(0).asDouble());
                double[] up = linear(p + "feed_forward.up_proj", fed);
                Arrays.setAll(gate, i -> ReferenceMath.silu(gate[i]) * up[i]);
                ReferenceMath.add(h[t], biased(p + "feed_forward.down_proj", gate, config.path("mlp_multipliers").path(1).asDouble()), 1);
            }
        }
        String head = tensors.containsKey("lm_head.weight") ? "lm_head" : "model.embed_tokens";
        return Arrays.stream(norms(h, "model.final_layernorm", eps)).map(v -> ReferenceMath.times(linear(head, v), factor("lm_head_multiplier"))).toArray(double[][]::new);
    }

    private double[][] falconSpace(String p, double[][] x, double eps) {
        int heads = size("mamba_n_heads");
        int width = size("mamba_d_ssm");
        int shared = size("mamba_n_groups") * size("mamba_d_state");
        double[] bias = tensors.get(p + "in_proj.bias");
        double[][] in = new double[x.length][];
        int[] ends = {width, 2 * width, 2 * width + shared, 2 * width + 2 * shared, 2 * width + 2 * shared + heads};
        for (int t = 0; t < x.length; t++) {
            in[t] = biased(p + "in_proj", x[t], factor("ssm_in_multiplier"));
            int part = 0;
            for (int i = 0; i < in[t].length; i++) {
                while (i >= ends[part]) {
                    part++;
                }
                double added = bias == null ? 0 : bias[i];
                in[t][i] = (in[t][i] - added) * config.path("ssm_multipliers").path(part).asDouble() + added;
            }
        }
        double[][] read = read(p, in, heads, size("mamba_d_head"), size("mamba_n_groups"), size("mamba_d_state"), size("mamba_d_conv"), 0, Double.MAX_VALUE);
        boolean norms = config.path("mamba_rms_norm").asBoolean();
        boolean first = config.path("mamba_norm_before_gate").asBoolean();
        double[] weight = tensors.get(p + "norm.weight");
        double[][] out = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            double[] gates = in[t];
            double[] y = norms && first ? norm(read[t], weight, 1, eps) : read[t];
            for (int i = 0; i < width; i++) {
                y[i] *= ReferenceMath.silu(gates[i]);
            }
            out[t] = biased(p + "out_proj", norms && !first ? norm(y, weight, 1, eps) : y, factor("ssm_out_multiplier"));
        }
        return out;
    }
}
