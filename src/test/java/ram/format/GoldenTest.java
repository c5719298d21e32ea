package ram.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import ram.numeric.Decoder;
import ram.safetensors.DType;

/// `rtn` writes the bytes of MLX, and its formats decode to what MLX decodes.
class GoldenTest {
    static Stream<Arguments> affine() {
        return Stream.of("affine_float32", "affine_float16", "affine_bfloat16", "affine_3d_bfloat16")
                .flatMap(file -> Format.allAffine().stream().map(format -> Arguments.of(file, format)));
    }

    static Stream<Arguments> floats() {
        return Stream.of("fp_float32", "fp_float16", "fp_bfloat16")
                .flatMap(file -> Stream.of(Format.MXFP4, Format.NVFP4, Format.MXFP8).map(format -> Arguments.of(file, format)));
    }

    private static DType typeOf(String file) {
        return DType.fromTorchName(file.substring(file.lastIndexOf('_') + 1)).orElseThrow();
    }

    private static String input(String file) {
        return file.contains("3d") ? "in.moe" : "in.edge";
    }

    @ParameterizedTest
    @MethodSource("affine")
    void affineBytes(String file, Format format) {
        Golden golden = Golden.open(file);
        DType dtype = typeOf(file);
        float[] values = golden.floats(input(file));
        String prefix = "q." + format.bits() + "." + format.groupSize();
        byte[] codes = new byte[values.length * format.bits() / 8];
        byte[] scales = new byte[values.length / format.groupSize() * dtype.bytes()];
        byte[] biases = new byte[scales.length];
        new BlockCoder(format, Quantizer.RTN, dtype).encode(values, values.length / 256, 256, null,
                MemorySegment.ofArray(codes), MemorySegment.ofArray(scales), MemorySegment.ofArray(biases));
        assertArrayEquals(golden.bytes(prefix + ".scales"), scales, "scales");
        assertArrayEquals(golden.bytes(prefix + ".biases"), biases, "biases");
        assertArrayEquals(golden.bytes(prefix + ".weight"), codes, "codes");
    }

    /// MLX decodes in the type of the scale: a multiplication and an addition, each rounded to it.
    @ParameterizedTest
    @MethodSource("affine")
    void affineDecoding(String file, Format format) {
        Golden golden = Golden.open(file);
        DType dtype = typeOf(file);
        String name = format.bits() + "." + format.groupSize();
        MemorySegment codes = golden.data("q." + name + ".weight");
        float[] scales = golden.floats("q." + name + ".scales");
        float[] biases = golden.floats("q." + name + ".biases");
        float[] expected = golden.floats("deq." + name);
        BlockCoder coder = new BlockCoder(format, Quantizer.RTN, dtype);
        float[] decoded = new float[expected.length];
        coder.decode(codes, golden.data("q." + name + ".scales"), golden.data("q." + name + ".biases"), decoded.length / 256, 256, decoded);
        byte[] q = new byte[format.groupSize()];
        for (int i = 0; i < expected.length; i++) {
            int g = i / format.groupSize();
            if (i % format.groupSize() == 0) {
                coder.unpack(codes, (long) i * format.bits() / 8, q);
            }
            int code = q[i % format.groupSize()] & 255;
            assertEquals(expected[i], Decoder.round(dtype, Decoder.round(dtype, code * scales[g]) + biases[g]), "as MLX, element " + i);
            assertEquals(code * scales[g] + biases[g], decoded[i], "in float32, element " + i);
        }
    }

    @ParameterizedTest
    @MethodSource("floats")
    void floatBytes(String file, Format format) {
        Golden golden = Golden.open(file);
        DType dtype = typeOf(file);
        float[] values = golden.floats("in.edge");
        byte[] codes = new byte[values.length * format.bits() / 8];
        byte[] scales = new byte[values.length / format.groupSize()];
        new BlockCoder(format, Quantizer.RTN, dtype).encode(values, values.length / 256, 256, null,
                MemorySegment.ofArray(codes), MemorySegment.ofArray(scales), null);
        assertArrayEquals(golden.bytes("q." + format + ".scales"), scales, "scales");
        assertArrayEquals(golden.bytes("q." + format + ".weight"), codes, "codes");
    }

    @ParameterizedTest
    @MethodSource("floats")
    void floatDecoding(String file, Format format) {
        Golden golden = Golden.open(file);
        BlockCoder coder = new BlockCoder(format, Quantizer.RTN, DType.BF16);
        float[] decoded = new float[golden.floats("in.edge").length];
        coder.decode(golden.data("q." + format + ".weight"), golden.data("q." + format + ".scales"), null, decoded.length / 256, 256, decoded);
        for (String name : List.of("deq.", "deq_in_dtype.")) {
            float[] expected = golden.floats(name + format);
            DType dtype = golden.info(name + format).dtype();
            for (int i = 0; i < expected.length; i++) {
                assertEquals(expected[i], Decoder.round(dtype, decoded[i]), name + format + ", element " + i);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("affine")
    void errorsAreThoseOfTheStoredBytes(String file, Format format) {
        Golden golden = Golden.open(file);
        DType dtype = typeOf(file);
        float[] values = golden.floats(input(file));
        int rows = values.length / 256;
        float[] importance = new float[256];
        for (int i = 0; i < 256; i++) {
            importance[i] = 1e6f * (1 + i % 7);
        }
        BlockCoder coder = new BlockCoder(format, Quantizer.RTN, dtype);
        float[] decoded = new float[values.length];
        String name = "q." + format.bits() + "." + format.groupSize();
        coder.decode(golden.data(name + ".weight"), golden.data(name + ".scales"), golden.data(name + ".biases"), rows, 256, decoded);
        double[] plain = new double[rows];
        double[] weighted = new double[rows];
        coder.errors(values, rows, 256, importance, plain, weighted);
        for (int r = 0; r < rows; r++) {
            double p = 0;
            double w = 0;
            for (int c = 0; c < 256; c++) {
                double d = (double) values[r * 256 + c] - decoded[r * 256 + c];
                p += d * d;
                w += d * d * importance[c];
            }
            assertEquals(p, plain[r], p * 1e-5, "row " + r);
            assertEquals(w, weighted[r], w * 1e-5, "weighted row " + r);
        }
    }
}
