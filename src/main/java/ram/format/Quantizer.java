package ram.format;

import java.util.Locale;

/// How codes and scales are chosen for a format.
public enum Quantizer {
    /// Round to nearest on the range of the group: the bytes that MLX's own quantizer writes on a CPU.
    RTN,
    /// The scale and bias of least squared error that a short search finds, never worse than [#RTN] for any group.
    MSE;

    /// @throws IllegalArgumentException when there is no quantizer of this name
    public static Quantizer named(String name) {
        return valueOf(name.toUpperCase(Locale.ROOT));
    }

    /// The name on the command line and in documents.
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
