package ram.metric;

/// Weights that cannot be quantized: infinite, not a number, or larger than any weight of a working model.
///
/// @param firstIndex row-major index of the first one in the matrix
public record NonFinite(long firstIndex, long count) {
    /// The largest magnitude that is measured and quantized: sums of squares in float32 stay finite.
    public static final float LARGEST = 0x1p60f;

    /// Such as `2 values that are infinite, not a number or beyond 1.1e18, the first at index 7`.
    @Override
    public String toString() {
        return count + (count == 1 ? " value that is" : " values that are") + " infinite, not a number or beyond 1.1e18, the first at index " + firstIndex;
    }
}
