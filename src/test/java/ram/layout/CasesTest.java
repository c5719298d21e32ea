package ram.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.LittleEndian;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;
import ram.tensor.StoredTensor;
import ram.tensor.TensorView;

/// What mlx_lm 0.32.0 itself makes of tiny checkpoints of its model classes: names, shapes, types, SHA-256 of every tensor, and the
/// `quantization` section that its conversion writes. Inputs follow a rule: element i of a tensor comes from the CRC-32 of its name and from i.
public class CasesTest {
    @TempDir
    Path folder;

    public record Case(JsonNode node) {
        @Override
        public String toString() {
            return node.path("name").asText();
        }
    }

    public static List<Case> cases() throws IOException {
        try (InputStream in = new GZIPInputStream(CasesTest.class.getResourceAsStream("cases.json.gz"))) {
            List<Case> out = new ArrayList<>();
            new ObjectMapper().readTree(in).forEach(c -> out.add(new Case(c)));
            return out;
        }
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void equalsWhatMlxLmMakes(Case named) throws Exception {
        JsonNode c = named.node();
        writeModel(c);
        try (Model model = Model.open(folder)) {
            Layout layout = model.layout();
            OutputTypes types = OutputTypes.of(layout, model.config(), Optional.empty());
            Map<String, String> found = new TreeMap<>();
            for (Module m : layout.modules()) {
                found.put(m.path() + ".weight", describe(m.weight(), types.of(m)));
            }
            for (Layout.Plain p : layout.plain()) {
                found.put(p.name(), describe(p.view(), types.of(p)));
            }
            for (Layout.Prequantized p : layout.prequantized()) {
                found.put(p.path() + ".weight", describe(p.weight(), p.weight().dtype()));
                found.put(p.path() + ".scales", describe(p.scales(), p.scales().dtype()));
                if (p.biases().isPresent()) {
                    found.put(p.path() + ".biases", describe(p.biases().get(), p.biases().get().dtype()));
                }
            }
            Map<String, String> wanted = new TreeMap<>();
            for (JsonNode o : c.path("outputs")) {
                wanted.put(o.path("name").asText(), o.path("dtype").asText() + shape(o).dims().toString().replace(" ", "") + " " + o.path("sha256").asText());
            }
            assertEquals(text(wanted), text(found));
            assertEquals(c.path("tied").asBoolean(), layout.architecture().tied(), "tied");
            checkStock(layout, 32, c.path("quantization"), c.path("quantized_modules"));
            checkStock(layout, 64, c.path("quantization_g64"), c.path("quantized_modules_g64"));
            checkCoverage(model);
            assertEquals(List.of(), ExpectedTensors.problems(layout, model.config()));
            assertEquals(List.of(), layout.architecture().assumptions().stream().filter(a -> a.contains("not among the known parameters")).toList());
            checkNothingFiresAgain(layout, types);
        }
    }

    /// A class misses what it always has, and what comes with something else.
    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void nothingThatTheClassNeedsIsMissing(Case named) throws Exception {
        writeModel(named.node());
        try (Model model = Model.open(folder)) {
            Map<String, Shape> all = new TreeMap<>();
            model.layout().modules().forEach(m -> all.put(m.path() + ".weight", m.weight().shape()));
            model.layout().plain().forEach(p -> all.put(p.name(), p.view().shape()));
            model.layout().prequantized().forEach(p -> all.put(p.path() + ".weight", p.shape()));
            ModelConfig written = new ModelConfig(model.config().file(), model.layout().config());
            JsonNode rules = Family.of(written.modelType()).orElseThrow().rules();
            List<String> parts = Stream.concat(rules.path("always").valueStream(), rules.path("together").valueStream().flatMap(JsonNode::valueStream)).map(n -> n.asText().replace("{N}", "1")).toList();
            for (String part : parts) {
                Map<String, Shape> without = new TreeMap<>(all);
                if (without.remove(part) != null) {
                    assertEquals(List.of("tensor '" + part + "' is missing; mlx_lm would not load the folder without it"),
                            ExpectedTensors.problems(written, without).stream().filter(p -> p.startsWith("tensor")).toList());
                }
            }
            if (rules.has("either")) {
                Map<String, Shape> without = new TreeMap<>(all);
                rules.path("either").forEach(e -> without.remove(e.asText().replace("{N}", "1")));
                assertTrue(ExpectedTensors.problems(written, without).stream().anyMatch(p -> p.startsWith("layer 1 has neither ")), named.toString());
            }
        }
    }

    /// Another number of them than the tensors have.
    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void expertsAreCounted(Case named) throws Exception {
        writeModel(named.node());
        try (Model model = Model.open(folder)) {
            ObjectNode written = model.layout().config().deepCopy();
            Family family = Family.of(model.config().modelType()).orElseThrow();
            Optional<JsonNode> stack = family.steps().valueStream().filter(s -> s.path("do").asText().equals("stack")).findFirst();
            List<Module> experts = model.layout().modules().stream().filter(Module::expert).toList();
            if (stack.isEmpty() || experts.isEmpty() || !(family.scope(written) instanceof ObjectNode scope)) {
                return;
            }
            String count = stack.get().path("count").asText();
            assertTrue(scope.path(count).isInt(), count);
            Map<String, Shape> shapes = new TreeMap<>();
            experts.forEach(m -> shapes.put(m.path() + ".weight", m.weight().shape()));
            long before = experts.getFirst().weight().shape().dim(0);
            scope.put(count, 99);
            assertEquals(experts.stream().map(m -> "tensor '" + m.path() + ".weight' has " + before + " experts, but config.json has " + count + " = 99; mlx_lm would refuse it").sorted().toList(),
                    ExpectedTensors.problems(new ModelConfig(model.config().file(), written), shapes).stream().filter(p -> p.contains(" experts, ")).sorted().toList());
        }
    }

    /// mlx_lm applies its rules at every load: on what was written they must change nothing.
    private void checkNothingFiresAgain(Layout layout, OutputTypes types) throws Exception {
        if (!layout.prequantized().isEmpty() || layout.modules().stream().anyMatch(m -> m.mustStayDense().filter(why -> why.contains("normalises")).isPresent())
                || List.of("baichuan_m1", "minicpm").contains(layout.architecture().family())) {
            // Packed modules are refused as a source; normalised heads are normalised again; minicpm's head is a copy already.
            return;
        }
        Path again = Files.createDirectory(folder.resolve("again"));
        Files.writeString(again.resolve("config.json"), layout.config().toString());
        SafetensorsFile file = new SafetensorsFile();
        Map<String, String> written = new TreeMap<>();
        for (Module m : layout.modules()) {
            zeros(file, written, m.path() + ".weight", types.of(m), m.weight().shape());
        }
        for (Layout.Plain p : layout.plain()) {
            zeros(file, written, p.name(), types.of(p), p.view().shape());
        }
        file.write(again.resolve("model.safetensors"));
        try (Model model = Model.open(again)) {
            Map<String, String> found = new TreeMap<>();
            model.layout().modules().forEach(m -> found.put(m.path() + ".weight", how(m.weight())));
            model.layout().plain().forEach(p -> found.put(p.name(), how(p.view())));
            assertEquals(text(written), text(found), "the rules applied to their own result");
            assertEquals(layout.modules().stream().map(Module::path).toList(), model.layout().modules().stream().map(Module::path).toList());
        }
    }

    private static void zeros(SafetensorsFile file, Map<String, String> written, String name, DType dtype, Shape shape) {
        file.add(name, dtype, shape, new byte[Math.toIntExact(shape.elements() * dtype.bytes())]);
        written.put(name, dtype + shape.toString() + " untouched");
    }

    private static String how(TensorView view) {
        return view.dtype() + view.shape().toString() + (view instanceof StoredTensor ? " untouched" : " changed");
    }

    /// gpt-oss as it is published, decoded instead of passed through.
    @Test
    void mxfp4IsDecodedWhenItIsToBeQuantizedAnew() throws Exception {
        JsonNode c = cases().stream().map(Case::node).filter(n -> n.path("name").asText().equals("gpt_oss")).findFirst().orElseThrow();
        writeModel(c);
        float[] elements = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6};
        try (Model passed = Model.open(folder); Model decoded = Model.open(folder, new LayoutOptions(true))) {
            Layout.Prequantized packed = passed.layout().prequantized().stream().filter(p -> p.path().endsWith("layers.0.mlp.experts.up_proj")).findFirst().orElseThrow();
            Module module = decoded.layout().modules().stream().filter(m -> m.path().equals(packed.path())).findFirst().orElseThrow();
            assertEquals(List.of(), decoded.layout().prequantized());
            assertEquals(1, decoded.layout().architecture().assumptions().size());
            int n = Math.toIntExact(module.weight().shape().elements());
            MemorySegment codes = MemorySegment.ofArray(new byte[n / 2]);
            MemorySegment scales = MemorySegment.ofArray(new byte[n / 32]);
            MemorySegment values = MemorySegment.ofArray(new byte[n * 2]);
            packed.weight().read(0, codes);
            packed.scales().read(0, scales);
            module.weight().read(0, values);
            for (int i = 0; i < n; i++) {
                int code = codes.get(LittleEndian.BYTE, i / 2) >> i % 2 * 4 & 15;
                int scale = scales.get(LittleEndian.BYTE, i / 32) & 255;
                float expected = (float) (elements[code] * Math.pow(2, scale - 127));
                assertEquals(expected, Decoder.fromBf16(values.get(LittleEndian.SHORT, 2L * i)) + 0f, "element " + i);
            }
        }
    }

