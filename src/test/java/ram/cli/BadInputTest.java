package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.safetensors.Checkpoint;
import ram.safetensors.TensorInfo;

/// Each kind of unusable input ends in one sentence, the right exit code, and an untouched disk.
class BadInputTest {
    @TempDir
    Path folder;

    private Path model;
    private Path weights;

    @BeforeEach
    void copyModel() throws IOException {
        model = Files.createDirectory(folder.resolve("model"));
        for (String name : List.of("config.json", "model.safetensors")) {
            Files.copy(Cli.TINY.resolve(name), model.resolve(name));
        }
        weights = model.resolve("model.safetensors");
    }

    private void refused(int code, String what) throws IOException {
        Cli.Result r = Cli.run("quantize", model, "--budget", "1MB", "-o", folder.resolve("out"), "--no-progress");
        assertEquals(code, r.exitCode(), r.err());
        assertEquals("", r.out());
        assertEquals(1, r.err().lines().count(), r.err());
        assertTrue(r.err().startsWith("ram: "), r.err());
        assertTrue(r.err().contains(what), r.err());
        try (Stream<Path> left = Files.list(folder)) {
            assertTrue(left.allMatch(f -> f.equals(model)), "nothing is left behind");
        }
    }

    private void poke(String tensor, long index, int bfloat16) throws IOException {
        long offset;
        try (Checkpoint c = Checkpoint.open(model)) {
            TensorInfo info = c.tensor(tensor).orElseThrow();
            offset = info.offset() + 2 * index;
        }
        try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
            file.seek(offset);
            file.write(new byte[] {(byte) bfloat16, (byte) (bfloat16 >> 8)});
        }
    }

    private void config(java.util.function.Consumer<ObjectNode> change) throws IOException {
        ObjectMapper mapper = new ObjectMapper();
        ObjectNode config = (ObjectNode) mapper.readTree(model.resolve("config.json").toFile());
        change.accept(config);
        mapper.writeValue(model.resolve("config.json").toFile(), config);
    }

    /// mlx_lm takes null for the value, not for the lack of one.
    @Test
    void anEpsilonThatIsNoNumber() throws IOException {
        Path out = folder.resolve("written");
        assertEquals(0, Cli.run("quantize", model, "--policy", "uniform", "-o", out, "--quiet").exitCode());
        Path source = model;
        model = out;
        config(c -> c.put("rms_norm_eps", "1e-6"));
        model = source;
        config(c -> c.putNull("rms_norm_eps"));
        String why = "config.json has rms_norm_eps = %s, and mlx_lm's qwen3 needs a number of 0 or more there, the one that the model was trained with; it would fail at the first token, or compute nonsense";
        Cli.Result verified = Cli.run("verify", out);
        assertEquals(5, verified.exitCode());
        assertTrue(verified.out().contains(String.format(why, "\"1e-6\"")), verified.out());
        Cli.Result inspected = Cli.run("inspect", model);
        assertEquals(5, inspected.exitCode());
        assertTrue(inspected.out().contains(String.format(why, "null")), inspected.out());
        for (Path given : List.of(model, out)) {
            Cli.Result r = Cli.run("eval", given, "--tokens", Cli.TINY.resolve("tokens.i32"), "--seq-len", "16", "--samples", "1");
            assertEquals(5, r.exitCode());
            assertEquals("ram: " + given + ": " + String.format(why, given == model ? "null" : "\"1e-6\"") + (given == model ? "; correct config.json, or download both again" : "; verify the folder"), r.sentence());
        }
        Folders.delete(out);
        refused(5, String.format(why, "null") + "; correct config.json, or download both again");
    }

    @Test
    void notAFolder() throws IOException {
        Path real = model;
        model = weights;
        Cli.Result r = Cli.run("inspect", model);
        assertEquals(5, r.exitCode());
        assertEquals("ram: " + weights + ": is not a folder; give the folder that holds config.json and the *.safetensors files", r.sentence());
        model = folder.resolve("nowhere");
        r = Cli.run("inspect", model);
        assertEquals(5, r.exitCode());
        assertTrue(r.sentence().contains("does not exist"), r.err());
        model = real;
    }

    @Test
    void noConfig() throws IOException {
        Files.delete(model.resolve("config.json"));
        refused(5, "holds no config.json");
    }

    @Test
    void configWithoutAKeyOfItsClass() throws IOException {
        config(c -> c.remove("max_position_embeddings"));
        refused(5, "config.json lacks max_position_embeddings; mlx_lm would not load the folder without it");
    }

    @Test
    void configThatIsNotJson() throws IOException {
        Files.writeString(model.resolve("config.json"), "{\n\"model_type\": [1");
        refused(5, "config.json: is not valid JSON (line 2, column 17: Unexpected end-of-input: expected close marker for Array); download it again");
        Files.write(model.resolve("config.json"), new byte[] {'{', '"', (byte) 0xff, '"'});
        refused(5, "config.json: is not valid JSON (line 1, column 5: Invalid UTF-8 start byte 0xff); download it again");
    }

    @Test
    void configWithoutModelType() throws IOException {
        config(c -> c.remove("model_type"));
        refused(5, "has no model_type");
    }

    @Test
    void classifier() throws IOException {
        config(c -> c.putArray("architectures").add("Qwen3ForSequenceClassification"));
        refused(5, "config.json: says the model is a classifier (Qwen3ForSequenceClassification), which mlx_lm does not run; give a model that generates text");
        config(c -> c.putArray("architectures").add("Qwen3ForCausalLM"));
        assertEquals(0, Cli.run("inspect", model).exitCode());
    }

    @Test
    void unknownModelTypeWorksAsAPlainModelAndSaysSo() throws IOException {
        config(c -> c.put("model_type", "qwen99"));
        Cli.Result r = Cli.run("inspect", model);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().contains("qwen99") && r.out().contains("assumed: "), r.out());
        assertEquals(0, Cli.run("quantize", model, "--budget", "1MB", "-o", folder.resolve("out"), "--quiet").exitCode());
    }

    @Test
    void noWeights() throws IOException {
        Files.delete(weights);
        refused(5, "holds no *.safetensors file");
    }

    @Test
    void truncatedWeights() throws IOException {
        try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
            file.setLength(file.length() - 1000);
        }
        refused(5, "the file is truncated or corrupt, download it again");
    }

    @Test
    void headerLargerThanTheFile() throws IOException {
        try (RandomAccessFile file = new RandomAccessFile(weights.toFile(), "rw")) {
            file.setLength(1000);
        }
        refused(5, "the file is truncated or not safetensors");
    }

    @Test
    void missingShard() throws IOException {
        Files.writeString(model.resolve("model.safetensors.index.json"),
                "{\"weight_map\":{\"model.norm.weight\":\"model-00001-of-00002.safetensors\"}}");
        refused(5, "model-00001-of-00002.safetensors: is missing");
    }

    @Test
    void notANumberInAWeight() throws IOException {
        poke("model.layers.2.mlp.up_proj.weight", 12345, 0x7fc0);
        refused(5, "tensor 'model.layers.2.mlp.up_proj.weight' holds 1 value that is infinite, not a number or beyond 1.1e18, the first at index 12345");
    }

    @Test
    void infinityInANorm() throws IOException {
        poke("model.layers.1.input_layernorm.weight", 7, 0xff80);
        refused(5, "tensor 'model.layers.1.input_layernorm.weight' holds");
    }

    @Test
    void aFileInTheWayOfTheOutput() throws IOException {
        Path blocked = Files.createFile(folder.resolve("blocked"));
        Cli.Result r = Cli.run("quantize", model, "--budget", "1MB", "-o", blocked.resolve("out"), "--no-progress");
        assertEquals(1, r.exitCode(), r.err());
        assertEquals(1, r.err().lines().count(), r.err());
        Files.delete(blocked);
    }
}
