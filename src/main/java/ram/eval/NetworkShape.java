package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.StreamSupport;
import ram.InputException;
import ram.layout.Layouts;
import ram.layout.ModelConfig;

/// What a forward pass must know of a decoder, read from config.json.
///
/// @param window per layer the number of positions that a token sees, itself included; 0 for all. As in mlx_lm, only layers that `layer_types` calls
///     sliding have one, in families whose class reads that: a `sliding_window` without `layer_types` has no effect there
/// @param block the name of the feed-forward part
/// @param experts routed experts in each layer, 0 where the layer is dense
public record NetworkShape(int hidden, int layers, int heads, int kvHeads, int headDim, float eps, Rope rope, List<Integer> window, QkNorm qkNorm, String block,
                    List<Integer> experts, int expertsPerToken, boolean normalizeTopK, boolean sharedExpert, int vocabulary) {
    /// Whether queries and keys are normalised: not, each head for itself, or all heads together.
    public enum QkNorm { NONE, HEAD, WHOLE }

    private static final int LARGEST = 1 << 24;
    private static final int MOST_LAYERS = 10_000;

    static final Set<String> FAMILIES = Set.of("llama", "mistral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "mixtral", "olmoe");

    /// The families whose class in mlx_lm reads `layer_types`.
    private static final Set<String> WINDOWED = Set.of("llama", "mistral");

    /// @throws InputException for other families and for configurations that lack a number
    static NetworkShape of(ModelConfig read) {
        ModelConfig config = Layouts.withDefaults(read);
        String type = config.modelType();
        JsonNode json = config.json();
        if (!FAMILIES.contains(type)) {
            throw InputException.in(config.file(), "is of model_type '" + type + "', which the evaluation cannot run; it runs " + String.join(", ", FAMILIES.stream().sorted().toList()));
        }
        if (!Set.of("silu", "swish").contains(json.path("hidden_act").asText("silu"))) {
            throw InputException.in(config.file(), "asks for the activation '" + json.path("hidden_act").asText() + "'; the evaluation knows silu only");
        }
        if (json.path("clip_qkv").isNumber()) {
            throw InputException.in(config.file(), "asks for clip_qkv, which the evaluation does not know");
        }
        int hidden = number(config, "hidden_size");
        int layers = number(config, "num_hidden_layers");
        int heads = number(config, "num_attention_heads");
        int kvHeads = json.path("num_key_value_heads").asInt(heads);
        int headDim = json.path("head_dim").asInt(hidden / heads);
        if (kvHeads < 1 || heads % kvHeads != 0 || headDim < 2 || headDim % 2 != 0) {
            throw InputException.in(config.file(), "has " + heads + " heads, " + kvHeads + " key-value heads and a head_dim of " + headDim + ", which do not go together");
        }
        QkNorm norm = switch (type) {
            case "qwen3", "qwen3_moe" -> QkNorm.HEAD;
            case "olmoe" -> QkNorm.WHOLE;
            default -> QkNorm.NONE;
        };
        boolean mixture = Set.of("qwen2_moe", "qwen3_moe", "mixtral", "olmoe").contains(type);
        int experts = !mixture ? 0 : number(config, type.equals("mixtral") ? "num_local_experts" : "num_experts");
        return new NetworkShape(hidden, layers, heads, kvHeads, headDim, (float) json.path("rms_norm_eps").asDouble(1e-6), Rope.of(config, headDim),
                windows(json, type, layers), norm, type.equals("mixtral") ? "block_sparse_moe" : "mlp", expertsByLayer(json, type, layers, experts),
                mixture ? number(config, "num_experts_per_tok") : 0, normalizes(type, json),
                type.equals("qwen2_moe"), number(config, "vocab_size"));
    }

    /// As in mlx_lm, whose class qwen2_moe does not read `norm_topk_prob`.
    private static boolean normalizes(String type, JsonNode json) {
        return type.equals("mixtral") || !type.equals("qwen2_moe") && json.path("norm_topk_prob").asBoolean(false);
    }

    private static int number(ModelConfig config, String key) {
        JsonNode node = config.json().path(key);
        int value = node.canConvertToInt() ? node.intValue() : 0;
        if (value < 1 || value > LARGEST || key.equals("num_hidden_layers") && value > MOST_LAYERS) {
            throw InputException.in(config.file(), "has no usable " + key + "; download it again");
        }
        return value;
    }

    private static List<Integer> windows(JsonNode json, String type, int layers) {
        List<Integer> out = new ArrayList<>();
        for (int l = 0; l < layers; l++) {
            boolean sliding = WINDOWED.contains(type) && json.path("layer_types").path(l).asText("").equals("sliding_attention");
            out.add(sliding ? json.path("sliding_window").asInt(0) : 0);
        }
        return List.copyOf(out);
    }

    private static List<Integer> expertsByLayer(JsonNode json, String type, int layers, int experts) {
        Set<Integer> dense = Set.copyOf(StreamSupport.stream(json.path("mlp_only_layers").spliterator(), false).map(JsonNode::asInt).distinct().toList());
        int step = Math.max(1, json.path("decoder_sparse_step").asInt(1));
        boolean mixed = type.equals("qwen3_moe") || type.equals("qwen2_moe");
        List<Integer> out = new ArrayList<>();
        for (int l = 0; l < layers; l++) {
            out.add(mixed && (dense.contains(l) || (l + 1) % step != 0) ? 0 : experts);
        }
        return List.copyOf(out);
    }
}
