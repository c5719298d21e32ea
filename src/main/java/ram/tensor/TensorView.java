package ram.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.MappedPages;
import ram.safetensors.Shape;

/// A tensor that is computed while it is read, so that no transform ever holds a whole one in memory.
/// Implementations are immutable and may be read by several threads at once.
public interface TensorView {
    DType dtype();

    Shape shape();

    /// Fills `target` with consecutive elements in row-major order, little-endian, in this view's dtype.
    ///
    /// @param first index of the first element
    /// @param target its size in bytes, a multiple of the element size, says how many elements to deliver
    /// @throws ram.InputException when the source turns out to be unusable
    void read(long first, MemorySegment target);

    /// Fills `out[at … at + count)` with consecutive elements, widened to float32.
    ///
    /// @param first index of the first element
    /// @throws ram.InputException when the source turns out to be unusable
    default void read(long first, float[] out, int at, int count) {
        Optional<MemorySegment> mapped = mapped(first, count);
        if (mapped.isPresent()) {
            try {
                Decoder.decode(dtype(), mapped.get(), 0, out, at, count);
                MappedPages.touched((long) count * dtype().bytes());
                return;
            } catch (InternalError e) {
                throw MappedPages.unreadable(e, mapped.get());
            }
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate((long) count * dtype().bytes(), 8);
            read(first, buffer);
            Decoder.decode(dtype(), buffer, 0, out, at, count);
        }
    }

    /// Names of the stored tensors that this view reads, in order of first use.
    List<String> sources();

    /// Consecutive elements as they are mapped from a file, where they lie in one as they are delivered. Who reads them tells [MappedPages], and asks it what to throw when that fails.
    default Optional<MemorySegment> mapped(long first, long count) {
        return Optional.empty();
    }

    /// Size of the content in bytes.
    default long bytes() {
        return Math.multiplyExact(shape().elements(), dtype().bytes());
    }
}
