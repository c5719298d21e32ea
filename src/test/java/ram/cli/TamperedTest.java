package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.util.RawValue;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;
import ram.safetensors.TensorInfo;

/// Folders whose parts contradict one another, though each by itself is in order.
class TamperedTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    static Path shared;

    @TempDir
    Path folder;

    private static Path sound;

    @BeforeAll
    static void quantize() {
        sound = shared.resolve("sound");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", sound, "--quiet").exitCode());
    }

    private Path edited(String file, Consumer<ObjectNode> edit) throws IOException {
        Path copy = folder.resolve("copy");
        if (Files.exists(copy)) {
            Folders.delete(copy);
        }
        Folders.copy(sound, copy);
        ObjectNode document = (ObjectNode) JSON.readTree(copy.resolve(file).toFile());
        edit.accept(document);
        Files.writeString(copy.resolve(file), document.toString());
        return copy;
    }

    private static void refused(String sentence, Object... args) {
        Cli.Result r = Cli.run(args);
        assertEquals(5, r.exitCode(), r.out() + r.err());
        assertTrue((r.out() + r.err()).contains(sentence), r.out() + r.err());
    }

    @Test
    void aFileThatWasAddedAndIsRead() throws IOException {
        for (String name : List.of("chat_template.jinja", "special_tokens_map.json", "modeling_x.py")) {
            Path copy = edited("manifest.json", _ -> { });
            Files.writeString(copy.resolve(name), "{}");
            refused("the file " + name + " was added later, and programs that load the folder read it; remove it", "verify", copy);
        }
        Path copy = edited("manifest.json", _ -> { });
        Files.writeString(copy.resolve("notes.txt"), "mine");
        assertFalse(Cli.run("verify", copy).out().contains("notes.txt"));
    }

    @Test
    void aManifestThatSaysOtherwise() throws IOException {
        refused("the manifest says that module model.embed_tokens is 8:64, but it is stored as", "verify",
                edited("manifest.json", m -> {
                    ObjectNode first = (ObjectNode) m.path("modules").path(0);
                    long weights = first.path("shape").path(0).asLong() * first.path("shape").path(1).asLong();
                    first.put("format", "8:64").put("bits", 8).put("group_size", 64).put("bytes", weights + weights / 64 * 4);
                }));
        refused("is quantized, but the manifest does not list it", "verify", edited("manifest.json", m -> {
            double damage = ((ArrayNode) m.path("modules")).remove(3).path("damage").asDouble();
            ObjectNode solver = (ObjectNode) m.path("solver");
            solver.put("objective", solver.path("objective").asDouble() - damage);
        }));
        refused("the manifest lists the module model.layers.7.mlp.up_proj, which is not in the folder", "verify",
                edited("manifest.json", m -> ((ObjectNode) m.path("modules").path(3)).put("path", "model.layers.7.mlp.up_proj")));
        refused("the manifest says 1 bytes in 1 safetensors files", "verify", edited("manifest.json", m -> ((ObjectNode) m.path("sizes")).put("file_bytes", 1)));
        refused("the manifest does not list the file model.safetensors", "verify", edited("manifest.json", m -> m.putArray("files")));
        refused("the manifest lists '/', which is not the name of a file", "verify", edited("manifest.json", m -> ((ObjectNode) m.path("files").path(0)).put("name", "/")));
    }

    @Test
    void aConfigurationOfAnotherModel() throws IOException {
        for (Map.Entry<String, Object> change : Map.<String, Object>of("num_hidden_layers", 2, "hidden_size", 64, "model_type", "llama").entrySet()) {
            Path copy = edited("config.json", c -> c.putPOJO(change.getKey(), change.getValue()));
            Files.delete(copy.resolve("manifest.json"));
            refused("config.json has " + change.getKey() + " = ", "verify", copy, "--source", Cli.TINY);
        }
        Path less = edited("config.json", c -> c.remove("rope_theta"));
        Files.delete(less.resolve("manifest.json"));
        refused("config.json lacks rope_theta; mlx_lm would not load the folder without it", "verify", less);
        Path fewer = edited("config.json", c -> c.put("num_hidden_layers", 3));
        Files.delete(fewer.resolve("manifest.json"));
        refused("is of a layer beyond the 3 that config.json counts; mlx_lm would refuse it", "verify", fewer);
        Path more = edited("config.json", c -> c.put("num_hidden_layers", 5));
        Files.delete(more.resolve("manifest.json"));
        refused("layer 4 is missing, though config.json counts more", "verify", more);
        Path scaled = edited("config.json", c -> c.putObject("rope_scaling").put("rope_type", "dynamic"));
        Files.delete(scaled.resolve("manifest.json"));
        refused("config.json has rope_scaling of the type 'dynamic'", "verify", scaled);
    }

    /// What stands in one of the two alone makes another model, too, where the class's default is another value.
    @Test
    void aSettingThatOnlyOneOfTheTwoHas() throws IOException {
        Path added = edited("config.json", c -> c.putObject("rope_scaling").put("rope_type", "linear").put("factor", 2));
        Files.delete(added.resolve("manifest.json"));
        refused("config.json has rope_scaling = {\"rope_type\":\"linear\",\"factor\":2}, but the source's has none", "verify", added, "--source", Cli.TINY);
        Path source = Folders.copy(Cli.TINY, folder.resolve("scaled"));
        Files.copy(added.resolve("config.json"), source.resolve("config.json"), StandardCopyOption.REPLACE_EXISTING);
        ObjectNode config = (ObjectNode) JSON.readTree(source.resolve("config.json").toFile());
        Files.writeString(source.resolve("config.json"), config.without(List.of("quantization", "quantization_config")).toString());
        Path lost = edited("config.json", _ -> { });
        Files.delete(lost.resolve("manifest.json"));
        refused("config.json has no rope_scaling, but the source's has {\"rope_type\":\"linear\",\"factor\":2}", "verify", lost, "--source", source);
        // the default of the class
        Path same = edited("config.json", c -> c.putNull("rope_scaling").put("not_a_setting", 1));
        Files.delete(same.resolve("manifest.json"));
        assertEquals(0, Cli.run("verify", same, "--source", Cli.TINY).exitCode());
    }

    /// mlx_lm makes arrays of these sizes, which takes whole numbers.
    @Test
    void aConfigurationWithSizesThatAreNone() throws IOException {
        for (Map.Entry<String, String> change : Map.of("hidden_size", "\"128\"", "intermediate_size", "384.0", "num_attention_heads", "null", "vocab_size", "-4096", "head_dim", "32.5",
                "num_key_value_heads", "\"2\"").entrySet()) {
            Path copy = edited("config.json", c -> c.putRawValue(change.getKey(), new RawValue(change.getValue())));
            Files.delete(copy.resolve("manifest.json"));
            refused("config.json has no whole number above 0 as " + change.getKey() + "; mlx_lm would not load the folder", "verify", copy);
        }
    }

    /// Found in the headers, before an analysis.
    @Test
    void aSourceWithoutAProjection() throws IOException {
        Path model = folder.resolve("lacking");
        Files.createDirectories(model);
        Files.copy(Cli.TINY.resolve("config.json"), model.resolve("config.json"));
        SafetensorsFile file = new SafetensorsFile();
        try (Checkpoint checkpoint = Checkpoint.open(Cli.TINY)) {
            checkpoint.tensors().values().stream().filter(t -> !t.name().equals("model.layers.2.self_attn.o_proj.weight"))
                    .forEach(t -> file.add(t.name(), t.dtype(), t.shape(), checkpoint.data(t.name()).toArray(ValueLayout.JAVA_BYTE)));
            file.write(model.resolve("model.safetensors"));
        }
        Cli.Result r = Cli.run("quantize", model, "--budget", "1MB", "-o", folder.resolve("lacking-out"));
        assertEquals(5, r.exitCode());
        assertEquals("ram: " + model + ": tensor 'model.layers.2.self_attn.o_proj.weight' is missing; mlx_lm would not load the folder without it; "
                + "correct config.json, or download both again", r.err().strip());
        Cli.Result inspected = Cli.run("inspect", model);
        assertEquals(5, inspected.exitCode());
        assertTrue(inspected.out().contains("problem: tensor 'model.layers.2.self_attn.o_proj.weight' is missing; mlx_lm would not load the folder without it\n" + model + ": 1 problem; "),
                inspected.out());
    }

    @Test
    void aSourceThatIsIncomplete() throws IOException {
        Path model = Folders.copy(Cli.TINY, folder.resolve("model"));
        Files.move(model.resolve("model.safetensors"), model.resolve("model-00001-of-00002.safetensors"));
        refused("holds 1 of 2 files of the model", "inspect", model);
        Files.move(model.resolve("model-00001-of-00002.safetensors"), model.resolve("model.safetensors"));
        Files.writeString(model.resolve("config.json"), Files.readString(model.resolve("config.json")).replaceFirst("\"num_hidden_layers\": *4", "\"num_hidden_layers\": 6"));
        refused("has no tensor of layer 4, although config.json counts more", "analyze", model, "-o", folder.resolve("p.json"));
    }

    @Test
    void normsOfAnotherType() throws IOException {
        Path copy = Folders.copy(sound, folder.resolve("norms"));
        Files.delete(copy.resolve("manifest.json"));
        SafetensorsFile file = SafetensorsFile.of(copy.resolve("model.safetensors")).format("mlx");
        for (String name : file.names()) {
            if (name.endsWith("norm.weight")) {
                byte[] narrow = file.data(name);
                byte[] wide = new byte[2 * narrow.length];
                for (int i = 0; i < narrow.length / 2; i++) {
                    System.arraycopy(narrow, 2 * i, wide, 4 * i + 2, 2);
                }
                file.add(name, DType.F32, file.shape(name), wide);
            }
        }
        file.write(copy.resolve("model.safetensors"));
        refused("norm.weight' is F32 in a model of BF16, which it is not in the source", "verify", copy, "--source", Cli.TINY);
    }

    /// An embedding that config.json shares with the head, beside a head that is stored: classes that take what is stored load both.
    @Test
    void aStoredHeadOfAClassThatTakesIt() throws IOException {
        Path model = Folders.copy(Cli.TINY, folder.resolve("unknown"));
        Files.writeString(model.resolve("config.json"), Files.readString(model.resolve("config.json")).replaceFirst("\"model_type\": *\"qwen3\"", "\"model_type\": \"something_new\""));
        SafetensorsFile file = SafetensorsFile.of(model.resolve("model.safetensors"));
        file.add("lm_head.weight", DType.BF16, file.shape("model.embed_tokens.weight"), file.data("model.embed_tokens.weight"));
        file.write(model.resolve("model.safetensors"));
        Cli.Result r = Cli.run("quantize", model, "--budget", "1MB", "-o", folder.resolve("out"), "--quiet");
        assertEquals(0, r.exitCode(), r.err());
    }

    @Test
    void namesWithNumbersThatNothingHas() throws IOException {
        Path model = Folders.copy(Cli.TINY, folder.resolve("numbers"));
        Path file = model.resolve("model.safetensors");
        SafetensorsFile.of(file).bfloat16("model.layers.12345678901.mlp.up_proj.weight", Shape.of(1, 2), 1, 2).write(file);
        Cli.Result r = Cli.run("inspect", model);
        assertEquals(5, r.exitCode(), r.err());
        assertEquals(1, r.err().lines().count(), r.err());
    }

    /// A weight that float16 cannot hold, though its scale and its codes are in range.
    @Test
    void weightsBeyondFloat16() throws IOException {
        Path model = Folders.copy(Cli.TINY, folder.resolve("large"));
        try (Checkpoint c = Checkpoint.open(model); RandomAccessFile file = new RandomAccessFile(model.resolve("model.safetensors").toFile(), "rw")) {
            file.seek(c.tensor("model.layers.1.mlp.up_proj.weight").orElseThrow().offset() + 2 * 1234);
            // bfloat16 of about 1e5
            file.write(new byte[] {(byte) 0xc3, 0x47});
        }
        refused("give --dtype bfloat16", "quantize", model, "--policy", "uniform", "--dtype", "float16", "-o", folder.resolve("out"));
    }

    /// Exact codes of 4 bits show no error at 4 bits, which says nothing about how much one would cost.
    @Test
    void whatWasQuantizedBeforeKeepsItsSensitivity() throws IOException {
        Path model = Folders.copy(Cli.TINY, folder.resolve("int4"));
        try (Checkpoint c = Checkpoint.open(model); RandomAccessFile file = new RandomAccessFile(model.resolve("model.safetensors").toFile(), "rw")) {
            TensorInfo t = c.tensor("model.layers.1.mlp.down_proj.weight").orElseThrow();
            byte[] bytes = new byte[Math.toIntExact(t.bytes())];
            for (int i = 0; i < bytes.length / 2; i++) {
                float w = (i % 32 == 0 ? -8 : i % 32 == 1 ? 7 : i * 7 % 16 - 8) / 64f;
                int bits = Float.floatToRawIntBits(w) >>> 16;
                bytes[2 * i] = (byte) bits;
                bytes[2 * i + 1] = (byte) (bits >> 8);
            }
            file.seek(t.offset());
            file.write(bytes);
        }
        Path profile = folder.resolve("profile.json");
        assertEquals(0, Cli.run("analyze", model, "-o", profile, "--quiet").exitCode());
        Map<String, Double> sensitivity = JSON.readTree(profile.toFile()).path("modules").valueStream().filter(m -> m.path("kind").asText().equals("down"))
                .collect(Collectors.toMap(m -> m.path("path").asText(), m -> m.path("tensors").path(0).path("sensitivity").asDouble()));
        double own = sensitivity.get("model.layers.1.mlp.down_proj");
        assertTrue(own > 0.1 * sensitivity.get("model.layers.2.mlp.down_proj") && own < 10 * sensitivity.get("model.layers.2.mlp.down_proj"), sensitivity.toString());
        List<String> formats = JSON.readTree(Cli.run("plan", profile, "--budget", "800kB", "--json").out()).path("modules").valueStream()
                .filter(m -> m.path("path").asText().equals("model.layers.1.mlp.down_proj")).map(m -> m.path("format").asText()).toList();
        assertTrue(formats.getFirst().startsWith("4:"), formats.toString());
    }
}
