package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import ram.format.Format;

/// `quantization` of config.json, as mlx_lm's loader reads it.
public final class QuantizationSettings {
    private static final int CLASS_GROUP_SIZE = 64;
    private static final int CLASS_BITS = 4;

    private QuantizationSettings() {
    }

    /// What a module's override has, or the section where it has none. Keys that an override lacks are the class's defaults, not those of the section.
    public static Format format(JsonNode section, String path) {
        JsonNode override = section.path(path);
        return format(override.isObject() ? override : section);
    }

    /// @param node the section itself, or an override in it; `group_size` may be null, which is the class's default
    /// @throws IllegalArgumentException when MLX has no such format
    public static Format format(JsonNode node) {
        return new Format(Format.Mode.named(node.path("mode").asText("affine")), node.path("bits").asInt(CLASS_BITS), node.path("group_size").asInt(CLASS_GROUP_SIZE));
    }
}
