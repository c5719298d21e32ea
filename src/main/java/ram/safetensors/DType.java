package ram.safetensors;

import java.util.Locale;
import java.util.Optional;

/// Element types of the safetensors container that occur in language-model checkpoints.
public enum DType {
    F64(8, true), F32(4, true), F16(2, true), BF16(2, true),
    F8_E4M3(1, true), F8_E5M2(1, true), F8_E8M0(1, true),
    I64(8, false), I32(4, false), I16(2, false), I8(1, false),
    U64(8, false), U32(4, false), U16(2, false), U8(1, false),
    BOOL(1, false);

    private final int bytes;
    private final boolean floating;

    DType(int bytes, boolean floating) {
        this.bytes = bytes;
        this.floating = floating;
    }

    /// Size of one element in bytes, 1 to 8.
    public int bytes() {
        return bytes;
    }

    /// Whether elements are floating-point numbers, 8-bit ones included.
    public boolean isFloating() {
        return floating;
    }

    /// Whether MLX computes in this type: float32, float16 or bfloat16.
    public boolean isMlxFloat() {
        return this == F32 || this == F16 || this == BF16;
    }

    /// The type with this name in a safetensors header, empty when unknown.
    public static Optional<DType> named(String name) {
        for (DType d : values()) {
            if (d.name().equals(name)) {
                return Optional.of(d);
            }
        }
        return Optional.empty();
    }

    /// The name in `config.json` (`bfloat16`, `float16`, `float32`), empty for the types that MLX does not compute in.
    public Optional<String> torchName() {
        return switch (this) {
            case F32 -> Optional.of("float32");
            case F16 -> Optional.of("float16");
            case BF16 -> Optional.of("bfloat16");
            default -> Optional.empty();
        };
    }

    /// The inverse of [#torchName()]; a leading `torch.` is accepted.
    public static Optional<DType> fromTorchName(String name) {
        return switch (name.toLowerCase(Locale.ROOT).replaceFirst("^torch\\.", "")) {
            case "float32", "float" -> Optional.of(F32);
            case "float16", "half" -> Optional.of(F16);
            case "bfloat16" -> Optional.of(BF16);
            default -> Optional.empty();
        };
    }
}
