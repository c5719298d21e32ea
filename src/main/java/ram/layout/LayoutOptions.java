package ram.layout;

/// How a checkpoint is to be understood.
///
/// @param requantize whether modules that the source stores quantized are decoded, so that they can be quantized anew
public record LayoutOptions(boolean requantize) {
    /// What is stored quantized stays so, or is refused.
    public static final LayoutOptions DEFAULT = new LayoutOptions(false);
}
