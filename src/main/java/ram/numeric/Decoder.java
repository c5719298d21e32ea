package ram.numeric;

import static ram.safetensors.LittleEndian.BYTE;
import static ram.safetensors.LittleEndian.DOUBLE;
import static ram.safetensors.LittleEndian.FLOAT;
import static ram.safetensors.LittleEndian.INT;
import static ram.safetensors.LittleEndian.LONG;
import static ram.safetensors.LittleEndian.SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import ram.safetensors.DType;

/// Stored elements to float32 and back. Widening is exact for every type of 32 bits or fewer except 32-bit integers;
/// narrowing rounds to nearest, ties to even.
public final class Decoder {
    /// Bytes copied at a time: they stay in the first cache.
    private static final int COPY_BYTES = 1 << 14;
    /// Outside the heap, from where vectors are loaded fastest.
    private static final ThreadLocal<MemorySegment> COPY = ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(COPY_BYTES, 64));

    private Decoder() {
    }

    /// Decodes `count` elements that start at element `first` of `source` into `out[at…]`.
    public static void decode(DType dtype, MemorySegment source, long first, float[] out, int at, int count) {
        long base = first * dtype.bytes();
        switch (dtype) {
            case BF16 -> {
                if (source.isMapped()) {
                    decodeCopies(dtype, source, base, out, at, count);
                } else {
                    Kernels.OPS.widenBf16(source, base, out, at, count);
                }
            }
            case F8_E4M3, F8_E5M2, F8_E8M0 -> {
                if (source.isMapped()) {
                    decodeCopies(dtype, source, base, out, at, count);
                } else if (dtype == DType.F8_E4M3) {
                    Kernels.OPS.widenE4m3(source, base, out, at, count);
                } else {
                    lookUp(dtype, source, base, out, at, count);
                }
            }
            // the compiler vectorises the conversion only from an array
            case F16 -> {
                short[] bits = new short[Math.min(count, KernelOps.CHUNK)];
                for (int i = 0; i < count; i += bits.length) {
                    int n = Math.min(bits.length, count - i);
                    MemorySegment.copy(source, SHORT, base + 2L * i, bits, 0, n);
                    for (int j = 0; j < n; j++) {
                        out[at + i + j] = Float.float16ToFloat(bits[j]);
                    }
                }
            }
            case F32 -> MemorySegment.copy(source, FLOAT, base, out, at, count);
            default -> decodeEach(dtype, source, base, out, at, count);
        }
    }

    /// Vector instructions must not touch a mapped file: when another process cuts it, they end the virtual machine, where copying throws an error.
    private static void decodeCopies(DType dtype, MemorySegment source, long base, float[] out, int at, int count) {
        MemorySegment copy = COPY.get();
        int elements = COPY_BYTES / dtype.bytes();
        for (int i = 0; i < count; i += elements) {
            int n = Math.min(elements, count - i);
            MemorySegment.copy(source, base + (long) i * dtype.bytes(), copy, 0, (long) n * dtype.bytes());
            decode(dtype, copy, 0, out, at + i, n);
        }
    }

    /// Decodes an 8-bit type.
    static void lookUp(DType dtype, MemorySegment source, long base, float[] out, int at, int count) {
        float[] table = Bytes.of(dtype);
        for (int i = 0; i < count; i++) {
            out[at + i] = table[source.get(BYTE, base + i) & 255];
        }
    }

    /// The values of all 256 bytes of the 8-bit types.
    private static final class Bytes {
        static final float[] E4M3 = table(DType.F8_E4M3);
        static final float[] E5M2 = table(DType.F8_E5M2);
        static final float[] E8M0 = table(DType.F8_E8M0);

        static float[] of(DType dtype) {
            return dtype == DType.F8_E4M3 ? E4M3 : dtype == DType.F8_E5M2 ? E5M2 : E8M0;
        }

        private static float[] table(DType dtype) {
            byte[] all = new byte[256];
            for (int i = 0; i < 256; i++) {
                all[i] = (byte) i;
            }
            float[] out = new float[256];
            decodeEach(dtype, MemorySegment.ofArray(all), 0, out, 0, 256);
            return out;
        }
    }

    static void decodeEach(DType dtype, MemorySegment source, long base, float[] out, int at, int count) {
        for (int i = 0; i < count; i++) {
            long p = base + (long) i * dtype.bytes();
            out[at + i] = switch (dtype) {
                case F64 -> (float) source.get(DOUBLE, p);
                case F32 -> source.get(FLOAT, p);
                case F16 -> Float.float16ToFloat(source.get(SHORT, p));
                case BF16 -> Float.intBitsToFloat(source.get(SHORT, p) << 16);
                case F8_E4M3 -> e4m3(source.get(BYTE, p));
                case F8_E5M2 -> Float.float16ToFloat((short) (source.get(BYTE, p) << 8));
                case F8_E8M0 -> e8m0(source.get(BYTE, p));
                case I64 -> source.get(LONG, p);
                case I32 -> source.get(INT, p);
                case I16 -> source.get(SHORT, p);
                case I8 -> source.get(BYTE, p);
                case U64 -> unsigned(source.get(LONG, p));
                case U32 -> Integer.toUnsignedLong(source.get(INT, p));
                case U16 -> Short.toUnsignedInt(source.get(SHORT, p));
                case U8 -> Byte.toUnsignedInt(source.get(BYTE, p));
                case BOOL -> source.get(BYTE, p) != 0 ? 1 : 0;
            };
        }
    }

    private static float unsigned(long v) {
        return v >= 0 ? v : (float) ((v >>> 1 | v & 1)) * 2;
    }

    /// E4M3 (fn): 4 exponent bits of bias 7, subnormals, no infinity; 0x7F and 0xFF are NaN.
    static float e4m3(byte b) {
        int exponent = b >> 3 & 15;
        int mantissa = b & 7;
        float magnitude;
        if (exponent == 15 && mantissa == 7) {
            magnitude = Float.NaN;
        } else if (exponent == 0) {
            magnitude = mantissa * 0x1p-9f;
        } else {
            magnitude = Float.intBitsToFloat(exponent + 120 << 23 | mantissa << 20);
        }
        return b < 0 ? -magnitude : magnitude;
    }

    /// E8M0: 2^(byte − 127); byte 0 is the subnormal 2^−127, byte 255 is NaN.
    static float e8m0(byte b) {
        int e = b & 255;
        return e == 255 ? Float.NaN : e == 0 ? 0x1p-127f : Float.intBitsToFloat(e << 23);
    }

    /// float32 to the bits of bfloat16, to nearest, ties to even. NaN stays NaN.
    public static short toBf16(float v) {
        int bits = Float.floatToRawIntBits(v);
        if ((bits & 0x7fffffff) > 0x7f800000) {
            return (short) (bits >>> 16 | 0x40);
        }
        return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }

    /// The bits of bfloat16 to float32, exactly.
    public static float fromBf16(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /// `v` rounded to one of MLX's floating-point types and widened again.
    ///
    /// @throws IllegalArgumentException when MLX does not compute in `dtype`
    public static float round(DType dtype, float v) {
        return switch (dtype) {
            case F32 -> v;
            case F16 -> Float.float16ToFloat(Float.floatToFloat16(v));
            case BF16 -> fromBf16(toBf16(v));
            default -> throw new IllegalArgumentException("not a type that MLX computes in: " + dtype);
        };
    }

    /// Rounds `values[at … at + count)` as [#round(DType, float)] does.
    ///
    /// @throws IllegalArgumentException when MLX does not compute in `dtype`
    public static void round(DType dtype, float[] values, int at, int count) {
        switch (dtype) {
            case F32 -> { }
            case BF16 -> Kernels.OPS.roundBf16(values, at, count);
            default -> {
                for (int i = at; i < at + count; i++) {
                    values[i] = round(dtype, values[i]);
                }
            }
        }
    }

    /// Writes `count` floats as elements of `dtype` (F32, F16 or BF16), starting at element `first` of `target`.
    ///
    /// @throws IllegalArgumentException when MLX does not compute in `dtype`
    public static void encode(DType dtype, float[] in, int at, int count, MemorySegment target, long first) {
        long base = first * dtype.bytes();
        switch (dtype) {
            case F32 -> MemorySegment.copy(in, at, target, FLOAT, base, count);
            case BF16 -> Kernels.OPS.narrowBf16(in, at, count, target, base);
            case F16 -> {
                short[] bits = new short[Math.min(count, KernelOps.CHUNK)];
                for (int i = 0; i < count; i += bits.length) {
                    int n = Math.min(bits.length, count - i);
                    for (int j = 0; j < n; j++) {
                        bits[j] = Float.floatToFloat16(in[at + i + j]);
                    }
                    MemorySegment.copy(bits, 0, target, SHORT, base + 2L * i, n);
                }
            }
            default -> throw new IllegalArgumentException("not a type that MLX computes in: " + dtype);
        }
    }
}
