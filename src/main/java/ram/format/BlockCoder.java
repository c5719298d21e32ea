package ram.format;

import static ram.format.Batch.LANES;

import java.lang.foreign.MemorySegment;
import ram.numeric.Decoder;
import ram.numeric.Kernels;
import ram.safetensors.DType;
import ram.safetensors.LittleEndian;

/// Codes and decodes blocks of whole rows in one quantized format. Immutable; threads may share it.
///
/// Inputs must be finite. Importance weights, where given, are one finite, non-negative factor per column for the squared errors.
public final class BlockCoder {
    private final Format format;
    private final DType stored;
    private final Quantizer quantizer;
    private final GroupKernel kernel;

    /// @param stored F32, F16 or BF16: the type of scales and biases, and of the weight as MLX would hold it.
    ///     [Quantizer#RTN] gives the bytes of MLX when the values are exact in this type
    /// @throws IllegalArgumentException for the dense format and for other types
    public BlockCoder(Format format, Quantizer quantizer, DType stored) {
        this(format, quantizer, stored, GroupKernel.BEST);
    }

    BlockCoder(Format format, Quantizer quantizer, DType stored, GroupKernel kernel) {
        if (format.isDense() || !stored.isMlxFloat()) {
            throw new IllegalArgumentException("nothing to code in " + format + " with " + stored);
        }
        this.format = format;
        this.quantizer = quantizer;
        this.stored = stored;
        this.kernel = kernel;
    }

    /// Codes `rows · columns` values and writes them at the start of the segments.
    ///
    /// @param columnWeights importance of each column's squared error; null for equal ones
    /// @param codes `rows · columns · bits / 8` bytes
    /// @param scales `rows · columns / groupSize` elements: of the stored type when affine, else bytes
    /// @param biases as `scales`; null unless affine
    public void encode(float[] values, int rows, int columns, float[] columnWeights, MemorySegment codes, MemorySegment scales, MemorySegment biases) {
        int groups = groups(values.length, rows, columns);
        if (format.mode() != Format.Mode.AFFINE) {
            encodeFloats(values, groups, columns, columnWeights, codes, scales);
            return;
        }
        int words = format.groupSize() * format.bits() / 32;
        AffineGroups affine = new AffineGroups(format.bits(), quantizer, stored, kernel);
        Batch batch = new Batch(format.groupSize());
        float[] importance = normalised(columnWeights);
        for (int first = 0; first < groups; first += LANES) {
            int lanes = Math.min(LANES, groups - first);
            load(batch, values, importance, first, lanes, columns);
            affine.choose(batch);
            affine.pack(batch);
            Decoder.encode(stored, batch.scale, 0, lanes, scales, first);
            Decoder.encode(stored, batch.bias, 0, lanes, biases, first);
            for (int l = 0; l < lanes; l++) {
                long p = (long) (first + l) * words * 4;
                for (int k = 0; k < words; k++) {
                    codes.set(LittleEndian.INT, p + 4L * k, batch.words[k * LANES + l]);
                }
            }
        }
    }

    /// Adds, per row, the sum of squared differences between the values and what [#encode] stores of them.
    ///
    /// @param rowError `rows` sums of `(w − ŵ)²`; null to leave out
    /// @param rowWeightedError the same times the column weights; null to leave out
    public void errors(float[] values, int rows, int columns, float[] columnWeights, double[] rowError, double[] rowWeightedError) {
        int groups = groups(values.length, rows, columns);
        int perRow = columns / format.groupSize();
        if (format.mode() != Format.Mode.AFFINE) {
            floatErrors(values, groups, columns, columnWeights, rowError, rowWeightedError);
            return;
        }
        AffineGroups affine = new AffineGroups(format.bits(), quantizer, stored, kernel);
        Batch batch = new Batch(format.groupSize());
        float[] importance = normalised(columnWeights);
        int exponent = columnWeights == null ? 0 : exponent(columnWeights);
        for (int first = 0; first < groups; first += LANES) {
            int lanes = Math.min(LANES, groups - first);
            load(batch, values, importance, first, lanes, columns);
            affine.choose(batch);
            affine.measure(batch);
            for (int l = 0; l < lanes; l++) {
                int row = (first + l) / perRow;
                double square = 1.0 / ((double) batch.unit[l] * batch.unit[l]);
                if (rowError != null) {
                    rowError[row] += batch.error[l] * square;
                }
                if (rowWeightedError != null) {
                    rowWeightedError[row] += Math.scalb(batch.weightedError[l] * square, exponent);
                }
            }
        }
    }

