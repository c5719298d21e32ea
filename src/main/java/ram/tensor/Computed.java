package ram.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// A tensor whose elements are computed one by one, in float32, from those of another in the same places.
///
/// @param further tensors beside the base that the function reads
record Computed(TensorView base, List<TensorView> further, DType dtype, Function function) implements TensorView {
    /// Changes `count` elements in place, of which the first is element `first` of the tensor.
    @FunctionalInterface
    interface Function {
        void apply(float[] values, long first, int count);
    }

    private static final int CHUNK = 1 << 14;

    @Override
    public Shape shape() {
        return base.shape();
    }

    @Override
    public void read(long first, MemorySegment target) {
        long count = target.byteSize() / dtype.bytes();
        int chunk = (int) Math.min(CHUNK, count);
        float[] values = new float[chunk];
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate((long) chunk * base.dtype().bytes(), 8);
            for (long done = 0; done < count; done += chunk) {
                int n = (int) Math.min(chunk, count - done);
                base.read(first + done, buffer.asSlice(0, (long) n * base.dtype().bytes()));
                Decoder.decode(base.dtype(), buffer, 0, values, 0, n);
                function.apply(values, first + done, n);
                Decoder.encode(dtype, values, 0, n, target, done);
            }
        }
    }

    @Override
    public List<String> sources() {
        Set<String> names = new LinkedHashSet<>(base.sources());
        further.forEach(f -> names.addAll(f.sources()));
        return List.copyOf(names);
    }
}
