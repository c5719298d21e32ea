package ram.metric;

/// Weights that are infinite or not a number.
///
/// @param firstIndex row-major index of the first one in the matrix
public record NonFinite(long firstIndex, long count) {
}