    /// Decodes to float32: `code · scale + bias`, a multiplication and an addition of the stored values, each rounded once.
    ///
    /// @param biases null unless affine
    public void decode(MemorySegment codes, MemorySegment scales, MemorySegment biases, int rows, int columns, float[] out) {
        int groups = groups(out.length, rows, columns);
        int size = format.groupSize();
        long groupBytes = (long) size * format.bits() / 8;
        // On the heap, where reading needs no check that the memory is still mapped.
        byte[] packed = new byte[Math.toIntExact(groups * groupBytes + Kernels.PADDING)];
        MemorySegment.copy(codes, LittleEndian.BYTE, 0, packed, 0, (int) (groups * groupBytes));
        if (format.mode() != Format.Mode.AFFINE) {
            MemorySegment heap = MemorySegment.ofArray(packed);
            byte[] q = new byte[size];
            float[] elements = FloatGroups.elements(format.mode());
            for (int g = 0; g < groups; g++) {
                unpack(heap, g * groupBytes, q);
                float s = FloatGroups.scale(format.mode(), scales.get(LittleEndian.BYTE, g) & 255);
                for (int e = 0; e < size; e++) {
                    out[g * size + e] = s * elements[q[e] & 255];
                }
            }
            return;
        }
        float[] scale = new float[groups];
        float[] bias = new float[groups];
        Decoder.decode(stored, scales, 0, scale, 0, groups);
        Decoder.decode(stored, biases, 0, bias, 0, groups);
        Kernels.decodeAffine(packed, format.bits(), size, groups, scale, bias, out);
    }

    /// Reads a group's codes, a stream of bits whose first bit is the lowest of the first byte: eight codes take as many bytes as a code has bits.
    void unpack(MemorySegment codes, long at, byte[] q) {
        int bits = format.bits();
        int mask = (1 << bits) - 1;
        long lastWhole = codes.byteSize() - Long.BYTES;
        for (int e = 0; e < q.length; e += 8) {
            long eight = at <= lastWhole ? codes.get(LittleEndian.LONG, at) : lastBytes(codes, at, bits);
            for (int k = 0; k < 8; k++) {
                q[e + k] = (byte) (eight & mask);
                eight >>>= bits;
            }
            at += bits;
        }
    }

    /// Writes the codes of one group, the counterpart of [#decode]'s reading.
    ///
    /// @param q codes, from `from` on as many as a group has
    /// @param at the group's first byte
    public void pack(byte[] q, int from, MemorySegment codes, long at) {
        int bits = format.bits();
        for (int e = from; e < from + format.groupSize(); e += 8) {
            long eight = 0;
            for (int k = 0; k < 8; k++) {
                eight |= (q[e + k] & 255L) << k * bits;
            }
            for (int i = 0; i < bits; i++) {
                codes.set(LittleEndian.BYTE, at++, (byte) (eight >>> 8 * i));
            }
        }
    }

    private static long lastBytes(MemorySegment codes, long at, int count) {
        long out = 0;
        for (int i = 0; i < count; i++) {
            out |= (codes.get(LittleEndian.BYTE, at + i) & 255L) << 8 * i;
        }
        return out;
    }

    private int groups(int length, int rows, int columns) {
        if (columns % format.groupSize() != 0 || Math.multiplyExact(rows, columns) > length) {
            throw new IllegalArgumentException("no block of " + rows + " rows of " + columns + " for " + format + " in " + length + " values");
        }
        return rows * (columns / format.groupSize());
    }

    private void load(Batch batch, float[] values, float[] importance, int first, int lanes, int columns) {
        batch.load(values, first * format.groupSize(), lanes);
        if (importance != null) {
            batch.loadImportance(importance, first, columns / format.groupSize(), lanes);
        }
    }

    /// The weights divided by a power of two so that the largest is near one.
    private static float[] normalised(float[] columnWeights) {
        if (columnWeights == null) {
            return null;
        }
        int exponent = exponent(columnWeights);
        float[] out = new float[columnWeights.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = (float) Math.scalb((double) columnWeights[i], -exponent);
        }
        return out;
    }

    private static int exponent(float[] columnWeights) {
        float largest = 0;
        for (float c : columnWeights) {
            largest = Math.max(largest, c);
        }
        return Math.getExponent((double) largest) < Double.MIN_EXPONENT ? 0 : Math.getExponent((double) largest);
    }

    private void encodeFloats(float[] values, int groups, int columns, float[] columnWeights, MemorySegment codes, MemorySegment scales) {
        FloatGroups coder = new FloatGroups(format, quantizer, stored);
        int size = format.groupSize();
        byte[] q = new byte[size];
        for (int g = 0; g < groups; g++) {
            int at = g * size;
            scales.set(LittleEndian.BYTE, g, (byte) coder.encode(values, at, columnWeights, at % columns, q));
            if (format.bits() == 8) {
                MemorySegment.copy(q, 0, codes, LittleEndian.BYTE, at, size);
            } else {
                for (int e = 0; e < size; e += 2) {
                    codes.set(LittleEndian.BYTE, (at + e) / 2, (byte) (q[e] | q[e + 1] << 4));
                }
            }
        }
    }

    private void floatErrors(float[] values, int groups, int columns, float[] columnWeights, double[] rowError, double[] rowWeightedError) {
        FloatGroups coder = new FloatGroups(format, quantizer, stored);
        byte[] q = new byte[format.groupSize()];
        for (int g = 0; g < groups; g++) {
            int at = g * format.groupSize();
            int scaleByte = coder.encode(values, at, columnWeights, at % columns, q);
            if (rowError != null) {
                rowError[at / columns] += coder.error(values, at, null, 0, scaleByte, q);
            }
            if (rowWeightedError != null) {
                rowWeightedError[at / columns] += coder.error(values, at, columnWeights, at % columns, scaleByte, q);
            }
        }
    }
}
