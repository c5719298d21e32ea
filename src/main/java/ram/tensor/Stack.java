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
        byParts(first, target.byteSize() / size, (part, from, done, n) -> part.read(from, target.asSlice(done * size, n * size)));
    }

    @Override
    public void read(long first, float[] out, int at, int count) {
        byParts(first, count, (part, from, done, n) -> part.read(from, out, Math.toIntExact(at + done), Math.toIntExact(n)));
    }

    /// What is done with `count` elements of a part, of which `done` of the stack come before.
    private interface Run {
        void of(TensorView part, long first, long done, long count);
    }

    private void byParts(long first, long count, Run run) {
        long each = parts.getFirst().shape().elements();
        long n;
        for (long done = 0; done < count; done += n) {
            long from = (first + done) % each;
            n = Math.min(count - done, each - from);
            run.of(parts.get(Math.toIntExact((first + done) / each)), from, done, n);
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
