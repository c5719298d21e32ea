package ram.layout;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import ram.format.QuantizedTensor;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.tensor.TensorView;

/// A quantized weight seen as the dense one that it stands for.
///
/// @param dtype type to which the decoded numbers are rounded
record DecodedView(QuantizedTensor packed, DType dtype) implements TensorView {
    @Override
    public Shape shape() {
        return packed.shape();
    }

    @Override
    public void read(long first, MemorySegment target) {
        int columns = Math.toIntExact(shape().columns());
        long count = target.byteSize() / dtype.bytes();
        float[] row = new float[columns];
        for (long done = 0; done < count;) {
            long at = first + done;
            int from = (int) (at % columns);
            int n = (int) Math.min(count - done, columns - from);
            packed.read(at / columns, 1, row);
            Decoder.encode(dtype, row, from, n, target, done);
            done += n;
        }
    }

    @Override
    public void read(long first, float[] out, int at, int count) {
        long columns = shape().columns();
        if (at == 0 && first % columns == 0 && count % columns == 0) {
            packed.read(first / columns, Math.toIntExact(count / columns), out);
            Decoder.round(dtype, out, 0, count);
        } else {
            TensorView.super.read(first, out, at, count);
        }
    }

    @Override
    public List<String> sources() {
        List<String> names = new ArrayList<>(packed.codes().sources());
        names.addAll(packed.scales().sources());
        if (packed.biases() != null) {
            names.addAll(packed.biases().sources());
        }
        return names;
    }
}
