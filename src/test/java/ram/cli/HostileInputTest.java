package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.SyntheticModel;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// What fuzzing has found, one by one.
class HostileInputTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    Path dir;
    private Path model;

    @BeforeEach
    void model() throws IOException {
        model = dir.resolve("m");
        SyntheticModel.writeTiny(true, model);
    }

    private static void change(Path file, Consumer<ObjectNode> how) throws IOException {
        ObjectNode root = (ObjectNode) JSON.readTree(file.toFile());
        how.accept(root);
        Files.writeString(file, root.toString());
    }

    private static void refused(String end, Object... args) {
        Cli.Result r = Cli.run(args);
        assertEquals(5, r.exitCode(), r.err());
        assertTrue(r.sentence().startsWith("ram: ") && r.sentence().endsWith(end), r.err());
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void filesThatNeverEnd() throws IOException {
        Path tokens = Files.createSymbolicLink(dir.resolve("tokens.i32"), Path.of("/dev/zero"));
        refused(tokens + ": is not a regular file; give the name of one", "eval", model, "--tokens", tokens);
        refused(tokens + ": is not a regular file; give the name of one", "eval", Cli.TINY, "--text", tokens);
        Path index = Files.createSymbolicLink(model.resolve("model.safetensors.index.json"), Path.of("/dev/zero"));
        refused(index + ": is not a regular file; download it again", "inspect", model);
    }

    @Test
    void sizesThatCannotBe() throws IOException {
        Path config = model.resolve("config.json");
        change(config, c -> c.put("hidden_size", Integer.MAX_VALUE + 1L));
        assertEquals(0, Cli.run("analyze", model, "-o", dir.resolve("p.json"), "--quiet").exitCode());
        change(config, c -> c.put("hidden_size", -1));
        assertEquals(0, Cli.run("analyze", model, "-o", dir.resolve("p.json"), "--force", "--quiet").exitCode());
        change(config, c -> c.put("hidden_size", 64).put("num_experts", Double.MAX_VALUE));
        refused("config.json: holds a number that is out of range for this model; download it again", "inspect", model);
        SyntheticModel.writeTiny(false, dir.resolve("dense"));
        change(dir.resolve("dense/config.json"), c -> c.put("num_hidden_layers", Integer.MAX_VALUE));
        Path tokens = Files.write(dir.resolve("tokens.i32"), new byte[64]);
        refused("has no tensor of layer 1, although config.json counts more layers than that; the checkpoint is incomplete, download it again", "eval", dir.resolve("dense"), "--tokens", tokens, "--seq-len", 8);
        change(dir.resolve("dense/config.json"), c -> c.put("num_hidden_layers", -1));
        refused("counts -1 layers, but the model has the tensor model.layers.0.input_layernorm.weight; the two do not belong together, download both again", "quantize", dir.resolve("dense"), "--budget", "150kB", "-o", dir.resolve("out"));
    }

    @Test
    void aConfigurationOfAnotherArchitecture() throws IOException {
        change(model.resolve("config.json"), c -> c.put("model_type", "mamba"));
        refused("config.json's model_type 'mamba' is not theirs, or the model is also published in the format of that class", "quantize", model, "--policy", "uniform", "-o", dir.resolve("out"));
    }

    @Test
    void namesOfAnyLength() throws IOException {
        Files.writeString(model.resolve("model.safetensors.index.json"), "{\"weight_map\":{\"a\":\"" + "x".repeat(3_000_000) + "\"}}");
        Cli.Result r = Cli.run("inspect", model);
        assertEquals(5, r.exitCode());
        assertTrue(r.err().length() < 2100, r.err().length() + " characters");
    }

    @Test
    void otherEncodings() throws IOException {
        Files.write(model.resolve("config.json"), new byte[] {'{', 0, 0, 0, 't', '^', 't', 'd', 1, 2, 3, 4});
        refused("config.json: is not UTF-8 text; download it again", "inspect", model);
    }

    @Test
    void profilesThatCannotBe() throws IOException {
        Path profile = dir.resolve("p.json");
        assertEquals(0, Cli.run("analyze", model, "-o", profile, "--quiet").exitCode());
        String sound = Files.readString(profile);
        change(profile, p -> ((ObjectNode) p.get("options")).remove("quantizer"));
        refused("name no quantizer that this version knows; create the file again", "plan", profile, "--budget", "300kB");
        Files.writeString(profile, sound);
        change(profile, p -> ((ArrayNode) p.get("modules")).remove(3));
        refused("does not have the modules and tensors of " + model + "; analyze this model", "quantize", model, "--profile", profile, "--budget", "300kB", "-o", dir.resolve("out"));
        change(profile, p -> p.putArray("modules"));
        String empty = profile + ": modules is empty, so there is nothing to choose formats for; create the file again";
        refused(empty, "plan", profile, "--budget", "300kB");
        refused(empty, "sweep", profile);
        refused(empty, "report", profile, "-o", dir.resolve("report.html"));
        Path part = dir.resolve("part.json");
        assertEquals(0, Cli.run("analyze", model, "--part", "1/1", "-o", part, "--quiet").exitCode());
        Files.writeString(part, Files.readString(part).replaceFirst("\"frobenius\" : [0-9.E-]+", "\"frobenius\" : 1.7976931348623157E308"));
        refused("analyze the model again", "merge", part, "-o", dir.resolve("merged.json"));
        refused("is not a regular file; give the name of one", "plan", dir, "--budget", "300kB");
        refused("is a model's folder; give what ram analyze wrote, or run it first", "plan", model, "--budget", "300kB");
        Files.writeString(profile, sound);
        change(profile, p -> ((ObjectNode) p.at("/plain/0")).putArray("shape").add(1L << 62).add(1));
        refused("is an impossible shape; create the file again", "plan", profile, "--budget", "300kB");
    }

    @Test
    void configurationsThatPythonReadsAndThoseThatItDoesNot() throws IOException {
        Path config = Cli.TINY.resolve("config.json");
        Path source = dir.resolve("source");
        Folders.copy(Cli.TINY, source);
        Files.writeString(source.resolve("config.json"), Files.readString(config).replaceFirst("\\{", "{\"time_step_limit\": [0.0, Infinity],"));
        Path out = dir.resolve("infinite");
        assertEquals(0, Cli.run("quantize", source, "--budget", "1MB", "-o", out, "--quiet").exitCode());
        assertTrue(Files.readString(out.resolve("config.json")).replaceAll("\\s", "").contains("\"time_step_limit\":[0.0,Infinity]"));
        Files.writeString(source.resolve("config.json"), Files.readString(config) + "{\"model_type\":\"llama\"}");
        refused("config.json: goes on after the end of the document; download it again", "inspect", source);
        Files.writeString(source.resolve("config.json"), Files.readString(config));
        Files.delete(source.resolve("tokenizer.json"));
        Files.createSymbolicLink(source.resolve("tokenizer.json"), dir.resolve("blobs/gone"));
        refused("tokenizer.json: is a link to a file that does not exist; download it again", "quantize", source, "--budget", "1MB", "-o", dir.resolve("without"));
        assertFalse(Files.exists(dir.resolve("without")));
    }

    @Test
    void modelsThatMlxWouldNotLoad() throws IOException {
        String q = "model.layers.0.self_attn.q_proj.weight";
        Path source = dir.resolve("source");
        Folders.copy(Cli.TINY, source);
        for (String missing : List.of("model.embed_tokens.weight", "model.norm.weight", q)) {
            SafetensorsFile file = new SafetensorsFile();
            SafetensorsFile whole = SafetensorsFile.of(Cli.TINY.resolve("model.safetensors"));
            whole.names().stream().filter(n -> !n.equals(missing)).forEach(n -> file.add(n, DType.BF16, whole.shape(n), whole.data(n)));
            Files.delete(source.resolve("model.safetensors"));
            file.write(source.resolve("model.safetensors"));
            unsound("tensor '" + missing + "' is missing; mlx_lm would not load the folder without it", source);
        }
        Files.copy(Cli.TINY.resolve("model.safetensors"), source.resolve("model.safetensors"), StandardCopyOption.REPLACE_EXISTING);
        change(source.resolve("config.json"), c -> c.put("intermediate_size", 999));
        unsound("tensor 'model.layers.0.mlp.down_proj.weight' has the shape [128×384], but by config.json it would have [128×999]; mlx_lm would refuse it", source);
        change(source.resolve("config.json"), c -> c.put("intermediate_size", 384).put("tie_word_embeddings", false));
        refused("has no tensor lm_head.weight, but config.json says tie_word_embeddings = false; the checkpoint is incomplete, download it again", "inspect", source);
        change(source.resolve("config.json"), c -> c.put("tie_word_embeddings", true).put("vocab_size", Long.MAX_VALUE));
        unsound("config.json has sizes that no tensor can have", source);
    }

    @Test
    void weightsThatAreNone() throws IOException {
        String q = "model.layers.0.self_attn.q_proj.weight";
        Path file = model.resolve("model.safetensors");
        SafetensorsFile whole = SafetensorsFile.of(file);
        whole.add("model.layers.9.self_attn.q_proj.weight", DType.BF16, Shape.of(0, 64), new byte[0]).write(file);
        change(model.resolve("config.json"), c -> c.remove("num_hidden_layers"));
        refused("tensor 'model.layers.9.self_attn.q_proj.weight' is empty; the checkpoint is incomplete, download it again", "inspect", model);
        SyntheticModel.writeTiny(true, dir.resolve("again"));
        SafetensorsFile.of(dir.resolve("again/model.safetensors")).add(q.replace(".weight", ".scales"), DType.BF16, Shape.of(64, 2), new byte[256]).write(dir.resolve("again/model.safetensors"));
        refused("tensor '" + q + "' is BF16, but has scales or biases as if it were quantized; download the checkpoint again", "inspect", dir.resolve("again"));
    }

    @Test
    void manifestsThatCannotBe() throws IOException {
        Path profile = dir.resolve("p.json");
        Path manifest = dir.resolve("m.json");
        assertEquals(0, Cli.run("analyze", model, "-o", profile, "--quiet").exitCode());
        assertEquals(0, Cli.run("plan", profile, "--budget", "300kB", "-o", manifest).exitCode());
        String sound = Files.readString(manifest);
        change(manifest, m -> m.put("policy", "zzz"));
        Cli.Result r = Cli.run("explain", manifest, "--profile", profile);
        assertEquals(5, r.exitCode());
        assertTrue(r.err().startsWith("ram: " + manifest + ": "), r.err());
        Files.writeString(manifest, sound);
        change(manifest, m -> m.put("layers", -1));
        refused("is negative; create the file again", "explain", manifest, "--profile", profile);
        Files.writeString(manifest, sound);
        change(manifest, m -> m.putObject("limit"));
        assertEquals(5, Cli.run("explain", manifest, "--profile", profile).exitCode());
    }

    private void unsound(String problem, Path source) {
        Cli.Result r = Cli.run("quantize", source, "--budget", "2MB", "-o", dir.resolve("out"), "--quiet");
        assertEquals(5, r.exitCode(), r.err());
        assertTrue(r.err().contains(problem), r.err());
        assertFalse(Files.exists(dir.resolve("out")));
    }

    @Test
    void namesThatATerminalWouldObey() throws IOException {
        change(model.resolve("config.json"), c -> c.put("model_type", "\u001b[31mred\u0007"));
        Cli.Result r = Cli.run("inspect", model);
        assertTrue((r.out() + r.err()).chars().noneMatch(c -> c < ' ' && c != '\n'), r.out() + r.err());
    }

    /// Every message about a name is one line, wherever the name comes from.
    @Test
    void namesOfOutputsThatATerminalWouldObey() throws IOException {
        String hostile = "a\nram: done\u001b[2J\u0085\u009b1m\u202e";
        String shown = "a\\u000aram: done\\u001b[2J\\u0085\\u009b1m\\u202e";
        Path odd = Files.createDirectory(dir.resolve(hostile));
        Path profile = odd.resolve("profile.json");
        Path plan = odd.resolve("plan.json");
        Path out = odd.resolve("out");
        String folder = dir.resolve(shown).toString();
        oneLineEach("wrote " + folder + "/profile.json: ", "analyze", Cli.TINY, "-o", profile);
        oneLineEach("ram: " + folder + "/profile.json exists already", "analyze", Cli.TINY, "-o", profile);
        oneLineEach("written   " + folder + "/plan.json", "plan", profile, "--budget", "1MB", "-o", plan);
        oneLineEach("config    " + folder + "/ram.yaml", "-v", "--config", Files.writeString(odd.resolve("ram.yaml"), "quiet: false\n"), "plan", profile, "--budget", "1MB");
        oneLineEach("written   " + folder + "/out, verified against ", "quantize", Cli.TINY, "--profile", profile, "--budget", "1MB", "-o", out);
        oneLineEach(folder + "/out: sound; ", "verify", out);
        oneLineEach("written   " + folder + "/report.html, ", "report", out, "--profile", profile, "-o", odd.resolve("report.html"));
        oneLineEach("ram plan: unknown option '--" + shown + "'", "plan", "--" + hostile);
        oneLineEach("ram: unknown command '" + shown + "'", hostile);
        oneLineEach("ram: Invalid value for option '--budget' (SIZE): '" + shown + "' is not a size", "plan", profile, "--budget", hostile);
    }

    private static void oneLineEach(String line, Object... args) {
        Cli.Result r = Cli.run(args);
        String all = r.out() + r.err();
        assertEquals(1, all.lines().filter(l -> l.contains(line)).count(), all);
        assertTrue(all.lines().noneMatch(l -> l.startsWith("ram: done")) && all.chars().noneMatch(c -> c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 || c == 0x202e), all);
    }

    @Test
    void rotationsThatAreNone() throws IOException {
        SyntheticModel.writeTiny(false, dir.resolve("dense"));
        Path tokens = Files.write(dir.resolve("tokens.i32"), new byte[64]);
        for (double partial : new double[] {2, -1, 0, 1e-9}) {
            change(dir.resolve("dense/config.json"), c -> c.put("partial_rotary_factor", partial));
            refused("has a partial_rotary_factor, which mlx_lm's qwen3 does not read: it turns all of a head; remove it if the model was trained so", "eval", dir.resolve("dense"), "--tokens", tokens, "--seq-len", 8);
        }
        change(dir.resolve("dense/config.json"), c -> c.put("partial_rotary_factor", 1).putObject("rope_scaling").put("type", "linear").put("factor", 0));
        refused("has no usable factor in its rope scaling; download it again", "eval", dir.resolve("dense"), "--tokens", tokens, "--seq-len", 8);
    }

    @Test
    void numpyFilesThatAreNoListOfTokens() throws IOException {
        byte[] head = "\u0093NUMPY\2\0\1".getBytes(StandardCharsets.ISO_8859_1);
        Path tokens = dir.resolve("tokens.npy");
        for (int length = head.length; length < 16; length++) {
            Files.write(tokens, Arrays.copyOf(head, length));
            assertEquals(5, Cli.run("eval", Cli.TINY, "--tokens", tokens).exitCode(), "a file of " + length + " bytes");
        }
        String header = "{'descr': '<i4', 'fortran_order': False, 'shape': (4, 4), }\n";
        Files.write(tokens, ("\u0093NUMPY\1\0" + (char) header.length() + "\0" + header + "x".repeat(64)).getBytes(StandardCharsets.ISO_8859_1));
        refused("is a .npy file that has not one dimension; write it again with numpy's ravel", "eval", Cli.TINY, "--tokens", tokens);
    }
}
