package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Optional;

/// What is known of mlx_lm's class for a model, of whose type there may be none.
public final class ModelClass {
    private ModelClass() {
    }

    /// Whether mlx_lm is known to have a class for a model of this type.
    public static boolean isKnown(ModelConfig config) {
        return Family.of(config.modelType()).isPresent();
    }

    /// The part of config.json that the model's class reads; the root for a class that is not known.
    public static JsonNode scope(ModelConfig config) {
        return Family.of(config.modelType()).map(f -> f.scope(config.json())).orElse(config.json());
    }

    /// What config.json says of the language model, with the class's defaults where it says nothing.
    public static JsonNode settings(Layout layout) {
        JsonNode text = layout.config().path("text_config");
        Optional<Family> family = Family.of(layout.architecture().family());
        JsonNode read = family.map(f -> f.scope(layout.config())).orElse(layout.config());
        JsonNode own = text.isObject() && !read.has("num_hidden_layers") ? text : read;
        return family.map(f -> (JsonNode) f.withDefaults(own)).orElse(own);
    }

    /// The configuration of the language model, with the values of its class for keys that it leaves out.
    public static ModelConfig withDefaults(ModelConfig config) {
        return Family.of(config.modelType()).map(f -> new ModelConfig(config.file(), f.withDefaults(f.scope(config.json())))).orElse(config);
    }

    /// One sentence for each key that config.json lacks and without which the class cannot be made.
    public static List<String> missingKeys(ModelConfig config) {
        return Family.of(config.modelType()).stream().flatMap(f -> f.missingKeys(config.json()).stream())
                .map(key -> "config.json lacks " + key + "; mlx_lm would not load the folder without it").toList();
    }

    /// Whether a known class reads this key of the configuration of the language model.
    public static boolean reads(ModelConfig config, String key) {
        return Family.of(config.modelType()).filter(f -> f.settings().anyMatch(key::equals)).isPresent();
    }

    /// Whether Python, and so mlx_lm, takes a setting for true; one that is missing is not.
    public static boolean isOn(JsonNode setting) {
        return Family.truthy(setting, null);
    }

    /// Whether the lists of a known class name this path as that of a module.
    public static boolean isModule(ModelConfig config, String path) {
        return Family.of(config.modelType()).filter(f -> f.modules().contains(path)).isPresent();
    }

    /// Whether a known class loads this tensor only as it is, never as codes and scales.
    public static boolean isRaw(ModelConfig config, String tensor) {
        return Family.of(config.modelType()).filter(f -> f.raw().contains(tensor)).isPresent();
    }

    /// Whether mlx_lm's class has no output head of its own with this config.json, and so refuses tensors of one. Of a class that is not known nothing is known.
    public static boolean refusesHead(ModelConfig config) {
        return Family.of(config.modelType()).filter(f -> f.head().isRefused(f.scope(config.json()))).isPresent();
    }
}
