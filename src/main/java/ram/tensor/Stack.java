package ram.tensor;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// Tensors of one shape and type, one after the other along a new first axis.
///
/// @param parts at least one
record Stack(List<TensorView> parts) implements TensorView {
    Stack {
        parts = List.copyOf(parts);
        for (TensorView part : parts) {
            if (!part.shape().equals(parts.getFirst().shape()) || part.dtype() != parts.getFirst().dtype()) {
                throw new IllegalArgumentException("tensors of different shapes or types cannot be stacked");
            }
        }
    }

    @Override
    public DType dtype() {
        return parts.getFirst().dtype();
    }

    @Override
    public Shape shape() {
        List<Long> dims = new ArrayList<>(List.of((long) parts.size()));
        dims.addAll(parts.getFirst().shape().dims());
        return new Shape(dims);
    }

    @Override
    public void read(long first, MemorySegment target) {
        int size = dtype().bytes();
        long each = parts.getFirst().shape().elements();
        long count = target.byteSize() / size;
        long done = 0;
        while (done < count) {
            long at = first + done;
            long n = Math.min(count - done, each - at % each);
            parts.get(Math.toIntExact(at / each)).read(at % each, target.asSlice(done * size, n * size));
            done += n;
        }
    }

    @Override
    public void read(long first, float[] out, int at, int count) {
        long each = parts.getFirst().shape().elements();
        int n;
        for (int done = 0; done < count; done += n) {
            long from = first + done;
            n = (int) Math.min(count - done, each - from % each);
            parts.get(Math.toIntExact(from / each)).read(from % each, out, at + done, n);
        }
    }

    @Override
    public Optional<MemorySegment> mapped(long first, long count) {
        long each = parts.getFirst().shape().elements();
        return count > 0 && first % each + count <= each ? parts.get(Math.toIntExact(first / each)).mapped(first % each, count) : Optional.empty();
    }

    @Override
    public List<String> sources() {
        Set<String> names = new LinkedHashSet<>();
        parts.forEach(p -> names.addAll(p.sources()));
        return List.copyOf(names);
    }
}
