package ram.layout;

/// How a checkpoint is to be understood.
///
/// @param requantize whether modules that the source stores quantized are decoded, so that they can be quantized anew
public record LayoutOptions(boolean requantize) {
    public static final LayoutOptions DEFAULT = new LayoutOptions(false);
}
