package ram.tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// A tensor in memory.
record Held(DType dtype, Shape shape, MemorySegment elements, List<String> sources) implements TensorView {
    @Override
    public void read(long first, MemorySegment target) {
        MemorySegment.copy(elements, first * dtype.bytes(), target, 0, target.byteSize());
    }

    @Override
    public void read(long first, float[] out, int at, int count) {
        Decoder.decode(dtype, elements, first, out, at, count);
    }
}
