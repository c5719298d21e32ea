package ram.tensor;

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
    /// Changes `values[at … at + count)` in place, of which the first is element `first` of the tensor.
    @FunctionalInterface
    interface Function {
        void apply(float[] values, int at, long first, int count);
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
        for (long done = 0; done < count; done += chunk) {
            int n = (int) Math.min(chunk, count - done);
            compute(first + done, values, 0, n);
            Decoder.encode(dtype, values, 0, n, target, done);
        }
    }

    @Override
    public void read(long first, float[] out, int at, int count) {
        compute(first, out, at, count);
        Decoder.round(dtype, out, at, count);
    }

    /// In float32, not yet rounded to the type of the tensor.
    private void compute(long first, float[] out, int at, int count) {
        base.read(first, out, at, count);
        function.apply(out, at, first, count);
    }

    @Override
    public List<String> sources() {
        Set<String> names = new LinkedHashSet<>(base.sources());
        further.forEach(f -> names.addAll(f.sources()));
        return List.copyOf(names);
    }
}
