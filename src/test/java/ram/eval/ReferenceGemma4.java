package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.IntStream;

/// Gemma 4 in double precision with the weights of a Hugging Face checkpoint, as plainly as it can be said.
final class ReferenceGemma4 {
    private final JsonNode config;
    private final Map<String, double[]> tensors;
    private final int hidden;
    private final int layers;
    private final int heads;
    private final double eps;

    ReferenceGemma4(JsonNode config, Map<String, double[]> tensors) {
        this.config = config;
        this.tensors = tensors;
        hidden = config.path("hidden_size").asInt();
        layers = config.path("num_hidden_layers").asInt();
        heads = config.path("num_attention_heads").asInt();
        eps = config.path("rms_norm_eps").asDouble();
    }

    /// Keys and values, by position.
    record Memory(double[][] keys, double[][] values) {
    }

    /// The logits of each position.
    double[][] logits(int[] ids) {
        int n = ids.length;
        double[][] embedded = new double[n][];
        double[][] h = new double[n][];
        for (int t = 0; t < n; t++) {
            // the root of 32 in bfloat16
            embedded[t] = ReferenceMath.times(row("model.embed_tokens.weight", ids[t], hidden), 5.65625);
            h[t] = embedded[t].clone();
        }
        Map<String, Memory> last = new HashMap<>();
        for (int l = 0; l < layers; l++) {
            String p = "model.layers." + l + ".";
            double[][] x = new double[n][];
            for (int t = 0; t < n; t++) {
                x[t] = norm(h[t], p + "input_layernorm.weight");
            }
            double[][] attended = attention(p + "self_attn.", l, x, last);
            for (int t = 0; t < n; t++) {
                ReferenceMath.add(h[t], norm(attended[t], p + "post_attention_layernorm.weight"), 1);
                double[] fed = network(p + "mlp.", norm(h[t], p + "pre_feedforward_layernorm.weight"));
                if (config.path("enable_moe_block").asBoolean()) {
                    fed = norm(fed, p + "post_feedforward_layernorm_1.weight");
                    ReferenceMath.add(fed, norm(experts(p, h[t]), p + "post_feedforward_layernorm_2.weight"), 1);
                }
                ReferenceMath.add(h[t], norm(fed, p + "post_feedforward_layernorm.weight"), 1);
                int each = config.path("hidden_size_per_layer_input").asInt();
                if (each > 0) {
                    double[] projected = ReferenceMath.times(ReferenceMath.linear(tensors, "model.per_layer_model_projection", embedded[t]), 1 / Math.sqrt(hidden));
                    double[] own = norm(Arrays.copyOfRange(projected, l * each, l * each + each), "model.per_layer_projection_norm.weight");
                    double[] looked = row("model.embed_tokens_per_layer.weight", ids[t], layers * each);
                    double[] gate = ReferenceMath.linear(tensors, p + "per_layer_input_gate", h[t]);
                    for (int i = 0; i < each; i++) {
                        gate[i] = ReferenceMath.geluByTanh(gate[i]) * (own[i] + Math.sqrt(each) * looked[l * each + i]) / Math.sqrt(2);
                    }
                    ReferenceMath.add(h[t], norm(ReferenceMath.linear(tensors, p + "per_layer_projection", gate), p + "post_per_layer_input_norm.weight"), 1);
                }
                h[t] = ReferenceMath.times(h[t], tensors.get(p + "layer_scalar")[0]);
            }
        }
        double[][] out = new double[n][];
        double cap = config.path("final_logit_softcapping").asDouble();
        for (int t = 0; t < n; t++) {
            out[t] = ReferenceMath.linear(tensors, config.path("tie_word_embeddings").asBoolean() ? "model.embed_tokens" : "lm_head", norm(h[t], "model.norm.weight"));
            out[t] = Arrays.stream(out[t]).map(v -> cap * Math.tanh(v / cap)).toArray();
        }
        return out;
    }

    private boolean slides(int l) {
        int pattern = config.path("sliding_window_pattern").asInt(1);
        return config.path("layer_types").isArray() ? config.path("layer_types").path(l).asText().startsWith("sliding") : l % pattern < pattern - 1;
    }

