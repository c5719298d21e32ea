package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.eval.TinyModel;
import ram.layout.CasesTest;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// Faults that load without complaint, or nearly so, each planted in a sound folder. The manifest and with it all receipts are removed, unless they are what finds the fault.
class PlantedFaultsTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String Q = "model.layers.1.self_attn.q_proj";

    @TempDir
    static Path folder;

    private static Path mixture;
    private static Path dense;
    private static Path experts;
    private static Path norms;
    private static Path normsOut;

    private Path out;

    @BeforeAll
    static void quantize() throws Exception {
        dense = folder.resolve("dense");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--policy", "uniform", "-o", dense).exitCode());
        mixture = new TinyModel("qwen3_moe", "").write(folder.resolve("mixture"));
        experts = folder.resolve("experts");
        assertEquals(0, Cli.run("quantize", mixture, "--policy", "uniform", "--group", "32", "-o", experts).exitCode());
        norms = CasesTest.writeModel("qwen3_next", Files.createDirectory(folder.resolve("norms")));
        normsOut = folder.resolve("norms-out");
        Cli.Result result = Cli.run("quantize", norms, "--policy", "uniform", "--group", "32", "-o", normsOut);
        assertEquals(0, result.exitCode(), result.err());
    }

    @BeforeEach
    void noCopy() throws IOException {
        out = folder.resolve("planted");
        if (Files.exists(out)) {
            try (Stream<Path> files = Files.list(out)) {
                for (Path file : files.toList()) {
                    Files.delete(file);
                }
            }
            Files.delete(out);
        }
    }

    /// A stored tensor.
    private record Tensor(DType dtype, Shape shape, byte[] data) {
    }

    /// The tensors of a copy, to be changed and put back.
    private final class Tensors {
        final Map<String, Tensor> all = new TreeMap<>();

        Tensors(Path from, boolean keepManifest) throws IOException {
            Folders.copy(from, out);
            if (!keepManifest) {
                Files.deleteIfExists(out.resolve("manifest.json"));
            }
            byte[] bytes = Files.readAllBytes(from.resolve("model.safetensors"));
            int header = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
            JSON.readTree(bytes, 8, header).properties().forEach(e -> {
                if (!e.getKey().equals("__metadata__")) {
                    JsonNode t = e.getValue();
                    long[] dims = new long[t.path("shape").size()];
                    Arrays.setAll(dims, i -> t.path("shape").path(i).asLong());
                    int begin = 8 + header + t.path("data_offsets").path(0).asInt();
                    all.put(e.getKey(), new Tensor(DType.named(t.path("dtype").asText()).orElseThrow(), Shape.of(dims),
                            Arrays.copyOfRange(bytes, begin, 8 + header + t.path("data_offsets").path(1).asInt())));
                }
            });
        }

        byte[] data(String name) {
            return all.get(name).data();
        }

        void write() throws IOException {
            SafetensorsFile file = new SafetensorsFile();
            all.forEach((name, t) -> file.add(name, t.dtype(), t.shape(), t.data()));
            file.format("mlx").write(out.resolve("model.safetensors"));
        }
    }

    private String found(Path source, String... words) {
        Cli.Result result = source == null ? Cli.run("verify", out) : Cli.run("verify", out, "--source", source);
        assertEquals(5, result.exitCode(), () -> "not found: " + String.join(" ", words) + "\n" + result.out() + result.err());
        for (String word : words) {
            assertTrue(result.out().contains(word), () -> word + " in\n" + result.out());
        }
        return result.out();
    }

    @Test
    void anUnchangedCopyIsSound() throws IOException {
        new Tensors(dense, false).write();
        Cli.Result result = Cli.run("verify", out, "--source", Cli.TINY);
        assertEquals(0, result.exitCode(), result.out());
    }

    @Test
    void scalesAndBiasesSwapped() throws IOException {
        Tensors t = new Tensors(dense, false);
        Tensor scales = t.all.get(Q + ".scales");
        t.all.put(Q + ".scales", t.all.get(Q + ".biases"));
        t.all.put(Q + ".biases", scales);
        t.write();
        found(Cli.TINY, "module " + Q, "codes, scales, biases or order of experts are wrong");
    }

    @Test
    void codesInTheWrongOrder() throws IOException {
        Tensors t = new Tensors(dense, false);
        ByteBuffer words = ByteBuffer.wrap(t.data(Q + ".weight")).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < words.capacity(); i += 4) {
            words.putInt(i, Integer.reverseBytes(words.getInt(i)));
        }
        t.write();
        found(Cli.TINY, "module " + Q);
        noCopy();
        t = new Tensors(dense, false);
        words = ByteBuffer.wrap(t.data(Q + ".weight")).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < words.capacity(); i += 4) {
            words.putInt(i, Integer.reverse(words.getInt(i)));
        }
        t.write();
        found(Cli.TINY, "module " + Q);
    }

    @Test
    void twoExpertsInEachOthersPlace() throws IOException {
        Tensors t = new Tensors(experts, false);
        String path = "model.layers.0.mlp.switch_mlp.gate_proj";
        for (String part : new String[] {".weight", ".scales", ".biases"}) {
            byte[] data = t.data(path + part);
            int size = data.length / 4;
            byte[] second = Arrays.copyOfRange(data, size, 2 * size);
            System.arraycopy(data, 2 * size, data, size, size);
            System.arraycopy(second, 0, data, 2 * size, size);
        }
        t.write();
        found(mixture, "module " + path, "order of experts");
    }

    @Test
    void normsThatWereNotShifted() throws Exception {
        Tensors t = new Tensors(normsOut, false);
        String name = "model.norm.weight";
        byte[] raw = new byte[t.data(name).length];
        Arrays.fill(raw, (byte) 0);
        t.all.put(name, new Tensor(t.all.get(name).dtype(), t.all.get(name).shape(), raw));
        t.write();
        found(norms, "tensor '" + name + "' differs from its source");
    }

    @Test
    void promotedTypes() throws IOException {
        Tensors t = new Tensors(dense, false);
        for (String part : new String[] {".scales", ".biases"}) {
            Tensor narrow = t.all.get(Q + part);
            ByteBuffer wide = ByteBuffer.allocate(2 * narrow.data().length).order(ByteOrder.LITTLE_ENDIAN);
            ByteBuffer from = ByteBuffer.wrap(narrow.data()).order(ByteOrder.LITTLE_ENDIAN);
            while (from.hasRemaining()) {
                wide.putInt(from.getShort() << 16);
            }
            t.all.put(Q + part, new Tensor(DType.F32, narrow.shape(), wide.array()));
        }
        t.write();
        found(null, "tensor '" + Q + ".scales' is F32 in a model of BF16");
    }

    @Test
    void tensorsThatAreMissingOrTooMany() throws IOException {
        Tensors t = new Tensors(dense, false);
        t.all.remove("model.layers.2.input_layernorm.weight");
        t.all.put("model.layers.0.extra.weight", new Tensor(DType.BF16, Shape.of(2), new byte[4]));
        t.write();
        found(null, "lists the tensor 'model.layers.2.input_layernorm.weight', but model.safetensors does not hold it");
        Files.delete(out.resolve("model.safetensors.index.json"));
        found(Cli.TINY, "tensor 'model.layers.2.input_layernorm.weight' of the source is missing", "tensor 'model.layers.0.extra.weight' has no counterpart in the source");
    }

    @Test
    void aConfigThatDoesNotDescribeTheTensors() throws IOException {
        Path config = dense.resolve("config.json");
        ObjectNode sound = (ObjectNode) JSON.readTree(config.toFile());
        ObjectNode none = sound.deepCopy().without(java.util.List.of("quantization", "quantization_config"));
        ObjectNode bits = sound.deepCopy();
        ((ObjectNode) bits.path("quantization")).put("bits", 8);
        ObjectNode group = sound.deepCopy();
        ((ObjectNode) group.path("quantization")).put("group_size", 32);
        ObjectNode override = sound.deepCopy();
        ((ObjectNode) override.path("quantization")).putObject(Q).put("bits", 3).put("group_size", 64);
        ObjectNode misspelt = sound.deepCopy();
        ((ObjectNode) misspelt.path("quantization")).putObject("model.layers.1.self_attention.q_proj").put("bits", 4).put("group_size", 64);
        for (ObjectNode wrong : new ObjectNode[] {none, bits, group, override, misspelt}) {
            noCopy();
            new Tensors(dense, false);
            Files.writeString(out.resolve("config.json"), wrong.toString());
            found(null);
        }
    }

    @Test
    void filesThatDoNotBelongTogether() throws IOException {
        new Tensors(dense, false);
        Files.copy(out.resolve("model.safetensors"), out.resolve("model-00009-of-00009.safetensors"));
        found(null, "model-00009-of-00009.safetensors does not belong to the index; mlx_lm would load it all the same, remove it");
        noCopy();
        new Tensors(dense, false);
        byte[] bytes = Files.readAllBytes(out.resolve("model.safetensors"));
        Files.write(out.resolve("model.safetensors"), Arrays.copyOf(bytes, bytes.length - 100));
        found(null, "model.safetensors");
        noCopy();
        new Tensors(dense, false);
        Path index = out.resolve("model.safetensors.index.json");
        Files.writeString(index, Files.readString(index).replace("\"" + Q + ".weight\"", "\"" + Q + ".wait\""));
        found(null, "model.safetensors");
    }

    /// With the receipts of the manifest every flipped bit is found; without them those that matter.
    @Test
    void flippedBits() throws IOException {
        Random random = new Random(11);
        byte[] sound = Files.readAllBytes(dense.resolve("model.safetensors"));
        int flips = Integer.getInteger("ram.flips", 40);
        int withoutReceipts = 0;
        new Tensors(dense, true);
        Path file = out.resolve("model.safetensors");
        Path manifest = out.resolve("manifest.json");
        byte[] text = Files.readAllBytes(manifest);
        for (int i = 0; i < flips; i++) {
            byte[] bytes = sound.clone();
            int at = i % 8 == 0 ? random.nextInt(2000) : random.nextInt(bytes.length);
            bytes[at] ^= (byte) (1 << random.nextInt(8));
            Files.write(file, bytes);
            Cli.Result result = Cli.run("verify", out);
            assertEquals(5, result.exitCode(), "flip at " + at);
            assertTrue(result.out().contains("model.safetensors") || result.err().contains("model.safetensors"), result.out() + result.err());
            Files.delete(manifest);
            withoutReceipts += Cli.run("verify", out, "--source", Cli.TINY).exitCode() == 5 ? 1 : 0;
            Files.write(manifest, text);
        }
        System.out.println("flipped bits: " + flips + " of " + flips + " found with receipts, " + withoutReceipts + " by comparison with the source alone");
        Files.write(file, sound);
        assertEquals(0, Cli.run("verify", out).exitCode());
    }
}