    private static void checkStock(Layout layout, int groupSize, JsonNode section, JsonNode modules) {
        if (!section.isObject()) {
            return;
        }
        StockQuantization stock = StockQuantization.of(layout, 4, groupSize);
        TreeSet<String> wanted = new TreeSet<>();
        modules.forEach(m -> wanted.add(m.asText()));
        assertEquals(String.join("\n", wanted), String.join("\n", stock.modules()));
        assertEquals(sorted(section), sorted(stock.section()));
    }

    private static String sorted(JsonNode section) {
        Map<String, String> out = new TreeMap<>();
        section.properties().forEach(e -> {
            Map<String, String> inner = new TreeMap<>();
            e.getValue().properties().forEach(i -> inner.put(i.getKey(), i.getValue().toString()));
            out.put(e.getKey(), e.getValue().isObject() ? inner.toString() : e.getValue().toString());
        });
        return text(out);
    }

    private static void checkCoverage(Model model) {
        TreeSet<String> used = new TreeSet<>();
        model.layout().modules().forEach(m -> used.addAll(m.weight().sources()));
        model.layout().plain().forEach(p -> used.addAll(p.view().sources()));
        model.layout().prequantized().forEach(p -> {
            used.addAll(p.weight().sources());
            used.addAll(p.scales().sources());
            p.biases().ifPresent(b -> used.addAll(b.sources()));
        });
        List<String> fates = new ArrayList<>(used);
        model.layout().dropped().forEach(d -> fates.add(d.tensor()));
        fates.sort(null);
        assertEquals(List.copyOf(model.checkpoint().tensors().keySet()), fates, "every source tensor is used or dropped, once");
    }

