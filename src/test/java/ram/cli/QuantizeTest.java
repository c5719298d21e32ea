package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.Folders;
import ram.safetensors.Checkpoint;

class QuantizeTest {
    @TempDir
    Path folder;

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    private static long tensorBytes(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(f -> f.toString().endsWith(".safetensors")).mapToLong(f -> f.toFile().length()).sum();
        }
    }

    @Test
    void writesAFolderThatFitsAndVerifies() throws IOException {
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out);
        assertEquals("", r.err());
        assertEquals(0, r.exitCode());
        assertEquals(List.of("README.md", "config.json", "generation_config.json", "manifest.json", "model.safetensors", "model.safetensors.index.json",
                "tokenizer.json", "tokenizer_config.json"), names(out));
        assertTrue(tensorBytes(out) <= 1_000_000);
        JsonNode manifest = new ObjectMapper().readTree(out.resolve("manifest.json").toFile());
        assertEquals(tensorBytes(out), manifest.path("sizes").path("file_bytes").asLong(), "planned and written sizes are the same to the byte");
        Cli.Result verified = Cli.run("verify", out, "--source", Cli.TINY);
        assertEquals(0, verified.exitCode(), verified.out());
        assertEquals(List.of("out"), names(folder), "nothing is left beside the output");
    }

    /// mlx_lm loads a tokenizer with the weights. RWKV's vocabulary is a text file of a name of its own.
    @ParameterizedTest
    @CsvSource({"tokenizer.json, false", "rwkv_vocab_v20230424.txt, false", "qwen.tiktoken, false", "spiece.model, false", "tokenizer_config.json, true", "notes.txt, true"})
    void aSourceWithoutATokenizerIsNoted(String file, boolean noted) throws IOException {
        Path source = Folders.copy(Cli.TINY, folder.resolve("source"));
        Files.delete(source.resolve("tokenizer.json"));
        Files.writeString(source.resolve(file), "{}");
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", source, "--budget", "1MB", "-o", out);
        assertEquals(0, r.exitCode(), r.err());
        assertEquals(noted, r.out().contains("note      " + source + " has no tokenizer, without which mlx_lm does not load a folder; add its files to " + out));
        assertEquals(!file.equals("notes.txt"), Files.exists(out.resolve(file)));
    }

    @ParameterizedTest
    @ValueSource(longs = {700_000, 750_001, 812_345, 1_234_567, 2_000_000})
    void neverExceedsTheBudget(long budget) throws IOException {
        Path out = folder.resolve("out");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", budget, "-o", out, "--quantizer", "rtn", "--quiet").exitCode());
        assertTrue(tensorBytes(out) <= budget, tensorBytes(out) + " bytes for a budget of " + budget);
    }

    @Test
    void sameBytesAtAnyThreadCount() throws IOException {
        for (int threads : new int[] {1, 2, 7}) {
            assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "900kB", "-o", folder.resolve("t" + threads), "--threads", threads, "--quiet").exitCode());
        }
        for (String name : names(folder.resolve("t1"))) {
            byte[] one = Files.readAllBytes(folder.resolve("t1").resolve(name));
            assertArrayEquals(one, Files.readAllBytes(folder.resolve("t2").resolve(name)), name);
            assertArrayEquals(one, Files.readAllBytes(folder.resolve("t7").resolve(name)), name);
        }
    }

    @Test
    void aSavedProfileGivesTheSameFolder() throws IOException {
        Path profile = Cli.analyzed(folder);
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("a"), "--profile", profile, "--quiet").exitCode());
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("b"), "--quiet").exitCode());
        for (String name : names(folder.resolve("a"))) {
            assertArrayEquals(Files.readAllBytes(folder.resolve("a").resolve(name)), Files.readAllBytes(folder.resolve("b").resolve(name)), name);
        }
    }

    @Test
    void anImpossibleBudgetIsRefusedWithTheSmallestSize() throws IOException {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "100kB", "-o", folder.resolve("out"));
        assertEquals(4, r.exitCode());
        assertTrue(r.sentence().matches("ram: .*100\\.000 kB.*smallest.*\\d+ bytes.*"), r.err());
        assertEquals(List.of(), names(folder));
    }

    @ParameterizedTest
    @ValueSource(strings = {"16 lightyears", "GB", "-3GB", "1e9", "0x10", ""})
    void budgetTypos(String budget) throws IOException {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget=" + budget, "-o", folder.resolve("out"));
        assertEquals(2, r.exitCode());
        assertTrue(r.err().contains("--budget"), r.err());
        assertEquals(List.of(), names(folder));
    }

    @Test
    void anExistingOutputIsKeptUnlessForced() throws IOException {
        Path out = Files.createDirectory(folder.resolve("out"));
        Files.writeString(out.resolve("precious"), "x");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out);
        assertEquals(2, r.exitCode());
        assertEquals("ram: " + out + " exists already; choose another output folder or give --force to replace it", r.sentence());
        Cli.Result forced = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--force");
        assertEquals(2, forced.exitCode());
        assertEquals("ram: " + out + " holds something other than an output of ram, so --force does not replace it; choose another output folder, or remove it by hand", forced.sentence());
        assertTrue(Files.exists(out.resolve("precious")));
        Folders.copy(Cli.TINY, folder.resolve("original"));
        assertEquals(2, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("original"), "--force", "--quiet").exitCode(), "another program's model");
        Files.delete(out.resolve("precious"));
        for (int i = 0; i < 2; i++) {
            assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--force", "--quiet").exitCode());
        }
        for (String name : List.of("._config.json", "._model.safetensors", "._tokenizer.json", ".DS_Store")) {
            Files.writeString(out.resolve(name), "of the system");
        }
        assertEquals(0, Cli.run("verify", out, "--no-progress").exitCode());
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--force", "--quiet").exitCode());
        assertFalse(Files.exists(out.resolve("._config.json")));
        Files.writeString(out.resolve("notes.txt"), "x");
        Cli.Result noted = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--force");
        assertEquals("ram: " + out + " holds notes.txt, which is not part of an output of ram, so --force does not replace it; choose another output folder, or remove it by hand", noted.sentence());
        assertEquals(List.of("original", "out"), names(folder));
    }

    @Test
    void severalOutputsAreReplacedTogetherAndNothingElse() throws IOException {
        Path out = folder.resolve("several");
        Object[] command = {"quantize", Cli.TINY, "--budget", "1MB", "--budget", "1.2MB", "-o", out, "--force", "--quiet"};
        for (int i = 0; i < 2; i++) {
            assertEquals(0, Cli.run(command).exitCode());
        }
        Files.createDirectory(out.resolve("reports"));
        assertTrue(Cli.run(command).sentence().contains(" holds reports, which is not part of"));
        Files.delete(out.resolve("reports"));
        Files.createFile(out.resolve("1MB").resolve("mine"));
        assertTrue(Cli.run(command).sentence().contains(" has a folder 1MB, which holds mine, which is not part of"));
    }

    @Test
    void whatWasMeasuredOfSeveralOutputsStandsInTheirOverview() throws IOException {
        Path out = folder.resolve("several");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--budget", "1.2MB", "-o", out, "--eval-tokens", Cli.TINY.resolve("tokens.i32"), "--eval-seq-len", "32", "--eval-samples", "2",
                "--quiet").exitCode());
        JsonNode family = new ObjectMapper().readTree(out.resolve("family.json").toFile());
        for (JsonNode member : family.path("members")) {
            JsonNode manifest = new ObjectMapper().readTree(out.resolve(member.path("folder").asText()).resolve("manifest.json").toFile());
            assertEquals(manifest.at("/evaluation/models/1/divergence/mean_kl"), member.path("mean_kl"));
        }
        Path other = folder.resolve("other");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--budget", "1.2MB", "-o", other, "--quiet").exitCode());
        Cli.Result r = Cli.run("eval", out.resolve("1MB"), other.resolve("1MB"), "--tokens", Cli.TINY.resolve("tokens.i32"), "--seq-len", "32", "--samples", "2", "--json");
        assertEquals(List.of("several/1MB", "other/1MB"), new ObjectMapper().readTree(r.out()).path("models").valueStream().map(m -> m.path("name").asText()).toList());
    }

    /// Nothing that can be known at once is said after hours.
    @Test
    void mistakesAreToldBeforeTheAnalysis() throws IOException {
        Path odd = Files.write(folder.resolve("odd.i32"), new byte[5]);
        Path foreign = Files.write(folder.resolve("foreign.i32"), new byte[] {0, 0, 0, 64, 0, 0, 0, 64, 0, 0, 0, 64});
        Path bare = Folders.copy(Cli.TINY, folder.resolve("bare"));
        Files.delete(bare.resolve("tokenizer.json"));
        Path text = Files.writeString(folder.resolve("text.txt"), "Once upon a time");
        for (Object[] wrong : new Object[][] {{Cli.TINY, "--eval-tokens", odd}, {Cli.TINY, "--eval-tokens", foreign}, {bare, "--eval-text", text}, {Cli.TINY, "--refine", "tokens:nothere.i32"},
                {Cli.TINY, "--refine", "tokens:" + foreign}, {Cli.TINY, "--refine", "self", "--quantizer", "rtn"}, {Cli.TINY, "--bpw", "1.5"}}) {
            List<Object> words = new ArrayList<>(List.of("quantize"));
            words.addAll(List.of(wrong));
            words.addAll(List.of("-o", folder.resolve("out")));
            if (!words.contains("--bpw")) {
                words.addAll(List.of("--budget", "1MB"));
            }
            Cli.Result r = Cli.run(words.toArray());
            assertTrue(r.exitCode() == 2 || r.exitCode() == 4 || r.exitCode() == 5, r.err());
            assertFalse(r.err().contains("analyze "), r.err());
            assertEquals(1, r.err().lines().count(), r.err());
        }
        assertFalse(Files.exists(folder.resolve("out")));
    }

    /// Another fine-tune of the same base has the same names, shapes and sizes.
    @Test
    void aProfileOfOtherWeightsIsRefused() throws IOException {
        Path profile = folder.resolve("profile.json");
        Path hashed = folder.resolve("hashed.json");
        assertEquals(0, Cli.run("analyze", Cli.TINY, "-o", profile, "--quiet").exitCode());
        assertEquals(0, Cli.run("analyze", Cli.TINY, "-o", hashed, "--hash", "--quiet").exitCode());
        Path tuned = Folders.copy(Cli.TINY, folder.resolve("tuned"));
        Path weights = tuned.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        bytes[bytes.length - 3] ^= 1;
        Files.write(weights, bytes);
        Cli.Result late = Cli.run("quantize", tuned, "--profile", hashed, "--budget", "1MB", "-o", folder.resolve("out"));
        assertEquals(5, late.exitCode(), "one bit of the last tensor");
        assertTrue(late.sentence().startsWith("ram: " + hashed + ": was measured on other files than those in " + tuned + ", or on other weights in them"), late.sentence());
        bytes[bytes.length - 256] ^= 1;
        Files.write(weights, bytes);
        assertEquals(5, Cli.run("quantize", tuned, "--profile", profile, "--budget", "1MB", "-o", folder.resolve("out")).exitCode(), "the first element of a tensor");
        assertFalse(Files.exists(folder.resolve("out")));
    }

    @Test
    void aLinkToAnOutputStaysALink() throws IOException {
        Path real = Files.createDirectories(folder.resolve("disk").resolve("out"));
        Path link = Files.createSymbolicLink(folder.resolve("link"), real);
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", link, "--force", "--quiet").exitCode());
        assertTrue(Files.isSymbolicLink(link) && Files.exists(real.resolve("manifest.json")));
        assertEquals(List.of("out"), names(folder.resolve("disk")));
        Path broken = Files.createSymbolicLink(folder.resolve("broken"), folder.resolve("nowhere"));
        assertTrue(Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", broken, "--force").sentence().contains("is a link that leads nowhere"));
        assertTrue(Cli.run("quantize", Folders.copy(Cli.TINY, folder.resolve("elsewhere")), "--budget", "1MB", "-o", ".", "--force").sentence().contains("working directory"));
    }

    @Test
    void aReadOnlySourceGivesAnOrdinaryOutput() throws IOException {
        Path model = Folders.copy(Cli.TINY, folder.resolve("model"));
        try (Stream<Path> files = Files.list(model)) {
            files.forEach(f -> assertTrue(f.toFile().setReadOnly()));
        }
        Path out = folder.resolve("out");
        assertEquals(0, Cli.run("quantize", model, "--budget", "1MB", "-o", out, "--quiet").exitCode());
        assertEquals(Files.getPosixFilePermissions(out.resolve("model.safetensors")), Files.getPosixFilePermissions(out.resolve("tokenizer.json")));
    }

    @Test
    void inputsAreNeverReplaced() throws IOException {
        Path model = folder.resolve("models").resolve("tiny");
        Folders.copy(Cli.TINY, model);
        Files.writeString(folder.resolve("models").resolve("config.json"), "{}");
        Files.createFile(folder.resolve("models").resolve("model.safetensors"));
        Path profile = folder.resolve("profile.json");
        assertEquals(0, Cli.run("analyze", model, "-o", profile, "--quiet").exitCode());
        byte[] measured = Files.readAllBytes(profile);
        Path link = Files.createSymbolicLink(folder.resolve("link"), model);
        for (Path out : List.of(model, link, folder.resolve("models"), model.resolve("../tiny"))) {
            Cli.Result r = Cli.run("quantize", model, "--budget", "1MB", "-o", out, "--force");
            assertEquals(2, r.exitCode(), out.toString());
            assertTrue(r.sentence().contains(" input"), r.sentence());
        }
        for (String name : List.of("model.safetensors", "config.json", "tokenizer.json")) {
            Cli.Result r = Cli.run("analyze", model, "-o", model.resolve(name), "--force");
            assertEquals(2, r.exitCode());
            assertEquals("ram: " + model.resolve(name) + " has the name of a model's file, which is never replaced; choose another name", r.sentence());
        }
        for (List<?> command : List.of(List.of("plan", profile, "--budget", "1MB", "-o", profile), List.of("sweep", profile, "--budgets", "5", "--csv", profile), List.of("report", profile, "-o", profile),
                List.of("merge", profile, "-o", profile))) {
            List<Object> words = new ArrayList<>(command);
            words.add("--force");
            Cli.Result r = Cli.run(words.toArray());
            assertEquals(2, r.exitCode(), r.err());
            assertEquals("ram: " + profile + " is an input; choose another name", r.sentence());
        }
        assertArrayEquals(measured, Files.readAllBytes(profile));
        assertEquals(0, Cli.run("inspect", model).exitCode());
    }

    @Test
    void rulesAreKeptAndMustMatch() throws IOException {
        Path out = folder.resolve("out");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1.2MB", "-o", out, "--set", "o_proj=8:64", "--keep", "layers\\.0\\..*o_proj", "--quiet").exitCode());
        JsonNode modules = new ObjectMapper().readTree(out.resolve("manifest.json").toFile()).path("modules");
        for (JsonNode m : modules) {
            if (m.path("path").asText().endsWith("o_proj")) {
                assertEquals(m.path("layer").asInt() == 0 ? "dense" : "8:64", m.path("format").asText());
                assertEquals("override", m.path("why").asText());
            }
        }
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("x"), "--keep", "o_porj");
        assertEquals(2, r.exitCode());
        assertTrue(r.sentence().contains("o_porj"), r.err());
    }

    @Test
    void dryRunWritesNothing() throws IOException {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--dry-run");
        assertEquals(0, r.exitCode());
        assertTrue(r.out().contains("size"), r.out());
        assertEquals(List.of(), names(folder));
    }

    @Test
    void anEvaluationGoesIntoManifestAndCard() throws IOException {
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--eval-tokens", Cli.TINY.resolve("tokens.i32"), "--eval-seq-len", "64",
                "--eval-samples", "4", "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().lines().anyMatch(l -> l.matches("measured  mean KL divergence 0\\.00\\d+ nats, perplexity \\d+\\.\\d+ \\(source \\d+\\.\\d+\\), same top token 9\\d\\.\\d %, on 252 predictions of tokens.i32")), r.out());
        JsonNode models = new ObjectMapper().readTree(out.resolve("manifest.json").toFile()).path("evaluation").path("models");
        assertEquals(List.of("source", "quantized"), List.of(models.path(0).path("name").asText(), models.path(1).path("name").asText()));
        double kl = models.path(1).path("divergence").path("mean_kl").asDouble();
        assertTrue(kl > 0 && kl < 0.01, "mean KL " + kl);
        assertTrue(Files.readString(out.resolve("README.md")).contains("On 4 windows of tokens.i32 (252 predictions)"));
        Cli.Result missing = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("x"), "--eval-text", "nowhere.txt");
        assertEquals(5, missing.exitCode());
        assertTrue(missing.sentence().contains("--eval-text: nowhere.txt cannot be read"), missing.err());
    }

    @Test
    void theQuantizerAskedForIsTheOneUsed() throws IOException {
        Path profile = Cli.analyzed(folder);
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--policy", "uniform", "--quantizer", "rtn", "--profile", profile, "-o", folder.resolve("a"), "--quiet").exitCode());
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--policy", "uniform", "--quantizer", "rtn", "-o", folder.resolve("b"), "--quiet").exitCode());
        assertArrayEquals(Files.readAllBytes(folder.resolve("a/model.safetensors")), Files.readAllBytes(folder.resolve("b/model.safetensors")));
        assertTrue(Files.readString(folder.resolve("a/manifest.json")).contains("Written with rtn; errors and damage of the plan are those of mse."));
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--policy", "uniform", "--dtype", "float16", "--profile", profile, "-o", folder.resolve("c"));
        assertEquals(2, r.exitCode());
        assertEquals("ram: --dtype float16: the profile was measured for bfloat16; analyze with --dtype float16", r.sentence());
    }

    /// Against folders that mlx_lm's own `convert` wrote.
    @ParameterizedTest
    @CsvSource({"tiny-qwen3-mlx-4bit, uniform, 64", "tiny-qwen3-mlx-mixed_3_6, mixed_3_6, 32"})
    void roundingToNearestGivesTheTensorsOfMlxLm(String name, String policy, int group) throws IOException {
        Path out = folder.resolve("out");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--policy", policy, "--group", group, "--quantizer", "rtn", "-o", out, "--quiet").exitCode());
        try (Checkpoint ours = Checkpoint.open(out); Checkpoint theirs = Checkpoint.open(Path.of("src/test/resources/ram/eval", name))) {
            assertEquals(theirs.tensors().keySet(), ours.tensors().keySet());
            for (String tensor : theirs.tensors().keySet()) {
                assertEquals(-1, theirs.data(tensor).mismatch(ours.data(tensor)), tensor);
            }
        }
    }
}
