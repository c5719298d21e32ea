package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/// The config.json of the output: the model's own keys, made such that mlx_lm's loader finds what it requires.
final class OutputKeys {
    private OutputKeys() {
    }

    static ObjectNode of(ModelConfig config, Family family, boolean tied) {
        ObjectNode out = config.json().deepCopy();
        out.remove(List.of("_name_or_path", "vision_config", "quantization", "quantization_config"));
        if (out.path("text_config") instanceof ObjectNode text) {
            text.remove(List.of("_name_or_path", "quantization_config"));
            complete(text, family.rules().path("text_required"));
        }
        complete(out, family.rules().path("required"));
        JsonNode head = family.rules().path("head");
        if (head.path("present").asText().equals("unless_tied") && family.scope(out) instanceof ObjectNode read) {
            read.put(head.path("tie_key").asText(), tied);
        }
        return out;
    }

    /// Keys that newer configs hold elsewhere or leave out.
    private static void complete(ObjectNode node, JsonNode required) {
        JsonNode rope = node.path("rope_parameters");
        for (JsonNode key : required) {
            String name = key.asText();
            if (node.has(name)) {
                continue;
            }
            switch (name) {
                case "rope_theta", "partial_rotary_factor" -> {
                    if (rope.has(name)) {
                        node.set(name, rope.get(name));
                    }
                }
                case "rope_scaling" -> {
                    boolean scaled = rope.isObject() && !rope.path("rope_type").asText("default").equals("default");
                    node.set("rope_scaling", scaled ? rope.deepCopy() : node.nullNode());
                }
                case "head_dim" -> {
                    if (node.path("hidden_size").isNumber() && node.path("num_attention_heads").asLong() > 0) {
                        node.put("head_dim", node.path("hidden_size").asLong() / node.path("num_attention_heads").asLong());
                    }
                }
                case "num_key_value_heads" -> {
                    if (node.has("num_attention_heads")) {
                        node.set("num_key_value_heads", node.get("num_attention_heads"));
                    }
                }
                case "tie_word_embeddings" -> node.put("tie_word_embeddings", false);
                case "mlp_only_layers" -> node.putArray("mlp_only_layers");
                case "decoder_sparse_step" -> node.put("decoder_sparse_step", 1);
                case "norm_topk_prob", "attention_bias", "mlp_bias", "use_qk_norm" -> node.put(name, false);
                default -> {
                    // Nothing is known to stand in for it; mlx_lm names the key when it misses it.
                }
            }
        }
    }
}
