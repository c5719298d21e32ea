package ram.safetensors;

import java.util.Objects;

/// One entry of a safetensors header, checked against its file.
///
/// @param offset first byte of the data, counted from the start of the file
public record TensorInfo(String name, DType dtype, Shape shape, long offset) {
    public TensorInfo {
        Objects.requireNonNull(name);
        Objects.requireNonNull(dtype);
        Objects.requireNonNull(shape);
        if (offset < 0) {
            throw new IllegalArgumentException("negative offset for " + name);
        }
    }

    /// Size of the data in bytes.
    public long bytes() {
        return Math.multiplyExact(shape.elements(), dtype.bytes());
    }
}
