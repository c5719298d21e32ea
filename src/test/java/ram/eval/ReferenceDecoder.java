package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

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
        headDim = config.path("head_dim").asInt(heads == 0 ? 0 : hidden / heads);
    }

    /// The logits of each position.
    double[][] logits(int[] ids) {
        if (TinyHybrid.SIZES.containsKey(type)) {
            return new ReferenceHybrid(config, tensors).logits(ids);
        }
        if (type.equals("gemma4_text")) {
            return new ReferenceGemma4(config, tensors).logits(ids);
        }
        if (type.equals("gemma3n_text")) {
            return new ReferenceGemma3n(config, tensors).logits(ids);
        }
        if (TinyMamba.SIZES.containsKey(type)) {
            return new ReferenceMamba(config, tensors).logits(ids);
        }
        int n = ids.length;
        double[][] h = new double[n][hidden];
        for (int t = 0; t < n; t++) {
            System.arraycopy(tensors.get(embedding() + ".weight"), ids[t] * hidden, h[t], 0, hidden);
            double factor = switch (type) {
                case "gemma", "gemma2" -> Math.sqrt(hidden);
                // the root of 32 in bfloat16
                case "gemma3_text" -> 5.65625;
                case "granite", "granitemoe" -> config.path("embedding_multiplier").asDouble();
                case "minicpm", "minicpm3" -> config.path("scale_emb").asDouble();
                default -> 1;
            };
            for (int i = 0; i < hidden; i++) {
                h[t][i] *= factor;
            }
        }
        for (int l = 0; l < config.path("num_hidden_layers").asInt(); l++) {
            String p = "model.layers." + l + ".";
            double[][] x = new double[n][];
            for (int t = 0; t < n; t++) {
                x[t] = normsOutputs() ? h[t] : norm(h[t], p + "input_layernorm");
            }
            double[][] a = attention(p + (type.equals("bailing_moe") ? "attention." : "self_attn."), l, x);
            for (int t = 0; t < n; t++) {
                double share = switch (type) {
                    case "granite", "granitemoe" -> config.path("residual_multiplier").asDouble();
                    case "minicpm", "minicpm3" -> config.path("scale_depth").asDouble() / Math.sqrt(config.path("num_hidden_layers").asDouble());
                    default -> 1;
                };
                if (type.startsWith("cohere") || type.equals("phi") || config.path("use_parallel_residual").asBoolean()) {
                    // both parts read the same
                    double[] beside = feedForward(p, l, x[t]);
                    ReferenceMath.add(h[t], a[t], 1);
                    ReferenceMath.add(h[t], beside, 1);
                    continue;
                }
                double[] mixed = switch (type) {
                    case "gemma2", "gemma3_text", "olmo2", "olmo3", "exaone4" -> norm(a[t], p + "post_attention_layernorm");
                    case "glm4" -> norm(a[t], p + "post_self_attn_layernorm");
                    default -> a[t];
                };
                ReferenceMath.add(h[t], mixed, share);
                double[] fed = switch (type) {
                    case "gemma2", "gemma3_text" -> norm(feedForward(p, l, norm(h[t], p + "pre_feedforward_layernorm")), p + "post_feedforward_layernorm");
                    case "olmo2", "olmo3", "exaone4" -> norm(feedForward(p, l, h[t]), p + "post_feedforward_layernorm");
                    case "glm4" -> norm(feedForward(p, l, norm(h[t], p + "post_attention_layernorm")), p + "post_mlp_layernorm");
                    default -> feedForward(p, l, norm(h[t], p + "post_attention_layernorm"));
                };
                ReferenceMath.add(h[t], fed, share);
            }
        }
        double[][] out = new double[n][];
        String head = tensors.containsKey("lm_head.weight") ? "lm_head" : embedding();
        for (int t = 0; t < n; t++) {
            out[t] = linear(head, norm(h[t], type.equals("phi") ? "model.final_layernorm" : "model.norm"));
            for (int i = 0; i < out[t].length; i++) {
                double factor = switch (type) {
                    case "cohere", "cohere2" -> config.path("logit_scale").asDouble(0.0625);
                    case "minicpm" -> config.path("dim_model_base").asDouble() / hidden;
                    case "minicpm3" -> config.path("tie_word_embeddings").asBoolean() ? 1 : config.path("dim_model_base").asDouble() / hidden;
                    default -> 1 / config.path("logits_scaling").asDouble(1);
                };
                out[t][i] = capped(out[t][i] * factor, "final_logit_softcapping");
            }
        }
        return out;
    }

    private String embedding() {
        return type.equals("bailing_moe") ? "model.word_embeddings" : "model.embed_tokens";
    }

    private double[][] attention(String p, int l, double[][] x) {
        if (config.has("kv_lora_rank")) {
            return new ReferenceLatent(config, tensors).attention(p, x);
        }
        int n = x.length;
        double[][] q = new double[n][];
        double[][] k = new double[n][];
        double[][] v = new double[n][];
        for (int t = 0; t < n; t++) {
            double[][] qkv = {null, null, null};
            if (type.equals("phi3") || type.equals("olmo") || type.equals("bailing_moe")) {
                double[] all = linear(p + (!type.equals("bailing_moe") ? "qkv_proj" : "query_key_value"), x[t]);
                int width = heads * headDim;
                int narrow = kvHeads * headDim;
                qkv[0] = Arrays.copyOfRange(all, 0, width);
                qkv[1] = Arrays.copyOfRange(all, width, width + narrow);
                qkv[2] = Arrays.copyOfRange(all, width + narrow, width + 2 * narrow);
            } else {
                qkv[0] = linear(p + "q_proj", x[t]);
                qkv[1] = linear(p + "k_proj", x[t]);
                qkv[2] = linear(p + "v_proj", x[t]);
            }
            if (type.equals("hunyuan_v1_dense")) {
                q[t] = normed(rotated(qkv[0], t, l), p + "query_layernorm");
                k[t] = normed(rotated(qkv[1], t, l), p + "key_layernorm");
            } else if (type.equals("bailing_moe")) {
                q[t] = rotated(normed(qkv[0], p + "query_layernorm"), t, l);
                k[t] = rotated(normed(qkv[1], p + "key_layernorm"), t, l);
            } else {
                q[t] = rotated(normed(qkv[0], p + "q_norm"), t, l);
                k[t] = rotated(normed(qkv[1], p + "k_norm"), t, l);
            }
            if (type.equals("ministral3")) {
                JsonNode rope = config.path("rope_parameters");
                double grown = 1 + rope.path("llama_4_scaling_beta").asDouble() * Math.log(1 + Math.floor(t / rope.path("original_max_position_embeddings").asDouble()));
                for (int i = 0; i < q[t].length; i++) {
                    q[t][i] *= grown;
                }
            }
            v[t] = qkv[2];
        }
        boolean sliding = slides(l);
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
                    w[s] = Math.exp(capped(dot * scale(), "attn_logit_softcapping"));
                    total += w[s];
                    // weighs like a position whose value is 0
                    total += s == t && tensors.containsKey(p + "sinks") ? Math.exp(tensors.get(p + "sinks")[h]) : 0;
                }
                for (int s = first; s <= t; s++) {
                    for (int i = 0; i < headDim; i++) {
                        mixed[h * headDim + i] += w[s] / total * v[s][g * headDim + i];
                    }
                }
            }
            out[t] = linear(p + (type.equals("phi") || type.equals("bailing_moe") ? "dense" : "o_proj"), mixed);
        }
        return out;
    }

    private boolean slides(int l) {
        if (type.equals("exaone4")) {
            String letters = config.path("sliding_window_pattern").asText("G");
            return letters.charAt(l % letters.length()) == 'L';
        }
        if (type.equals("gpt_oss") && !config.has("layer_types")) {
            return l % 2 == 0;
        }
        if (type.equals("olmo3") && !config.has("layer_types")) {
            return l % 4 != 3;
        }
        return type.equals("gemma3_text") || type.equals("cohere2") ? (l + 1) % config.path("sliding_window_pattern").asInt() != 0 : config.path("layer_types").path(l).asText().equals("sliding_attention");
    }

    private double scale() {
        return switch (type) {
            case "gemma2", "gemma3_text" -> Math.pow(config.path("query_pre_attn_scalar").asDouble(), -0.5);
            case "granite", "granitemoe" -> config.path("attention_multiplier").asDouble();
            default -> 1 / Math.sqrt(headDim);
        };
    }

    private double capped(double x, String key) {
        return type.equals("gemma2") ? config.path(key).asDouble() * Math.tanh(x / config.path(key).asDouble()) : x;
    }

    /// Whether norms stand after attention and feed-forward part only.
    private boolean normsOutputs() {
        return type.equals("olmo2") || type.equals("olmo3") || type.equals("exaone4");
    }

    private double[] normed(double[] x, String name) {
        double[] w = type.equals("olmo") && !name.contains("_norm") ? DoubleStream.generate(() -> 1).limit(x.length).toArray() : tensors.get(name + ".weight");
        if (w == null) {
            return x;
        }
        boolean centered = List.of("cohere", "cohere2", "stablelm", "starcoder2", "nemotron", "phi", "phimoe", "olmo").contains(type);
        double[] bias = tensors.get(name + ".bias");
        double[] out = x.clone();
        for (int from = 0; from < x.length; from += w.length) {
            if (centered) {
                double mean = Arrays.stream(x, from, from + w.length).average().orElseThrow();
                double variance = Arrays.stream(x, from, from + w.length).map(v -> (v - mean) * (v - mean)).average().orElseThrow();
                for (int i = 0; i < w.length; i++) {
                    // all three names have the same value here
                    double unit = (x[from + i] - mean) / Math.sqrt(variance + config.path("layer_norm_eps").asDouble());
                    out[from + i] = unit * (type.equals("nemotron") ? 1 + w[i] : w[i]) + (bias == null ? 0 : bias[i]);
                }
                continue;
            }
            double squares = 0;
            for (int i = 0; i < w.length; i++) {
                squares += x[from + i] * x[from + i];
            }
            for (int i = 0; i < w.length; i++) {
                out[from + i] = x[from + i] / Math.sqrt(squares / w.length + config.path("rms_norm_eps").asDouble()) * (w[i] + (type.startsWith("gemma") ? 1 : 0));
            }
        }
        return out;
    }

    private double[] norm(double[] x, String name) {
        return normed(x, name);
    }

    private double[] rotated(double[] x, int position, int layer) {
        if (type.equals("smollm3") && (config.has("no_rope_layers") ? config.path("no_rope_layers").path(layer).asInt() == 0 : (layer + 1) % config.path("no_rope_layer_interval").asInt() == 0)) {
            return x;
        }
        boolean letters = type.equals("exaone4") && config.path("sliding_window_pattern").isTextual();
        boolean some = type.equals("exaone_moe") && config.path("layer_types").toString().contains("sliding_attention");
        if ((letters || some || type.equals("cohere2")) && !slides(layer)) {
            return x;
        }
        JsonNode parameters = config.path("rope_parameters");
        double theta = parameters.path("rope_theta").asDouble(config.path("rope_theta").asDouble());
        boolean local = type.equals("gemma3_text") && slides(layer);
        if (local) {
            theta = config.path("rope_local_base_freq").asDouble();
        }
        int dims = config.path("rotary_dim").asInt((int) (headDim * config.path("partial_rotary_factor").asDouble(1)));
        if (type.equals("hunyuan_v1_dense")) {
            theta *= Math.pow(config.path("rope_scaling").path("alpha").asDouble(1), headDim / (headDim - 2.0));
        }
        JsonNode scaling = config.path("rope_scaling").isObject() ? config.path("rope_scaling") : parameters;
        String kind = local ? "default" : scaling.path("rope_type").asText(scaling.path("type").asText("default"));
        // read by no class of these in mlx_lm
        kind = List.of("qwen3_moe", "mixtral", "hunyuan_v1_dense", "glm4_moe", "cohere2", "phi", "glm").contains(type) || type.equals("olmo3") && slides(layer) ? "default" : kind;
        double factor = scaling.path("factor").asDouble(1);
        double original = scaling.path("original_max_position_embeddings").asDouble();
        double[] out = x.clone();
        for (int i = 0; i < dims / 2; i++) {
            double wavelength = 2 * Math.PI * Math.pow(theta, 2.0 * i / dims);
            double turn = 2 * Math.PI / wavelength;
            double magnitude = 1;
            boolean neighbours = List.of("glm", "glm4", "ernie4_5", "ernie4_5_moe", "cohere", "cohere2", "helium").contains(type);
            int first = neighbours ? 2 * i : i;
            int second = neighbours ? 2 * i + 1 : i + dims / 2;
            if (type.equals("internlm3") && !kind.equals("linear")) {
                turn *= 2;
            }
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
                case "yarn", "telechat3-yarn" -> {
                    double low = Math.floor(dims * Math.log(original / 32 / 2 / Math.PI) / 2 / Math.log(theta));
                    double high = Math.ceil(dims * Math.log(original / 2 / Math.PI) / 2 / Math.log(theta));
                    double kept = 1 - Math.min(1, Math.max(0, (i - Math.max(0, low)) / (Math.min(dims - 1, high) - Math.max(0, low))));
                    turn = turn * kept + turn / factor * (1 - kept);
                    magnitude = (0.1 * Math.log(factor) + 1) / (0.1 * scaling.path("mscale_all_dim").asDouble() * Math.log(factor) + 1);
                }
                case "su", "longrope" -> {
                    turn /= scaling.path("long_factor").path(i).asDouble();
                    double before = config.path("original_max_position_embeddings").asDouble();
                    double said = scaling.path("long_mscale").asDouble();
                    magnitude = said != 0 ? said : Math.sqrt(1 + Math.log(config.path("max_position_embeddings").asDouble() / before) / Math.log(before));
                }
                default -> { }
            }
            double cos = Math.cos(position * turn) * magnitude;
            double sin = Math.sin(position * turn) * magnitude;
            for (int h = 0; h < x.length; h += headDim) {
                double a = x[h + first];
                double b = x[h + second];
                out[h + first] = a * cos - b * sin;
                out[h + second] = a * sin + b * cos;
            }
        }
        return out;
    }

    private double[] feedForward(String layer, int l, double[] x) {
        boolean numbered = type.equals("mixtral") || type.equals("phimoe") || type.startsWith("minimax");
        String p = layer + (numbered || type.equals("granitemoe") ? "block_sparse_moe." : "mlp.");
        if (type.equals("starcoder2") || type.equals("nemotron")) {
            boolean starcoder = type.equals("starcoder2");
            double[] middle = linear(p + (starcoder ? "c_fc" : "up_proj"), x);
            for (int i = 0; i < middle.length; i++) {
                middle[i] = starcoder ? middle[i] * normalDistribution(middle[i]) : Math.max(0, middle[i]) * Math.max(0, middle[i]);
            }
            return linear(p + (starcoder ? "c_proj" : "down_proj"), middle);
        }
        if (type.equals("phi")) {
            return linear(p + "fc2", Arrays.stream(linear(p + "fc1", x)).map(ReferenceMath::geluByTanh).toArray());
        }
        if (type.equals("gpt_oss")) {
            return clampedExperts(p, x);
        }
        String router = p + (type.equals("granitemoe") ? "router.layer" : "gate");
        if (!tensors.containsKey(router + ".weight")) {
            return gated(p + "gate_proj", p + "up_proj", p + "down_proj", x);
        }
        double[] share = shares(linear(router, x), p);
        double[] out = new double[hidden];
        for (int e = 0; e < share.length; e++) {
            if (share[e] > 0) {
                String x1 = p + "experts." + e + ".";
                double[] y = numbered ? gated(x1 + "w1", x1 + "w3", x1 + "w2", x) : gated(x1 + "gate_proj", x1 + "up_proj", x1 + "down_proj", x);
                ReferenceMath.add(out, y, share[e]);
            }
        }
        if (tensors.containsKey(p + "shared_experts.up_proj.weight")) {
            ReferenceMath.add(out, gated(p + "shared_experts.gate_proj", p + "shared_experts.up_proj", p + "shared_experts.down_proj", x), 1);
        }
        if (tensors.containsKey(p + "shared_expert_gate.weight")) {
            double open = 1 / (1 + Math.exp(-linear(p + "shared_expert_gate", x)[0]));
            ReferenceMath.add(out, gated(p + "shared_expert.gate_proj", p + "shared_expert.up_proj", p + "shared_expert.down_proj", x), open);
        }
        return out;
    }

    /// With the tensors as a checkpoint has them: (experts, in, out), gates and what they gate in turn.
    private double[] clampedExperts(String p, double[] x) {
        double[] scores = linear(p + "router", x);
        int n = scores.length;
        Integer[] order = IntStream.range(0, n).boxed().sorted(Comparator.comparingDouble(e -> -scores[e])).toArray(Integer[]::new);
        int chosen = config.path("num_experts_per_tok").asInt();
        double total = Arrays.stream(order).limit(chosen).mapToDouble(e -> Math.exp(scores[e])).sum();
        double[] w1 = tensors.get(p + "experts.gate_up_proj");
        double[] w2 = tensors.get(p + "experts.down_proj");
        int width = w2.length / n / hidden;
        double[] out = new double[hidden];
        for (int i = 0; i < chosen; i++) {
            int e = order[i];
            double[] both = Arrays.copyOfRange(tensors.get(p + "experts.gate_up_proj_bias"), e * 2 * width, (e + 1) * 2 * width);
            for (int c = 0; c < hidden; c++) {
                for (int j = 0; j < 2 * width; j++) {
                    both[j] += x[c] * w1[(e * hidden + c) * 2 * width + j];
                }
            }
            double[] y = Arrays.copyOfRange(tensors.get(p + "experts.down_proj_bias"), e * hidden, (e + 1) * hidden);
            for (int j = 0; j < width; j++) {
                double gate = Math.min(7, both[2 * j]);
                double linear = Math.max(-7, Math.min(7, both[2 * j + 1]));
                double middle = gate / (1 + Math.exp(-1.702 * gate)) * (linear + 1);
                for (int c = 0; c < hidden; c++) {
                    y[c] += middle * w2[(e * width + j) * hidden + c];
                }
            }
            ReferenceMath.add(out, y, Math.exp(scores[e]) / total);
        }
        return out;
    }

    /// What counts of each expert, 0 for those that are not chosen.
    private double[] shares(double[] outputs, String p) {
        int n = outputs.length;
        boolean sigmoid = List.of("glm4_moe", "solar_open", "dots1", "minimax", "minimax_m2", "exaone_moe", "deepseek_v3", "kimi_k2", "joyai_llm_flash", "glm4_moe_lite", "deepseek_v32", "glm_moe_dsa").contains(type)
                || config.path("moe_gate_act").asText().equals("sigmoid") || config.path("score_function").asText().equals("sigmoid");
        double total = Arrays.stream(outputs).map(Math::exp).sum();
        double[] scores = Arrays.stream(outputs).map(o -> sigmoid ? 1 / (1 + Math.exp(-o)) : Math.exp(o) / total).toArray();
        double[] correction = tensors.getOrDefault(p + "gate.e_score_correction_bias", tensors.getOrDefault(p + "e_score_correction_bias",
                tensors.getOrDefault(p + "gate.expert_bias", new double[n])));
        double[] ranks = new double[n];
        for (int e = 0; e < n; e++) {
            ranks[e] = scores[e] + correction[e];
        }
        int groups = config.path("n_group").asInt(1);
        if (type.equals("deepseek_v2")) {
            if (config.path("topk_method").asText().equals("group_limited_greedy")) {
                // groups of two experts: none of the one whose better expert is the worse
                int worse = Math.max(ranks[0], ranks[1]) < Math.max(ranks[2], ranks[3]) ? 0 : 2;
                ranks[worse] = -1;
                ranks[worse + 1] = -1;
            }
        } else if (groups == 2 && config.path("topk_group").asInt() == 1) {
            // groups of two experts: the one with the smaller sum ranks with 0
            int worse = ranks[0] + ranks[1] < ranks[2] + ranks[3] ? 0 : 2;
            ranks[worse] = 0;
            ranks[worse + 1] = 0;
        }
        double[] share = new double[n];
        double picked = 0;
        int perToken = config.path(type.equals("ernie4_5_moe") ? "moe_k" : "num_experts_per_tok").asInt();
        for (int i = 0; i < perToken; i++) {
            int best = -1;
            for (int e = 0; e < n; e++) {
                if (share[e] == 0 && (best < 0 || ranks[e] > ranks[best])) {
                    best = e;
                }
            }
            share[best] = scores[best];
            picked += scores[best];
        }
        boolean always = List.of("mixtral", "phimoe", "granitemoe", "minimax", "minimax_m2", "ernie4_5_moe").contains(type);
        boolean normalized = always || !type.equals("deepseek_v2") && config.path("norm_topk_prob").asBoolean() && !((sigmoid || type.equals("bailing_moe")) && perToken == 1);
        double divisor = normalized ? picked : 1;
        return Arrays.stream(share).map(v -> v / divisor * config.path("routed_scaling_factor").asDouble(1)).toArray();
    }

    private double[] gated(String gate, String up, String down, double[] x) {
        double[] g;
        double[] u;
        if (List.of("phi3", "glm4", "glm", "olmo").contains(type)) {
            double[] both = linear(gate.replace("gate_proj", "gate_up_proj"), x);
            g = Arrays.copyOf(both, both.length / 2);
            u = Arrays.copyOfRange(both, both.length / 2, both.length);
            if (type.equals("olmo")) {
                double[] second = u;
                u = g;
                g = second;
            }
        } else {
            g = linear(gate, x);
            u = linear(up, x);
        }
        for (int i = 0; i < g.length; i++) {
            g[i] = activated(g[i]) * u[i];
        }
        return linear(down, g);
    }

    private double activated(double x) {
        return switch (type) {
            case "gemma2", "gemma3_text" -> ReferenceMath.geluByTanh(x);
            case "gemma" -> x * normalDistribution(x);
            default -> x / (1 + Math.exp(-x));
        };
    }

    /// By Simpson's rule.
    private static double normalDistribution(double x) {
        int n = 2000;
        double sum = 0;
        for (int i = 0; i <= n; i++) {
            double at = x * i / n;
            sum += Math.exp(-at * at / 2) * (i == 0 || i == n ? 1 : i % 2 == 1 ? 4 : 2);
        }
        return 0.5 + sum * x / n / 3 / Math.sqrt(2 * Math.PI);
    }

    private double[] linear(String path, double[] x) {
        return ReferenceMath.linear(tensors, path, x);
    }
}
