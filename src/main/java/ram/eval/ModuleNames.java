package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Optional;

/// What the modules of a decoder are called that all families have, where `networks.json` does not give them other names.
///
/// @param prefix what the paths of all modules begin with; empty for models of text alone
/// @param embedding path within that, as are `layers` without their numbers, `norm` after the last layer, and `head`
/// @param attention name within a layer, empty where its modules are the layer's own; within it are the projection of queries, keys and values where it is one (`fused`),
/// that of its outputs (`output`), and `sinks`
/// @param sinks the tensor with a score per head to which no position belongs; empty where there is none
/// @param feedForward name within a layer, as of `attention`; empty where the mixture of experts says it
public record ModuleNames(String prefix, String embedding, String layers, String norm, String head, String attention, String fused, String output, Optional<String> sinks,
                          Optional<String> feedForward) {
    static ModuleNames of(String prefix, JsonNode names) {
        return new ModuleNames(prefix, names.path("embedding").asText("model.embed_tokens"), names.path("layers").asText("model.layers"), names.path("norm").asText("model.norm"),
                names.path("head").asText("lm_head"), names.path("attention").asText("self_attn"), names.path("fused").asText("qkv_proj"), names.path("output").asText("o_proj"),
                Optional.ofNullable(names.path("sinks").textValue()), Optional.ofNullable(names.path("feed_forward").textValue()));
    }

    /// Path of a part of a layer, or that of the layer where the part has no name.
    static String within(String layer, String part) {
        return part.isEmpty() ? layer : layer + "." + part;
    }
}
