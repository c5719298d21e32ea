package ram.format;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import ram.safetensors.DType;
import ram.safetensors.MappedPages;
import ram.safetensors.Shape;
import ram.tensor.Rows;
import ram.tensor.TensorView;

/// A weight as MLX stores it, decoded row by row.
///
/// @param shape of the decoded weight; its outer dimensions are folded into rows
/// @param biases null unless the format is affine
public record QuantizedTensor(Format format, Shape shape, TensorView codes, TensorView scales, TensorView biases) implements Rows {
    /// @throws IllegalArgumentException when a part has not the type and shape that the format gives it
    public QuantizedTensor {
        boolean affine = format.mode() == Format.Mode.AFFINE;
        if (affine && !scales.dtype().isMlxFloat()) {
            throw new IllegalArgumentException("scales are " + scales.dtype() + " where " + format + " has BF16, F16 or F32");
        }
        DType stored = affine ? scales.dtype() : DType.BF16;
        TensorView[] parts = {codes, scales, biases};
        int i = 0;
        for (Format.Component component : format.components(shape, stored)) {
            TensorView part = parts[i++];
            if (part == null || !part.shape().equals(component.shape()) || part.dtype() != component.dtype()) {
                throw new IllegalArgumentException(component.suffix() + " is " + (part == null ? "missing" : part.dtype() + " " + part.shape())
                        + " where " + format + " of " + shape + " has " + component.dtype() + " " + component.shape());
            }
        }
    }

    /// The tensor whose weight has these stored parts, the width of its rows taken from the codes.
    public static QuantizedTensor of(Format format, TensorView codes, TensorView scales, TensorView biases) {
        return new QuantizedTensor(format, format.decodedShape(codes.shape()), codes, scales, biases);
    }

    @Override
    public long rows() {
        return shape.rows();
    }

    @Override
    public int columns() {
        return Math.toIntExact(shape.columns());
    }

    /// Decodes as [BlockCoder#decode] does.
    @Override
    public void read(long first, int rows, float[] out) {
        BlockCoder coder = new BlockCoder(format, Quantizer.RTN, biases == null ? DType.BF16 : scales.dtype());
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment c = stored(codes, first, rows, arena);
            MemorySegment s = stored(scales, first, rows, arena);
            MemorySegment b = biases == null ? null : stored(biases, first, rows, arena);
            try {
                coder.decode(c, s, b, rows, columns(), out);
            } catch (InternalError e) {
                throw MappedPages.unreadable(e, c, s, b);
            }
        }
    }

    private static MemorySegment stored(TensorView part, long first, int rows, Arena arena) {
        long columns = part.shape().columns();
        long bytes = rows * columns * part.dtype().bytes();
        Optional<MemorySegment> mapped = part.mapped(first * columns, rows * columns);
        if (mapped.isPresent()) {
            MappedPages.touched(bytes);
            return mapped.get();
        }
        MemorySegment buffer = arena.allocate(bytes);
        part.read(first * columns, buffer);
        return buffer;
    }
}
