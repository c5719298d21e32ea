package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.Folders;
import ram.SyntheticModel;
import ram.format.Format;
import ram.numeric.Decoder;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.TensorInfo;

/// Weights that are infinite, not a number, or finite and extreme.
class NonFiniteTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int NAN = 0x7fc0;
    private static final int INFINITE = 0xff80;
    private static final int COLUMNS = 128;
    private static final int EXTREME_ROWS = 8;
    private static final String UP = "model.layers.1.mlp.up_proj.weight";

    @TempDir
    Path dir;

    /// Overwrites bfloat16 elements of a tensor.
    private static void poke(Path folder, String tensor, Map<Integer, Integer> values) throws IOException {
        long at;
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            TensorInfo info = checkpoint.tensor(tensor).orElseThrow();
            at = info.offset();
        }
        try (FileChannel file = FileChannel.open(folder.resolve("model.safetensors"), StandardOpenOption.WRITE)) {
            for (Map.Entry<Integer, Integer> v : new TreeMap<>(values).entrySet()) {
                file.write(ByteBuffer.allocate(2).order(ByteOrder.LITTLE_ENDIAN).putShort(0, v.getValue().shortValue()), at + 2L * v.getKey());
            }
        }
    }

    private static JsonNode module(Path manifest, String path) throws IOException {
        return StreamSupport.stream(JSON.readTree(manifest.toFile()).path("modules").spliterator(), false).filter(m -> m.path("path").asText().equals(path)).findFirst().orElseThrow();
    }

    @Test
    void refusedByNameIndexAndCount() throws IOException {
        Path model = Folders.copy(Cli.TINY, dir.resolve("m"));
        poke(model, UP, Map.of(5, NAN, 9, INFINITE));
        for (Object[] command : new Object[][] {{"analyze", model, "-o", dir.resolve("p.json")}, {"quantize", model, "--budget", "1MB", "-o", dir.resolve("out")}}) {
            Cli.Result r = Cli.run(command);
            assertEquals(5, r.exitCode());
            assertEquals("ram: tensor '" + UP + "' holds 2 values that are infinite, not a number or beyond 1.1e18, the first at index 5; the checkpoint is damaged, get another copy, "
                    + "or give --keep-nonfinite to keep the tensor dense", r.sentence());
        }
        assertFalse(Files.exists(dir.resolve("out")) || Files.exists(dir.resolve("p.json")));
    }

    /// Layers are measured while later ones are followed.
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 7})
    void theFirstIsNamedWithAnyNumberOfThreads(int threads) throws IOException {
        Path model = Folders.copy(Cli.TINY, dir.resolve("m"));
        for (int layer : new int[] {0, 1, 3}) {
            poke(model, "model.layers." + layer + ".self_attn.q_proj.weight", Map.of(layer, NAN));
        }
        Cli.Result r = Cli.run("analyze", model, "-o", dir.resolve("p.json"), "--threads", threads);
        assertEquals(5, r.exitCode());
        assertTrue(r.sentence().startsWith("ram: tensor 'model.layers.0.self_attn.q_proj.weight' holds 1 value that is infinite"), r.sentence());
    }

    @Test
    void keptDenseOnRequest() throws IOException {
        Path model = Folders.copy(Cli.TINY, dir.resolve("m"));
        poke(model, UP, Map.of(5, NAN, 9, INFINITE));
        poke(model, "model.norm.weight", Map.of(3, INFINITE));
        Path profile = dir.resolve("p.json");
        assertEquals(0, Cli.run("analyze", model, "--keep-nonfinite", "-o", profile, "--quiet").exitCode());
        Path out = dir.resolve("out");
        assertEquals(0, Cli.run("quantize", model, "--profile", profile, "--budget", "1.2MB", "-o", out, "--quiet").exitCode());
        Path direct = dir.resolve("direct");
        assertEquals(0, Cli.run("quantize", model, "--keep-nonfinite", "--budget", "1.2MB", "-o", direct, "--quiet").exitCode());
        assertEquals(-1, Files.mismatch(out.resolve("model.safetensors"), direct.resolve("model.safetensors")));

        JsonNode up = module(out.resolve("manifest.json"), "model.layers.1.mlp.up_proj");
        assertEquals("dense", up.path("format").asText());
        assertEquals("cannot-quantize", up.path("why").asText());
        assertEquals(UP + " holds 2 values that are infinite, not a number or beyond 1.1e18, the first at index 5", up.path("reason").asText());
        assertEquals("model.layers.1.mlp.up_proj.weight,model.norm.weight", JSON.readTree(out.resolve("manifest.json").toFile()).at("/analysis/keep_nonfinite").asText());
        assertTrue(Cli.run("explain", out.resolve("manifest.json"), "model.layers.1.mlp.up_proj", "--profile", profile).out().contains("It cannot be quantized: " + UP + " holds 2 values"));

        assertEquals(0, Cli.run("verify", out).exitCode());
        assertEquals(0, Cli.run("verify", out, "--source", model).exitCode());
        poke(out, "model.layers.0.input_layernorm.weight", Map.of(0, NAN));
        Cli.Result r = Cli.run("verify", out);
        assertEquals(5, r.exitCode());
        assertTrue(r.out().contains("tensor 'model.layers.0.input_layernorm.weight' holds NaN at index 0"), r.out());
    }

    @ParameterizedTest
    @ValueSource(strings = {"model.norm.weight", UP})
    void tooLargeForFloat16(String tensor) throws IOException {
        Path model = Folders.copy(Cli.TINY, dir.resolve("m"));
        poke(model, tensor, Map.of(7, 0xc780));
        Path out = dir.resolve("out");
        Cli.Result r = Cli.run("quantize", model, "--dtype", "float16", "--budget", "1.2MB", "--set", "layers.1.mlp.up_proj=dense", "-o", out, "--quiet");
        assertEquals(5, r.exitCode());
        assertEquals("ram: tensor '" + tensor + "' holds values too large for float16; give --dtype bfloat16", r.sentence());
        assertFalse(Files.exists(out));
        // what was not finite before stays what it is
        poke(model, tensor, Map.of(7, INFINITE));
        r = Cli.run("quantize", model, "--dtype", "float16", "--keep-nonfinite", "--budget", "1.2MB", "-o", out, "--quiet");
        assertEquals(0, r.exitCode(), r.err());
    }

    @Test
    void aKeptTensorIsComparedBitByBit() throws IOException {
        Path model = Folders.copy(Cli.TINY, dir.resolve("m"));
        poke(model, UP, Map.of(5, NAN));
        Path out = dir.resolve("out");
        assertEquals(0, Cli.run("quantize", model, "--keep-nonfinite", "--budget", "1.2MB", "-o", out, "--quiet").exitCode());
        poke(out, UP, Map.of(5, NAN + 1));
        Cli.Result r = Cli.run("verify", out, "--source", model);
        assertEquals(5, r.exitCode());
        assertTrue(r.out().contains(UP), r.out());
    }

    @Test
    void oneBadExpertKeepsItsStackDense() throws IOException {
        Path model = dir.resolve("m");
        SyntheticModel.writeExperts(2, model);
        String expert = "model.layers.1.mlp.experts.3.gate_proj.weight";
        poke(model, expert, Map.of(64, NAN));
        Path out = dir.resolve("out");
        assertEquals(5, Cli.run("quantize", model, "--budget", "800kB", "-o", out).exitCode());
        assertEquals(0, Cli.run("quantize", model, "--keep-nonfinite", "--budget", "800kB", "-o", out, "--quiet").exitCode());
        assertEquals("dense", module(out.resolve("manifest.json"), "model.layers.1.mlp.switch_mlp.gate_proj").path("format").asText());
        assertTrue(module(out.resolve("manifest.json"), "model.layers.1.mlp.switch_mlp.gate_proj").path("reason").asText().startsWith(expert + " holds 1 value that is"));
        assertFalse(module(out.resolve("manifest.json"), "model.layers.0.mlp.switch_mlp.gate_proj").path("format").asText().equals("dense"));
        assertEquals(0, Cli.run("verify", out, "--source", model).exitCode());
    }

    /// Rows of zeros, of one value, of denormals, of the largest values there are, with one huge outlier; and a matrix of nothing.
    private static Path extreme(Path dir) throws IOException {
        Path model = Folders.copy(Cli.TINY, dir.resolve("m"));
        Map<Integer, Integer> values = new TreeMap<>();
        for (int c = 0; c < 128; c++) {
            values.put(c, 0);
            values.put(128 + c, 0x3f80);
            values.put(256 + c, 1 + c % 3);
            values.put(384 + c, c % 2 == 0 ? 0x5d00 : 0xdd00);
            values.put(512 + c, c == 77 ? 0x5d00 : 0x3c00);
            values.put(640 + c, c == 31 ? 0xdd00 : 0);
            values.put(768 + c, 0x8001);
            values.put(896 + c, 0x0080);
        }
        poke(model, UP, values);
        Map<Integer, Integer> zeros = Stream.iterate(0, i -> i + 1).limit(128 * 128).collect(Collectors.toMap(i -> i, _ -> 0));
        poke(model, "model.layers.2.self_attn.o_proj.weight", zeros);
        return model;
    }

    static Stream<Format> affine() {
        return Format.allAffine().stream();
    }

    /// A group as MLX codes it on a CPU, in float32, each step rounded once.
    private record Coded(short scale, short bias, int[] codes) {
        static Coded nearest(float[] w, int bits) {
            int n = (1 << bits) - 1;
            float high = Float.NEGATIVE_INFINITY;
            float low = Float.POSITIVE_INFINITY;
            for (float v : w) {
                high = Math.max(high, v);
                low = Math.min(low, v);
            }
            boolean positive = Math.abs(low) > Math.abs(high);
            float scale = Math.max((high - low) / n, 1e-7f) * (positive ? 1 : -1);
            float edge = positive ? low : high;
            float zero = (float) Math.rint(edge / scale);
            float bias = zero == 0 ? 0 : edge;
            scale = zero == 0 ? scale : edge / zero;
            int[] codes = new int[w.length];
            for (int i = 0; i < w.length; i++) {
                codes[i] = (int) Math.min(Math.max(Math.rint((w[i] - bias) / scale), 0), n);
            }
            return new Coded(Decoder.toBf16(scale), Decoder.toBf16(bias), codes);
        }

        /// Σ (w − ŵ)² in double precision.
        double error(float[] w) {
            double sum = 0;
            for (int i = 0; i < w.length; i++) {
                double r = w[i] - ((double) Decoder.fromBf16(scale) * codes[i] + Decoder.fromBf16(bias));
                sum += r * r;
            }
            return sum;
        }
    }

    /// Reads back from an output what a group is stored as.
    private record Output(Checkpoint checkpoint, int bits, int group, int columns) {
        Coded group(int row, int number) {
            long at = (long) row * columns / group + number;
            int[] codes = new int[group];
            MemorySegment words = checkpoint.data(UP);
            for (int i = 0; i < group; i++) {
                long first = ((long) row * columns + (long) number * group + i) * bits;
                for (int bit = 0; bit < bits; bit++) {
                    codes[i] |= (words.get(ValueLayout.JAVA_BYTE, (first + bit) / 8) >> (first + bit) % 8 & 1) << bit;
                }
            }
            return new Coded(half("scales", at), half("biases", at), codes);
        }

        private short half(String suffix, long at) {
            return checkpoint.data(UP.replace(".weight", "." + suffix)).get(ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), 2 * at);
        }
    }

    /// A model of extreme rows, and its profile.
    @TempDir
    static Path shared;

    @BeforeAll
    static void analyzeExtremeRows() throws IOException {
        assertEquals(0, Cli.run("analyze", extreme(shared), "--formats", "affine,mxfp4,nvfp4,mxfp8", "-o", shared.resolve("p.json"), "--quiet").exitCode());
    }

    @ParameterizedTest
    @MethodSource("affine")
    void extremeRowsGiveFiniteScalesAndTheRightCodes(Format format) throws IOException {
        Path model = shared.resolve("m");
        for (String quantizer : List.of("rtn", "mse")) {
            Path out = dir.resolve(quantizer);
            Cli.Result r = Cli.run("quantize", model, "--policy", "uniform", "--bits", format.bits(), "--group", format.groupSize(), "--quantizer", quantizer, "--profile", shared.resolve("p.json"), "--allow-unsafe", "-o", out, "--quiet", "-vv");
            assertEquals(0, r.exitCode(), r.err());
            assertEquals(0, Cli.run("verify", out, "--source", model).exitCode());
            JSON.readTree(out.resolve("manifest.json").toFile()).path("modules").forEach(m -> assertTrue(Double.isFinite(m.path("written_error").asDouble(0)), m.toString()));
            try (Checkpoint source = Checkpoint.open(model); Checkpoint written = Checkpoint.open(out)) {
                Output output = new Output(written, format.bits(), format.groupSize(), COLUMNS);
                for (int row = 0; row < EXTREME_ROWS; row++) {
                    for (int g = 0; g < COLUMNS / format.groupSize(); g++) {
                        float[] w = new float[format.groupSize()];
                        Decoder.decode(DType.BF16, source.data(UP), (long) row * COLUMNS + (long) g * w.length, w, 0, w.length);
                        Coded expected = Coded.nearest(w, format.bits());
                        Coded actual = output.group(row, g);
                        String where = quantizer + " row " + row + " group " + g;
                        assertTrue(Float.isFinite(Decoder.fromBf16(actual.scale())) && Float.isFinite(Decoder.fromBf16(actual.bias())), where);
                        if (quantizer.equals("rtn")) {
                            assertEquals(expected.scale(), actual.scale(), where);
                            assertEquals(expected.bias(), actual.bias(), where);
                            assertArrayEquals(expected.codes(), actual.codes(), where);
                        } else {
                            assertTrue(actual.error(w) <= expected.error(w) * (1 + 1e-5), where + ": " + actual.error(w) + " where rounding to nearest has " + expected.error(w));
                        }
                    }
                }
            }
        }
    }

    /// What the importance of a column is made of lies beyond float32 then.
    @Test
    void sensitivitiesOfLargeWeightsEverywhereAreFinite() throws IOException {
        Path model = Folders.copy(Cli.TINY, dir.resolve("large"));
        SafetensorsFile file = SafetensorsFile.of(model.resolve("model.safetensors"));
        SplittableRandom random = new SplittableRandom(2);
        for (String name : file.names().stream().sorted().toList()) {
            float[] values = new float[Math.toIntExact(file.shape(name).elements())];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) (1e9 * (2 * random.nextDouble() - 1));
            }
            file.bfloat16(name, file.shape(name), values);
        }
        file.write(model.resolve("model.safetensors"));
        Path profile = dir.resolve("p.json");
        assertEquals(0, Cli.run("analyze", model, "-o", profile, "--quiet").exitCode());
        assertFalse(Files.readString(profile).matches("(?s).*(NaN|Infinity).*"));
        JSON.readTree(profile.toFile()).path("modules").forEach(m -> m.path("tensors").forEach(t -> assertTrue(t.path("sensitivity").asDouble() > 0, t.path("name").asText())));
    }

    @Test
    void errorsOfExtremeRowsAreFinite() throws IOException {
        Path profile = shared.resolve("p.json");
        assertFalse(Files.readString(profile).matches("(?s).*(NaN|Infinity).*"));
        for (String path : List.of("model.layers.1.mlp.up_proj", "model.layers.2.self_attn.o_proj")) {
            JsonNode errors = module(profile, path).path("errors");
            assertEquals(21, errors.size(), "18 affine formats and three others: " + errors);
            errors.forEach(e -> assertTrue(e.isNumber() && e.asDouble() >= 0 && e.asDouble() <= 1.0001, path + " " + errors));
        }
    }

    @Test
    void extremeRowsAndEveryFormat() throws IOException {
        Path out = dir.resolve("out");
        Path profile = shared.resolve("p.json");
        Path model = shared.resolve("m");
        for (String format : new String[] {"mxfp4", "nvfp4", "mxfp8"}) {
            Cli.Result r = Cli.run("quantize", model, "--profile", profile, "--formats", "affine,mxfp4,nvfp4,mxfp8", "--budget", "1.2MB", "--allow-unsafe",
                    "--set", "layers.(1.mlp.up_proj|2.self_attn.o_proj)=" + format, "-o", out, "--force", "--quiet");
            assertEquals(0, r.exitCode(), r.err());
            assertEquals(0, Cli.run("verify", out, "--source", model).exitCode());
        }
    }
}
