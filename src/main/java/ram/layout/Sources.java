package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.Objects;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import ram.InputException;
import ram.format.Format;
import ram.format.QuantizedTensor;
import ram.safetensors.DType;
import ram.tensor.TensorView;
import ram.tensor.Views;

/// Sources that are stored quantized: decoded where that is exact or asked for, refused by name otherwise.
final class Sources {
    /// Tensors that only sources of some other method have.
    private static final Map<Pattern, String> FOREIGN = new LinkedHashMap<>();
    /// Classes that MLX gives the int4 codes of compressed-tensors as they are.
    private static final List<String> CONVERTIBLE_INT4 = List.of("kimi_k25", "deepseek_v3", "kimi_k2", "joyai_llm_flash");
    /// Methods whose tensors are looked at; what they hold is refused by its own name where it cannot be decoded.
    private static final Set<String> DECODED = Set.of("", "fp8", "fbgemm_fp8", "mxfp4", "compressed-tensors", "modelopt", "bitnet");
    /// Scales of activations and of cached keys and values, which 8-bit sources carry.
    private static final Pattern RUN_TIME_SCALE = Pattern.compile("\\.(activation|input|output|[qkv]|kv)_scale$");

    static {
        FOREIGN.put(Pattern.compile("\\.(qweight|g_idx|qzeros)$"), "AWQ or GPTQ");
        FOREIGN.put(Pattern.compile("\\.weight_(g_idx|zero_point)$"), "compressed-tensors with zero points or columns in another order");
        FOREIGN.put(Pattern.compile("\\.(absmax|quant_map|SCB)$|\\.quant_state\\."), "bitsandbytes");
        FOREIGN.put(Pattern.compile("\\.(weight_scale_2|weight_global_scale)$"), "NVFP4");
        FOREIGN.put(Pattern.compile("\\.(W_q|codebooks|Qidxs)$"), "codebooks");
    }

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
        String method = section().path("quant_method").asText("").toLowerCase(Locale.ROOT);
        String name = switch (method) {
            case "awq" -> "AWQ";
            case "gptq" -> "GPTQ";
            case "bitsandbytes" -> "bitsandbytes";
            default -> FOREIGN.entrySet().stream().filter(f -> tensors.keySet().stream().anyMatch(n -> f.getKey().matcher(n).find())).map(Map.Entry::getValue).findFirst().orElse("");
        };
        if (!name.isEmpty()) {
            throw refusal(name);
        }
        if (!CONVERTIBLE_INT4.contains(config.modelType()) && tensors.keySet().stream().anyMatch(n -> n.endsWith(".weight_packed"))) {
            throw refusal("compressed-tensors");
        }
        for (JsonNode group : section().path("config_groups")) {
            JsonNode bits = group.path("weights").path("num_bits");
            if (bits.isNumber() && bits.asInt() != 4 && tensors.keySet().stream().anyMatch(n -> n.endsWith(".weight_packed"))) {
                throw refusal("compressed-tensors in " + bits.asInt() + " bits");
            }
        }
        if (config.modelType().equals("bitnet")) {
            return;
        }
        tensors.forEach((tensor, view) -> {
            boolean integers = tensor.endsWith(".weight") && view.shape().rank() >= 2 && !view.dtype().isFloating();
            if (integers && !Layouts.isPacked(tensors, Layouts.path(tensor))) {
                throw refusal((method.isEmpty() ? "an unknown method" : method) + " (tensor '" + tensor + "' is " + view.dtype() + view.shape() + ")");
            }
        });
        if (!DECODED.contains(method) && tensors.values().stream().anyMatch(v -> v.shape().rank() >= 2 && !v.dtype().isFloating())) {
            throw refusal("the method '" + method + "'");
        }
    }

    private InputException refusal(String method) {
        return InputException.in(config.file(), "says the model is quantized with " + method + "; download the original model in bfloat16 or float16 instead, quantizing twice would lose quality");
    }

    private JsonNode section() {
        return config.json().has("quantization_config") ? config.json().path("quantization_config") : config.json().path("text_config").path("quantization_config");
    }

    private void decodeMlx(Map<String, TensorView> tensors) {
        JsonNode settings = config.json().path("quantization").isObject() ? config.json().path("quantization") : section();
        List<String> paths = tensors.keySet().stream().filter(n -> n.endsWith(".scales")).map(Layouts::path)
                .filter(p -> Layouts.isPacked(tensors, p)).toList();
        if (paths.isEmpty()) {
            return;
        }
        if (!settings.path("bits").isInt()) {
            throw InputException.in(config.file(), "does not say how the quantized module " + paths.getFirst() + " is stored; download config.json again, or the original model");
        }
        if (!options.requantize()) {
            throw InputException.in(config.file(), "says the model is quantized for MLX already; give the original model, or --requantize to decode it and lose quality twice");
        }
        assumptions.add("the source is quantized for MLX already; its " + paths.size() + " quantized modules are " + Architecture.REQUANTIZED);
        for (String path : paths) {
            TensorView scales = tensors.remove(path + ".scales");
            Format format;
            QuantizedTensor packed;
            try {
                format = QuantizationSettings.format(settings, path);
                packed = QuantizedTensor.of(format, tensors.get(path + ".weight"), scales, tensors.remove(path + ".biases"));
            } catch (IllegalArgumentException e) {
                throw new InputException("module " + path + " is not stored as config.json says: " + e.getMessage() + "; `ram verify` says more", e);
            }
            tensors.put(path + ".weight", new DecodedView(packed, format.mode() == Format.Mode.AFFINE ? scales.dtype() : DType.BF16));
        }
    }

    /// 8-bit floats with scales: one per block, row, column, matrix or tensor. Done for every family, as most of mlx_lm's classes cannot.
    private void decodeFp8(Map<String, TensorView> tensors) {
        JsonNode block = section().path("weight_block_size");
        List<String> names = tensors.keySet().stream().filter(n -> isByteFloat(tensors.get(n))).toList();
        if (!names.isEmpty() && tensors.keySet().stream().noneMatch(n -> n.contains("scale"))) {
            throw new InputException("tensor '" + names.getFirst() + "' is plain " + tensors.get(names.getFirst()).dtype()
                    + ", as no tensor of the checkpoint is a scale; cast the model to bfloat16 first, or download the bfloat16 model instead");
        }
        for (String name : names) {
            TensorView codes = tensors.get(name);
            TensorView scale = Stream.of(name + "_scale_inv", name + "_scale").map(tensors::remove).filter(Objects::nonNull).findFirst().orElseThrow(() -> new InputException(
                    "tensor '" + name + "' is stored in 8 bits, but its scale '" + name + "_scale_inv' is missing; the checkpoint is incomplete, download it again"));
            if (!scale.dtype().isFloating()) {
                throw new InputException("tensor '" + name + "' is stored in 8 bits with scales of the type " + scale.dtype() + ", which ram cannot read; download the bfloat16 model instead");
            }
            try {
                tensors.put(name, Views.dequantize(codes, scale, block.path(0).asInt(128), block.path(1).asInt(128), DType.BF16));
            } catch (IllegalArgumentException e) {
                throw new InputException("tensor '" + name + "' cannot be decoded: " + e.getMessage() + "; download the bfloat16 model instead", e);
            }
        }
        if (!names.isEmpty()) {
            tensors.entrySet().removeIf(e -> {
                boolean unused = RUN_TIME_SCALE.matcher(e.getKey()).find() && e.getValue().shape().elements() == 1;
                if (unused) {
                    e.getValue().sources().forEach(s -> dropped.put(s, "scale of 8-bit activations, which MLX does not use"));
                }
                return unused;
            });
        }
    }

    private static boolean isByteFloat(TensorView view) {
        return (view.dtype() == DType.F8_E4M3 || view.dtype() == DType.F8_E5M2) && view.shape().rank() >= 2;
    }
}