    private static String text(Map<String, String> map) {
        StringBuilder out = new StringBuilder();
        map.forEach((k, v) -> out.append(k).append(' ').append(v).append('\n'));
        return out.toString();
    }

    /// Type, shape and digest, read in pieces that are no multiple of anything.
    private static String describe(TensorView view, DType dtype) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        long n = view.shape().elements();
        for (long first = 0; first < n; first += 12_345) {
            int count = (int) Math.min(12_345, n - first);
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment data = arena.allocate((long) count * view.dtype().bytes(), 8);
                view.read(first, data);
                if (dtype != view.dtype()) {
                    float[] values = new float[count];
                    Decoder.decode(view.dtype(), data, 0, values, 0, count);
                    data = arena.allocate((long) count * dtype.bytes(), 8);
                    Decoder.encode(dtype, values, 0, count, data, 0);
                }
                digest.update(data.asByteBuffer());
            }
        }
        return dtype + view.shape().dims().toString().replace(" ", "") + " " + HexFormat.of().formatHex(digest.digest());
    }

    private static Shape shape(JsonNode tensor) {
        List<Long> dims = new ArrayList<>();
        tensor.path("shape").forEach(d -> dims.add(d.asLong()));
        return new Shape(dims);
    }

    private void writeModel(JsonNode c) throws Exception {
        writeModel(c, folder);
    }

    /// The input of the case with this name.
    public static Path writeModel(String name, Path folder) throws Exception {
        writeModel(cases().stream().map(Case::node).filter(n -> n.path("name").asText().equals(name)).findFirst().orElseThrow(), folder);
        return folder;
    }

    public static void writeModel(JsonNode c, Path folder) throws Exception {
        Files.writeString(folder.resolve("config.json"), runnable(c.path("config")).toString());
        SafetensorsFile file = new SafetensorsFile();
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        Map<String, JsonNode> inputs = new HashMap<>();
        c.path("inputs").forEach(i -> inputs.put(i.path("name").asText(), i));
        for (JsonNode i : c.path("inputs")) {
            String name = i.path("name").asText();
            DType dtype = DType.named(i.path("dtype").asText()).orElseThrow();
            byte[] data = data(name, dtype, shape(i), inputs);
            digest.update(data);
            file.add(name, dtype, shape(i), data);
        }
        assertEquals(c.path("inputs_sha256").asText(), HexFormat.of().formatHex(digest.digest()), "the rule gives the inputs that mlx_lm had");
        file.write(folder.resolve("model.safetensors"));
    }

    /// mlx_lm has loaded the cases and not run them, so what a class reads at its first token alone is not in all of them.
    private static JsonNode runnable(JsonNode config) {
        JsonNode out = config.deepCopy();
        for (JsonNode scope : List.of(out, out.path("text_config"))) {
            if (scope.path("model_type").asText().equals("ministral3")) {
                ((ObjectNode) scope.path("rope_parameters")).put("llama_4_scaling_beta", 0.1);
            }
        }
        return out;
    }

    private static long w(long h, long i) {
        long u = (i * 7919 + h) % 2147483647L;
        return u * u % 2147483647L;
    }

    private static byte[] data(String name, DType dtype, Shape shape, Map<String, JsonNode> inputs) {
        CRC32 crc = new CRC32();
        crc.update(name.getBytes(StandardCharsets.UTF_8));
        long h = crc.getValue();
        int n = Math.toIntExact(shape.elements());
        ByteBuffer out = ByteBuffer.allocate(n * dtype.bytes()).order(ByteOrder.LITTLE_ENDIAN);
        if (dtype == DType.I32 && name.endsWith("weight_shape")) {
            JsonNode packed = inputs.get(name.substring(0, name.length() - "weight_shape".length()) + "weight_packed").path("shape");
            return out.putInt(packed.get(0).asInt()).putInt(8 * packed.get(1).asInt()).array();
        }
        boolean scale = name.endsWith("_scale_inv") || name.endsWith("activation_scale");
        for (int i = 0; i < n; i++) {
            float v = dtype == DType.F32 && scale ? (float) ((w(h, i) % 65521 + 1) / 1000000.0) : scale ? (w(h, i) % 255 + 1) / 8192f : (w(h, i) % 255 - 127) / 512f;
            switch (dtype) {
                case I32 -> {
                    for (int b = 0; b < 4; b++) {
                        out.put((byte) (w(h, 4L * i + b) % 256));
                    }
                }
                case F8_E4M3 -> {
                    long t = w(h, i) % 254;
                    out.put((byte) (t < 127 ? t : t + 1));
                }
                case U8 -> out.put((byte) (name.endsWith("_scales") ? 100 + w(h, i) % 30 : w(h, i) % 256));
                case F32 -> out.putFloat(v);
                case F16 -> out.putShort(Float.floatToFloat16(v));
                case BF16 -> out.putShort((short) (Float.floatToRawIntBits(v) >>> 16));
                default -> throw new IllegalArgumentException(dtype + " in " + name);
            }
        }
        return out.array();
    }
}
