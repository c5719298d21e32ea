package ram.layout;

import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import ram.safetensors.DType;
import ram.tensor.TensorView;

/// The dtype in which each tensor is written. Floats take one type throughout, because MLX promotes activations wherever types mix.
///
/// @param main float32, float16 or bfloat16
public record OutputTypes(DType main) {
    public OutputTypes {
        Objects.requireNonNull(main);
        if (!main.isMlxFloat()) {
            throw new IllegalArgumentException("MLX does not compute in " + main);
        }
    }

    /// @param wanted the type that the user asked for; otherwise the one that config.json names, otherwise the one that most bytes have
    public static OutputTypes of(Layout layout, ModelConfig config, Optional<DType> wanted) {
        return new OutputTypes(wanted.or(() -> named(config, "torch_dtype")).or(() -> named(config, "dtype")).orElseGet(() -> commonest(layout)));
    }

    private static Optional<DType> named(ModelConfig config, String key) {
        return DType.fromTorchName(config.json().path(key).asText("")).or(() -> DType.fromTorchName(config.json().path("text_config").path(key).asText("")));
    }

    private static DType commonest(Layout layout) {
        Map<DType, Long> bytes = new EnumMap<>(DType.class);
        layout.modules().forEach(m -> count(bytes, m.weight()));
        layout.plain().forEach(p -> count(bytes, p.view()));
        return bytes.entrySet().stream().max(Map.Entry.comparingByValue()).map(Map.Entry::getKey).orElse(DType.BF16);
    }

    private static void count(Map<DType, Long> bytes, TensorView view) {
        if (view.dtype().isMlxFloat()) {
            bytes.merge(view.dtype(), view.bytes(), Long::sum);
        }
    }

    /// The type of a module's weight when dense, and of its affine scales and biases.
    public DType of(Module module) {
        return of(module.weight(), false);
    }

    /// The type in which a tensor is written that is no module.
    public DType of(Layout.Plain plain) {
        return of(plain.view(), plain.keepDType());
    }

    private DType of(TensorView view, boolean keep) {
        boolean castable = view.dtype().isMlxFloat() || view.dtype() == DType.F64;
        return castable && !(keep && view.dtype().isMlxFloat()) ? main : view.dtype();
    }
}
