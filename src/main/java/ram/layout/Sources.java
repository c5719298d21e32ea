package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import ram.InputException;
import ram.format.Format;
import ram.format.QuantizedTensor;
import ram.safetensors.DType;
import ram.tensor.TensorView;
import ram.tensor.Views;

/// Sources that are stored quantized: decoded where that is exact or asked for, refused by name otherwise.
final class Sources {
    private final ModelConfig config;
    private final LayoutOptions options;
    private final Map<String, String> dropped;
    private final List<String> assumptions;

    Sources(ModelConfig config, LayoutOptions options, Map<String, String> dropped, List<String> assumptions) {
        this.config = config;
        this.options = options;
        this.dropped = dropped;
        this.assumptions = assumptions;
    }

    /// @throws InputException when the source is quantized in a way that cannot be decoded
    Map<String, TensorView> decode(Map<String, TensorView> tensors) {
        refuseForeign(tensors);
        Map<String, TensorView> out = new LinkedHashMap<>(tensors);
        decodeMlx(out);
        decodeFp8(out);
        return out;
    }

    private void refuseForeign(Map<String, TensorView> tensors) {
        String method = config.json().path("quantization_config").path("quant_method").asText(config.json().path("text_config").path("quantization_config").path("quant_method").asText(""))
                .toLowerCase(Locale.ROOT);
        String found = tensors.keySet().stream().filter(n -> n.endsWith(".qweight") || n.endsWith(".g_idx") || n.endsWith(".absmax") || n.endsWith(".quant_map") || n.contains(".quant_state."))
                .findFirst().orElse("");
        String name = switch (method) {
            case "awq" -> "AWQ";
            case "gptq" -> "GPTQ";
            case "bitsandbytes" -> "bitsandbytes";
            default -> found.endsWith(".qweight") || found.endsWith(".g_idx") ? "AWQ or GPTQ" : !found.isEmpty() ? "bitsandbytes" : "";
        };
        if (!name.isEmpty()) {
            throw InputException.in(config.file(), "says the model is quantized with " + name + "; download the original model in bfloat16 or float16 instead, quantizing twice would lose quality");
        }
        boolean int4 = tensors.keySet().stream().anyMatch(n -> n.endsWith(".weight_packed"));
        boolean convertible = List.of("kimi_k25", "deepseek_v3", "kimi_k2", "joyai_llm_flash").contains(config.modelType());
        if (int4 && !convertible) {
            throw InputException.in(config.file(), "says the model is quantized with compressed-tensors; download the original model in bfloat16 or float16 instead, quantizing twice would lose quality");
        }
    }

    private void decodeMlx(Map<String, TensorView> tensors) {
        JsonNode settings = config.json().path("quantization");
        List<String> paths = tensors.keySet().stream().filter(n -> n.endsWith(".scales")).map(Layouts::path)
                .filter(p -> tensors.containsKey(p + ".weight") && tensors.get(p + ".weight").dtype() == DType.U32).toList();
        if (!settings.isObject() || paths.isEmpty()) {
            return;
        }
        if (!options.requantize()) {
            throw InputException.in(config.file(), "says the model is quantized for MLX already; give the original model, or --requantize to decode it and lose quality twice");
        }
        assumptions.add("the source is quantized for MLX already; its " + paths.size() + " quantized modules are decoded and quantized again, which loses quality twice");
        for (String path : paths) {
            JsonNode own = settings.path(path).isObject() ? settings.path(path) : settings;
            Format.Mode mode = Format.Mode.valueOf(own.path("mode").asText("affine").toUpperCase(Locale.ROOT));
            Format format = new Format(mode, own.path("bits").asInt(4), own.path("group_size").asInt(64));
            TensorView scales = tensors.remove(path + ".scales");
            QuantizedTensor packed;
            try {
                packed = QuantizedTensor.of(format, tensors.get(path + ".weight"), scales, tensors.remove(path + ".biases"));
            } catch (IllegalArgumentException e) {
                throw new InputException("module " + path + " is not stored as config.json says: " + e.getMessage() + "; `ram verify` says more", e);
            }
            tensors.put(path + ".weight", new DecodedView(packed, format.mode() == Format.Mode.AFFINE ? scales.dtype() : DType.BF16));
        }
    }

    /// 8-bit floats with scales: per block, per row, or one for all. Done for every family, as most of mlx_lm's classes cannot.
    private void decodeFp8(Map<String, TensorView> tensors) {
        JsonNode section = config.json().has("quantization_config") ? config.json().path("quantization_config") : config.json().path("text_config").path("quantization_config");
        JsonNode block = section.path("weight_block_size");
        int blockRows = block.path(0).asInt(128);
        int blockColumns = block.path(1).asInt(128);
        List<String> weights = new ArrayList<>();
        tensors.forEach((name, view) -> {
            if (name.endsWith(".weight") && view.dtype() == DType.F8_E4M3) {
                weights.add(name);
            }
        });
        for (String name : weights) {
            String path = Layouts.path(name);
            String scaleName = tensors.containsKey(path + ".weight_scale_inv") ? path + ".weight_scale_inv" : path + ".weight_scale";
            TensorView scale = tensors.remove(scaleName);
            if (scale == null) {
                throw new InputException("tensor '" + name + "' is stored in 8 bits, but its scale '" + path + ".weight_scale_inv' is missing; the checkpoint is incomplete, download it again");
            }
            TensorView codes = tensors.get(name);
            TensorView decoded;
            try {
                if (scale.shape().elements() == 1) {
                    decoded = Views.dequantizeScalar(codes, scale, DType.BF16);
                } else if (scale.shape().columns() == 1 && scale.shape().rows() == codes.shape().rows()) {
                    decoded = Views.dequantizeBlocks(codes, scale, 1, Math.toIntExact(codes.shape().columns()), DType.BF16);
                } else {
                    decoded = Views.dequantizeBlocks(codes, scale, blockRows, blockColumns, DType.BF16);
                }
            } catch (IllegalArgumentException e) {
                throw new InputException("tensor '" + name + "' cannot be decoded: " + e.getMessage() + "; download the bfloat16 model instead", e);
            }
            tensors.put(name, decoded);
            for (String unused : List.of(".activation_scale", ".input_scale")) {
                TensorView activation = tensors.remove(path + unused);
                if (activation != null) {
                    activation.sources().forEach(s -> dropped.put(s, "scale of 8-bit activations, which MLX does not use"));
                }
            }
        }
    }
}