    /// @param last keys and values of the last layer of each type that makes some
    double[][] attention(String p, int l, double[][] x, Map<String, Memory> last) {
        int n = x.length;
        boolean slides = slides(l);
        String type = slides ? "sliding_attention" : "full_attention";
        int d = config.path(slides || !config.has("global_head_dim") ? "head_dim" : "global_head_dim").asInt();
        if (l < layers - config.path("num_kv_shared_layers").asInt()) {
            double[][] keys = new double[n][];
            double[][] values = new double[n][];
            for (int t = 0; t < n; t++) {
                double[] made = ReferenceMath.linear(tensors, p + "k_proj", x[t]);
                keys[t] = turned(norm(made, p + "k_norm.weight"), d, t, type);
                boolean same = !slides && config.path("attention_k_eq_v").asBoolean();
                double[] ones = new double[d];
                Arrays.fill(ones, 1);
                values[t] = norm(same ? made : ReferenceMath.linear(tensors, p + "v_proj", x[t]), ones);
            }
            last.put(type, new Memory(keys, values));
        }
        Memory seen = last.get(type);
        int group = heads * d / seen.keys()[0].length;
        double[][] out = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] q = turned(norm(ReferenceMath.linear(tensors, p + "q_proj", x[t]), p + "q_norm.weight"), d, t, type);
            int first = slides ? Math.max(0, t + 1 - config.path("sliding_window").asInt()) : 0;
            double[] mixed = new double[heads * d];
            for (int head = 0; head < heads; head++) {
                int from = head / group * d;
                double[] w = new double[t + 1];
                for (int s = first; s <= t; s++) {
                    for (int i = 0; i < d; i++) {
                        w[s] += q[head * d + i] * seen.keys()[s][from + i];
                    }
                    w[s] = Math.exp(w[s]);
                }
                double total = Arrays.stream(w).sum();
                for (int s = first; s <= t; s++) {
                    for (int i = 0; i < d; i++) {
                        mixed[head * d + i] += w[s] / total * seen.values()[s][from + i];
                    }
                }
            }
            out[t] = ReferenceMath.linear(tensors, p + "o_proj", mixed);
        }
        return out;
    }

    /// Dimension i of the first half of a head with that of the second, or with its neighbour.
    private double[] turned(double[] x, int d, int position, String type) {
        JsonNode rope = config.path("rope_parameters").path(type);
        boolean some = rope.path("rope_type").asText().equals("proportional");
        double turned = some ? Math.floor(d * rope.path("partial_rotary_factor").asDouble(1)) : d;
        double[] out = x.clone();
        for (int from = 0; from < x.length; from += d) {
            for (int i = 0; 2 * i < turned; i++) {
                double angle = position / rope.path("factor").asDouble(1) / Math.pow(rope.path("rope_theta").asDouble(config.path(type.equals("sliding_attention") ? "rope_local_base_freq" : "rope_theta").asDouble()), 2.0 * i / d);
                boolean neighbours = config.path("rope_traditional").asBoolean();
                int a = from + (neighbours ? 2 * i : i);
                int b = neighbours ? a + 1 : a + d / 2;
                out[a] = x[a] * Math.cos(angle) - x[b] * Math.sin(angle);
                out[b] = x[a] * Math.sin(angle) + x[b] * Math.cos(angle);
            }
        }
        return out;
    }

    private double[] experts(String p, double[] h) {
        double[] scale = tensors.get(p + "router.scale");
        double[] ranks = ReferenceMath.linear(tensors, p + "router.proj", ReferenceMath.times(norm(h, scale), 1 / Math.sqrt(hidden)));
        int[] best = IntStream.range(0, ranks.length).boxed().sorted((a, b) -> Double.compare(ranks[b], ranks[a])).limit(config.path("top_k_experts").asInt()).mapToInt(e -> e).toArray();
        double total = Arrays.stream(best).mapToDouble(e -> Math.exp(ranks[e])).sum();
        double[] x = norm(h, p + "pre_feedforward_layernorm_2.weight");
        double[] out = new double[hidden];
        for (int e : best) {
            ReferenceMath.add(out, network(p + "experts." + e + ".", x), Math.exp(ranks[e]) / total * tensors.get(p + "router.per_expert_scale")[e]);
        }
        return out;
    }

    private double[] network(String p, double[] x) {
        double[] gate = ReferenceMath.linear(tensors, p + "gate_proj", x);
        double[] up = ReferenceMath.linear(tensors, p + "up_proj", x);
        Arrays.setAll(gate, i -> ReferenceMath.geluByTanh(gate[i]) * up[i]);
        return ReferenceMath.linear(tensors, p + "down_proj", gate);
    }

    private double[] norm(double[] x, String name) {
        return norm(x, tensors.get(name));
    }

    /// Each stretch as long as the weights.
    private double[] norm(double[] x, double[] w) {
        double[] out = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            int from = i / w.length * w.length;
            out[i] = x[i] / Math.sqrt(Arrays.stream(x, from, from + w.length).map(v -> v * v).sum() / w.length + eps) * w[i - from];
        }
        return out;
    }

    private double[] row(String name, int row, int width) {
        return Arrays.copyOfRange(tensors.get(name), row * width, (row + 1) * width);
    }
}
