package ram.format;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.util.Map;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.tensor.Rows;

/// A matrix in a quantized format, which reads as the values that it decodes to.
///
/// @param stored type of scales and biases when affine
/// @param codes `rows · columns · bits / 8` bytes
/// @param scales one per group
/// @param biases as `scales`; null unless affine
public record CodedMatrix(Format format, DType stored, long rows, int columns, MemorySegment codes, MemorySegment scales, MemorySegment biases) implements Rows {
    public CodedMatrix {
        Objects.requireNonNull(codes);
        Objects.requireNonNull(scales);
        if (format.mode() == Format.Mode.AFFINE) {
            Objects.requireNonNull(biases);
        }
    }

    /// An empty one on the heap.
    public static CodedMatrix allocate(Format format, DType stored, int rows, int columns) {
        return allocate(format, stored, rows, columns, (bytes, _) -> MemorySegment.ofArray(new byte[Math.toIntExact(bytes)]));
    }

    /// An empty one.
    public static CodedMatrix allocate(Format format, DType stored, int rows, int columns, SegmentAllocator memory) {
        MemorySegment[] parts = new MemorySegment[3];
        for (Format.Component c : format.components(Shape.of(rows, columns), stored)) {
            MemorySegment bytes = memory.allocate(c.bytes(), Long.BYTES);
            switch (c.suffix()) {
                case "weight" -> parts[0] = bytes;
                case "scales" -> parts[1] = bytes;
                default -> parts[2] = bytes;
            }
        }
        return new CodedMatrix(format, stored, rows, columns, parts[0], parts[1], parts[2]);
    }

    /// What is stored of it, by the suffix of the tensor's name.
    public SortedMap<String, MemorySegment> components() {
        SortedMap<String, MemorySegment> out = new TreeMap<>(Map.of("weight", codes, "scales", scales));
        if (biases != null) {
            out.put("biases", biases);
        }
        return out;
    }

    /// Rows `first … first + count`, sharing memory.
    public CodedMatrix slice(long first, int count) {
        return new CodedMatrix(format, stored, count, columns, part(codes, first, count), part(scales, first, count), biases == null ? null : part(biases, first, count));
    }

    private MemorySegment part(MemorySegment all, long first, int count) {
        long row = all.byteSize() / rows;
        return all.asSlice(first * row, count * row);
    }

    /// Codes values, all rows at once.
    public void encode(Quantizer quantizer, float[] values) {
        new BlockCoder(format, quantizer, stored).encode(values, Math.toIntExact(rows), columns, null, codes, scales, biases);
    }

    /// Copies all rows of `other`, of the same format, to `first …` of this.
    public void put(long first, CodedMatrix other) {
        CodedMatrix target = slice(first, Math.toIntExact(other.rows));
        target.codes.copyFrom(other.codes);
        target.scales.copyFrom(other.scales);
        if (biases != null) {
            target.biases.copyFrom(other.biases);
        }
    }

    @Override
    public void read(long first, int count, float[] out) {
        CodedMatrix part = slice(first, count);
        new BlockCoder(format, Quantizer.RTN, stored).decode(part.codes, part.scales, part.biases, count, columns, out);
    }
}
