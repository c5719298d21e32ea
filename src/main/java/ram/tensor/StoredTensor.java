package ram.tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.MappedPages;
import ram.safetensors.Shape;
import ram.safetensors.TensorInfo;

/// A tensor as it lies in the checkpoint. The file is mapped at the first read, not before.
public record StoredTensor(Checkpoint checkpoint, TensorInfo info) implements TensorView {
    /// @throws IllegalArgumentException when the checkpoint has no such tensor
    public static StoredTensor of(Checkpoint checkpoint, String name) {
        return new StoredTensor(checkpoint, checkpoint.tensor(name).orElseThrow(() -> new IllegalArgumentException("no tensor '" + name + "'")));
    }

    @Override
    public DType dtype() {
        return info.dtype();
    }

    @Override
    public Shape shape() {
        return info.shape();
    }

    @Override
    public void read(long first, MemorySegment target) {
        MemorySegment data = checkpoint.data(info.name());
        try {
            MemorySegment.copy(data, first * dtype().bytes(), target, 0, target.byteSize());
            MappedPages.touched(target.byteSize());
        } catch (InternalError e) {
            throw MappedPages.unreadable(e, data);
        }
    }

    @Override
    public List<String> sources() {
        return List.of(info.name());
    }

    @Override
    public Optional<MemorySegment> mapped(long first, long count) {
        return Optional.of(checkpoint.data(info.name()).asSlice(first * dtype().bytes(), count * dtype().bytes()));
    }
}
