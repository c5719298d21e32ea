package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/// Multi-head latent attention in double precision with the weights of a Hugging Face checkpoint, one score at a time: keys are never made, each head takes
/// its queries into the space of the latent vectors instead.
final class ReferenceLatent {
    private final JsonNode config;
    private final String type;
    private final Map<String, double[]> tensors;
    private final int heads;
    private final int rank;
    private final int plain;
    private final int turned;
    private final int value;

    ReferenceLatent(JsonNode config, Map<String, double[]> tensors) {
        this.config = config;
        this.type = config.path("model_type").asText();
        this.tensors = tensors;
        heads = config.path("num_attention_heads").asInt();
        rank = config.path("kv_lora_rank").asInt();
        plain = config.path("qk_nope_head_dim").asInt();
        turned = config.path("qk_rope_head_dim").asInt();
        value = type.equals("minicpm3") ? config.path("hidden_size").asInt() / heads : config.path("v_head_dim").asInt();
    }

    /// What the attention of a layer adds to the states.
    double[][] attention(String p, double[][] x) {
        int n = x.length;
        double[][] queries = new double[n][];
        double[][] latents = new double[n][];
        double[][] shared = new double[n][];
        for (int t = 0; t < n; t++) {
            queries[t] = config.path("q_lora_rank").isNull() ? times(p + "q_proj", x[t]) : times(p + "q_b_proj", norm(times(p + "q_a_proj", x[t]), p + "q_a_layernorm"));
            double[] both = times(p + "kv_a_proj_with_mqa", x[t]);
            latents[t] = norm(Arrays.copyOf(both, rank), p + "kv_a_layernorm");
            shared[t] = turn(Arrays.copyOfRange(both, rank, rank + turned), t);
        }
        double[] up = tensors.get(p + "kv_b_proj.weight");
        double[][] out = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] mixed = new double[heads * value];
            for (int h = 0; h < heads; h++) {
                int own = h * (plain + turned);
                double[] turnedQuery = turn(Arrays.copyOfRange(queries[t], own + plain, own + plain + turned), t);
                double[] absorbed = new double[rank];
                for (int i = 0; i < plain; i++) {
                    for (int r = 0; r < rank; r++) {
                        absorbed[r] += queries[t][own + i] * up[(h * (plain + value) + i) * rank + r];
                    }
                }
                double[] average = new double[rank];
                double total = 0;
                for (int s = 0; s <= t; s++) {
                    double weight = Math.exp((dot(absorbed, latents[s]) + dot(turnedQuery, shared[s])) * scale());
                    total += weight;
                    for (int r = 0; r < rank; r++) {
                        average[r] += weight * latents[s][r];
                    }
                }
                for (int i = 0; i < value; i++) {
                    for (int r = 0; r < rank; r++) {
                        mixed[h * value + i] += up[(h * (plain + value) + plain + i) * rank + r] * average[r] / total;
                    }
                }
            }
            out[t] = times(p + "o_proj", mixed);
        }
        return out;
    }

    private JsonNode scaling() {
        return config.path(type.equals("glm_moe_dsa") ? "rope_parameters" : "rope_scaling");
    }

    private double scale() {
        JsonNode scaling = scaling();
        double all = scaling.path("mscale_all_dim").asDouble();
        boolean grows = !List.of("minicpm3", "youtu_llm").contains(type) && all != 0 && scaling.path("factor").asDouble() > 1;
        double growth = grows ? 0.1 * all * Math.log(scaling.path("factor").asDouble()) + 1 : 1;
        return growth * growth / Math.sqrt(plain + turned);
    }

    private double[] norm(double[] x, String name) {
        double eps = switch (type) {
            case "minicpm3" -> 1e-5;
            case "glm4_moe_lite", "youtu_llm" -> config.path("rms_norm_eps").asDouble();
            default -> 1e-6;
        };
        double[] weight = tensors.get(name + ".weight");
        double root = Math.sqrt(dot(x, x) / x.length + eps);
        double[] out = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            out[i] = x[i] / root * weight[i];
        }
        return out;
    }

    /// Pairs as complex numbers: neighbours but for minicpm3, which has one of each half.
    private double[] turn(double[] x, int position) {
        boolean halves = type.equals("minicpm3") || config.has("rope_traditional") && !config.path("rope_traditional").asBoolean();
        double[] out = new double[turned];
        for (int i = 0; i < turned / 2; i++) {
            int real = halves ? i : 2 * i;
            int imaginary = halves ? i + turned / 2 : 2 * i + 1;
            double angle = position * frequency(i);
            double size = magnitude();
            out[real] = size * (x[real] * Math.cos(angle) - x[imaginary] * Math.sin(angle));
            out[imaginary] = size * (x[real] * Math.sin(angle) + x[imaginary] * Math.cos(angle));
        }
        return out;
    }

    private String kind() {
        JsonNode scaling = scaling();
        return !scaling.isObject() ? "default" : type.equals("deepseek_v2") ? "yarn" : type.equals("minicpm3") ? "longrope" : scaling.path("type").asText(scaling.path("rope_type").asText());
    }

    private double frequency(int i) {
        JsonNode scaling = scaling();
        double theta = scaling.path("rope_theta").asDouble(config.path("rope_theta").asDouble());
        double plainly = Math.pow(theta, -2.0 * i / turned);
        switch (kind()) {
            case "linear" -> {
                return plainly / scaling.path("factor").asDouble();
            }
            case "longrope" -> {
                JsonNode factors = scaling.path("long_factor");
                return plainly / (factors.isArray() ? factors.path(i).asDouble() : factors.asDouble(1));
            }
            case "yarn" -> {
                double original = scaling.path("original_max_position_embeddings").asDouble();
                double low = Math.max(0, Math.floor(turned * Math.log(original / scaling.path("beta_fast").asDouble(32) / (2 * Math.PI)) / Math.log(theta) / 2));
                double high = Math.min(turned - 1, Math.ceil(turned * Math.log(original / scaling.path("beta_slow").asDouble(1) / (2 * Math.PI)) / Math.log(theta) / 2));
                double stretched = Math.min(1, Math.max(0, (i - low) / (high - low)));
                return plainly * (1 - stretched) + plainly / scaling.path("factor").asDouble() * stretched;
            }
            default -> {
                return plainly;
            }
        }
    }

    private double magnitude() {
        JsonNode scaling = scaling();
        double log = Math.log(Math.max(1, scaling.path("factor").asDouble(1)));
        return switch (kind()) {
            case "yarn" -> (0.1 * scaling.path("mscale").asDouble(1) * log + 1) / (0.1 * scaling.path("mscale_all_dim").asDouble() * log + 1);
            case "longrope" -> {
                double before = scaling.path("original_max_position_embeddings").asDouble(4096);
                double longer = config.path("max_position_embeddings").asDouble() / before;
                yield longer <= 1 ? 1 : Math.sqrt(1 + Math.log(longer) / Math.log(before));
            }
            default -> 1;
        };
    }

    private double[] times(String path, double[] x) {
        return ReferenceMath.linear(tensors, path, x);
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }
}
