package ram.verify;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import ram.format.Format;
import ram.layout.ModelConfig;
import ram.layout.QuantizationSettings;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.safetensors.TensorInfo;

/// The format that stock mlx_lm would give each module of a folder, decided as its loader decides it, with everything on the way that the
/// loader would refuse or silently misread.
final class StoredFormats {
    private static final Set<String> OVERRIDE_KEYS = Set.of("group_size", "bits", "mode");

    private final Checkpoint checkpoint;
    private final ObjectNode config;
    private final Consumer<String> complain;
    private final SortedMap<String, Format> quantized = new TreeMap<>();

    private StoredFormats(Checkpoint checkpoint, ObjectNode config, Consumer<String> complain) {
        this.checkpoint = checkpoint;
        this.config = config;
        this.complain = complain;
    }

    /// @param complain is told each thing that is wrong, in one sentence
    /// @return the quantized modules by path; those whose tensors do not fit their format are left out
    static SortedMap<String, Format> read(Checkpoint checkpoint, ModelConfig config, Consumer<String> complain) {
        StoredFormats formats = new StoredFormats(checkpoint, config.json(), complain);
        formats.readSettings();
        return formats.quantized;
    }

    private void readSettings() {
        List<String> scaled = checkpoint.tensors().keySet().stream().filter(n -> n.endsWith(".scales")).map(n -> n.substring(0, n.length() - 7)).toList();
        JsonNode settings = config.path("quantization");
        if (!settings.isObject()) {
            if (!scaled.isEmpty()) {
                complain.accept("config.json has no `quantization`, but " + scaled.size() + " modules have scales, the first of them " + scaled.getFirst()
                        + "; mlx_lm would refuse them as unknown parameters");
            } else if (config.has("quantization_config") && !config.path("quantization_config").has("quant_method")) {
                complain.accept("config.json has a `quantization_config` without a quant_method and no `quantization`; mlx_lm would stop with a KeyError");
            }
            return;
        }
        if (!settings.path("bits").isInt() || !(settings.path("group_size").isInt() || settings.path("group_size").isNull())) {
            complain.accept("`quantization` in config.json lacks `bits` or `group_size`; mlx_lm needs both even where every module has its own");
            return;
        }
        if (config.has("quantization_config") && !config.get("quantization_config").equals(settings)) {
            complain.accept("`quantization` and `quantization_config` in config.json differ; mlx_lm reads the first, other programs the second");
        }
        Optional<Format> global = format(settings, "`quantization` in config.json");
        for (String path : scaled) {
            JsonNode override = settings.get(path);
            if (override == null || override.isBoolean() && override.asBoolean()) {
                global.ifPresent(f -> check(path, f));
            } else if (override.isObject()) {
                format(override, "the override of " + path).ifPresent(f -> check(path, f));
            } else {
                complain.accept("the override of " + path + " is " + override + ", but the module has scales; mlx_lm would refuse them as unknown parameters");
            }
        }
        checkOverrides(settings, Set.copyOf(scaled));
        checkOrphans(Set.copyOf(scaled));
    }

    private void checkOverrides(JsonNode settings, Set<String> scaled) {
        for (Map.Entry<String, JsonNode> entry : settings.properties()) {
            String path = entry.getKey();
            boolean wanted = entry.getValue().isObject() || entry.getValue().isBoolean() && entry.getValue().asBoolean();
            if (OVERRIDE_KEYS.contains(path) || !wanted || scaled.contains(path)) {
                continue;
            }
            if (path.endsWith(".weight")) {
                complain.accept("the override '" + path + "' ends in .weight; mlx_lm looks for the module's path without it and would not find it");
            } else if (checkpoint.tensor(path + ".weight").isPresent()) {
                complain.accept("the override of " + path + " asks for a format, but the module is stored dense; mlx_lm would look for its scales in vain");
            }
        }
    }

    private void checkOrphans(Set<String> scaled) {
        for (TensorInfo tensor : checkpoint.tensors().values()) {
            String name = tensor.name();
            if (name.endsWith(".biases") && !scaled.contains(name.substring(0, name.length() - 7))) {
                complain.accept("tensor '" + name + "' has no scales beside it; mlx_lm would refuse it as an unknown parameter");
            }
            if (name.endsWith(".weight") && tensor.dtype() == DType.U32 && !scaled.contains(name.substring(0, name.length() - 7))) {
                complain.accept("tensor '" + name + "' holds packed codes, but has no scales beside it");
            }
        }
    }

    private Optional<Format> format(JsonNode node, String where) {
        for (Map.Entry<String, JsonNode> entry : node.properties()) {
            if (!OVERRIDE_KEYS.contains(entry.getKey()) && where.startsWith("the override")) {
                complain.accept(where + " has the key '" + entry.getKey() + "'; mlx_lm would stop with a TypeError");
                return Optional.empty();
            }
        }
        try {
            return Optional.of(QuantizationSettings.format(node));
        } catch (IllegalArgumentException e) {
            complain.accept(where + ": " + e.getMessage());
            return Optional.empty();
        }
    }

    /// Compares a module's tensors with what its format demands.
    private void check(String path, Format format) {
        Optional<TensorInfo> weight = checkpoint.tensor(path + ".weight");
        TensorInfo scales = checkpoint.tensor(path + ".scales").orElseThrow();
        if (weight.isEmpty()) {
            complain.accept("module " + path + " has scales but no weight");
            return;
        }
        if (weight.get().dtype() != DType.U32) {
            complain.accept("tensor '" + path + ".weight' is stored as " + weight.get().dtype() + "; MLX needs packed codes as U32");
            return;
        }
        Shape logical = weight.get().shape().rank() < 2 ? Shape.of() : format.decodedShape(weight.get().shape());
        if (logical.rank() < 2 || !format.fits(logical)) {
            complain.accept("tensor '" + path + ".weight' of shape " + weight.get().shape() + " cannot hold codes in the format " + format + " that config.json gives it");
            return;
        }
        if (format.mode() == Format.Mode.AFFINE && !scales.dtype().isMlxFloat()) {
            complain.accept("tensor '" + path + ".scales' is " + scales.dtype() + ", but the format " + format + " that config.json gives the module needs BF16, F16 or F32");
            return;
        }
        List<String> wrong = new ArrayList<>();
        for (Format.Component c : format.components(logical, scales.dtype())) {
            Optional<TensorInfo> stored = checkpoint.tensor(path + "." + c.suffix());
            if (stored.isEmpty()) {
                wrong.add("tensor '" + path + "." + c.suffix() + "' is missing, which the format " + format + " needs");
            } else if (!stored.get().shape().equals(c.shape()) || stored.get().dtype() != c.dtype()) {
                wrong.add("tensor '" + path + "." + c.suffix() + "' is " + stored.get().dtype() + stored.get().shape() + ", but the format " + format
                        + " that config.json gives the module needs " + c.dtype() + c.shape());
            }
        }
        if (format.mode() != Format.Mode.AFFINE && checkpoint.tensor(path + ".biases").isPresent()) {
            wrong.add("tensor '" + path + ".biases' is not part of the format " + format + "; mlx_lm would refuse it as an unknown parameter");
        }
        if (wrong.isEmpty()) {
            quantized.put(path, format);
        } else {
            wrong.forEach(complain);
        }
    }
}
