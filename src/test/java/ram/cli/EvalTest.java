package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.eval.TokenSet;

class EvalTest {
    private static final Path RESOURCES = Path.of("src/test/resources/ram/eval");

    @TempDir
    Path folder;

    @Test
    void comparesModelsWithTheirReference() throws IOException {
        Path csv = folder.resolve("out.csv");
        Cli.Result r = Cli.run("eval", RESOURCES.resolve("tiny-qwen3-mlx-4bit"), RESOURCES.resolve("tiny-qwen3-mlx-mixed_3_6"), "--reference", Cli.TINY,
                "--text", RESOURCES.resolve("held-out.txt"), "--seq-len", 200, "--samples", 6, "--noise-control", "--json", "--csv", csv, "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
        JsonNode json = new ObjectMapper().readTree(r.out());
        assertEquals(6, json.path("sequences").asInt());
        assertEquals(5, json.path("models").size());
        double four = json.path("models").path(1).path("divergence").path("mean_kl").asDouble();
        double noise = json.path("models").path(2).path("divergence").path("mean_kl").asDouble();
        assertTrue(four > 0.001 && four < 0.1, "divergence " + four);
        assertTrue(noise > four / 3 && noise < four * 3, "divergence of noise " + noise);
        assertEquals(6, Files.readAllLines(csv).size());
    }

    @Test
    void printsATable() {
        Cli.Result r = Cli.run("eval", Cli.TINY, "--tokens", RESOURCES.resolve("held-out.i32"), "--seq-len", 128, "--samples", 2, "-v");
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().contains("2 windows of held-out.i32, 254 predictions; mean, median"), r.out());
        assertTrue(r.out().contains("warning: there are only 254 predictions, too few to tell models apart; 1000 are the least"), r.out());
        assertTrue(r.err().contains("tokens/s"), r.err());
    }

    @Test
    void aSinglePrediction() throws IOException {
        String tokens = RESOURCES.resolve("held-out.i32").toString();
        Cli.Result r = Cli.run("eval", Cli.TINY, "--tokens", tokens, "--seq-len", 2, "--samples", 1);
        assertTrue(r.out().startsWith("1 window of held-out.i32, 1 prediction; mean") && r.out().contains("warning: there is only 1 prediction, too few"), r.out());
        Path out = folder.resolve("single");
        r = Cli.run("quantize", Cli.TINY, "--policy", "uniform", "-o", out, "--eval-tokens", tokens, "--eval-seq-len", 2, "--eval-samples", 1);
        assertTrue(r.out().contains(" on 1 prediction of held-out.i32\n"), r.out() + r.err());
        assertTrue(Files.readString(out.resolve("README.md")).contains("On 1 window of held-out.i32 (1 prediction):"));
    }

    /// mlx_lm would refuse it, or run another model than was meant.
    @Test
    void aFolderThatDoesNotFitItsConfigIsRefused() throws IOException {
        Path broken = Folders.copy(RESOURCES.resolve("tiny-qwen3-mlx-4bit"), folder.resolve("broken"));
        String config = Files.readString(broken.resolve("config.json"));
        Files.writeString(broken.resolve("config.json"), config.replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 3"));
        Cli.Result r = Cli.run("eval", broken, "--tokens", RESOURCES.resolve("held-out.i32"), "--seq-len", 128, "--samples", 2);
        assertEquals(5, r.exitCode());
        assertTrue(r.sentence().contains("model.layers.3.") && r.sentence().endsWith("; verify the folder"), r.err());
    }

    @Test
    void refusesWhatMakesNoSense() {
        assertEquals(2, Cli.run("eval", Cli.TINY).exitCode());
        assertEquals(2, Cli.run("eval", Cli.TINY, "--tokens", RESOURCES.resolve("held-out.i32"), "--noise-control").exitCode());
        assertEquals(5, Cli.run("eval", RESOURCES, "--tokens", RESOURCES.resolve("held-out.i32")).exitCode());
        assertEquals(5, Cli.run("eval", RESOURCES.resolve("tiny-qwen3-mlx-4bit"), "--text", RESOURCES.resolve("held-out.txt")).exitCode());
    }

    @Test
    void aTokenOutsideTheVocabularyIsRefusedWhereverItStands(@TempDir Path folder) throws IOException {
        int[] ids = TokenSet.read(RESOURCES.resolve("held-out.i32"));
        for (int wrong : new int[] {999_999, -7}) {
            ByteBuffer bytes = ByteBuffer.allocate(4 * 128).order(ByteOrder.LITTLE_ENDIAN);
            for (int i = 0; i < 127; i++) {
                bytes.putInt(ids[i]);
            }
            bytes.putInt(wrong);
            Path file = Files.write(folder.resolve("ids.i32"), bytes.array());
            Cli.Result r = Cli.run("eval", Cli.TINY, "--tokens", file, "--seq-len", 128);
            assertEquals(5, r.exitCode(), r.err());
            assertTrue(r.err().startsWith("ram: token " + wrong + " is outside the vocabulary"), r.err());
        }
    }

    @Test
    void finishedWindowsAreThoseOfTheSameWeights(@TempDir Path folder) throws IOException {
        Path model = Folders.copy(Cli.TINY, folder.resolve("model"));
        Path partial = folder.resolve("partial");
        Object[] command = {"eval", model, "--tokens", RESOURCES.resolve("held-out.i32"), "--seq-len", 128, "--samples", 1, "--partial", partial, "--json"};
        String before = Cli.run(command).out();
        try (RandomAccessFile file = new RandomAccessFile(model.resolve("model.safetensors").toFile(), "rw")) {
            file.seek(file.length() - 100_000);
            // bfloat16 of 1
            file.write(new byte[] {(byte) 0x80, 0x3f});
        }
        String after = Cli.run(command).out();
        Files.delete(partial);
        assertEquals(Cli.run(command).out(), after);
        assertNotEquals(before, after);
    }

    @Test
    void aFileThatHoldsNoWindowsIsLeftAsItIs(@TempDir Path folder) throws IOException {
        for (String content : List.of("{\"model_type\": \"qwen3\"}\n", "{\n  \"model_type\": \"qwen3\"\n}\n", "notes", "\u00ff\u0000")) {
            Path file = Files.write(folder.resolve("mine"), content.getBytes(StandardCharsets.ISO_8859_1));
            Cli.Result r = Cli.run("eval", Cli.TINY, "--tokens", RESOURCES.resolve("held-out.i32"), "--seq-len", 128, "--samples", 1, "--partial", file);
            assertEquals(2, r.exitCode(), r.err());
            assertEquals(content, Files.readString(file, StandardCharsets.ISO_8859_1));
        }
    }

    private static Cli.Result small(Object model, Object... more) {
        return Cli.run(Stream.concat(Stream.of("eval", model, "--tokens", RESOURCES.resolve("held-out.i32"), "--seq-len", 16, "--samples", 1), Stream.of(more)).toArray());
    }

    /// Told before the first window, which may take hours.
    @Test
    void aFileOfFinishedWindowsThatCannotBeWrittenIsToldAtOnce() throws IOException {
        Cli.Result device = small(Cli.TINY, "--partial", "/dev/null");
        assertEquals(2, device.exitCode(), device.err());
        assertTrue(device.sentence().startsWith("ram: /dev/null is not a file of finished windows"), device.err());
        Cli.Result folderItself = small(Cli.TINY, "--partial", folder);
        assertEquals(2, folderItself.exitCode(), folderItself.err());
        Path below = Files.writeString(folder.resolve("file"), "").resolve("partial");
        Cli.Result r = small(Cli.TINY, "--partial", below);
        assertEquals(1, r.exitCode(), r.err());
        assertTrue(r.sentence().startsWith("ram: " + below + ": cannot be written: "), r.err());
        // as for every other output
        Path deep = folder.resolve("a/b/partial");
        assertEquals(0, small(Cli.TINY, "--partial", deep).exitCode());
        assertEquals(1, Files.readAllLines(deep).size());
    }

    @Test
    void aTableDoesNotReplaceFinishedWindows() throws IOException {
        Path partial = folder.resolve("both");
        assertEquals(2, small(Cli.TINY, "--partial", partial, "--csv", partial).exitCode());
        assertFalse(Files.exists(partial));
        assertEquals(0, small(Cli.TINY, "--partial", partial).exitCode());
        Path link = Files.createSymbolicLink(folder.resolve("link"), partial);
        Cli.Result r = small(Cli.TINY, "--partial", partial, "--csv", link, "--force");
        assertEquals("ram: " + link + " is an input; choose another name", r.sentence());
    }

    @Test
    void ofASingleWindowThereIsNoError() {
        assertTrue(small(Cli.TINY).out().lines().anyMatch(l -> l.matches("tiny-qwen3 +[0-9.]+ +- .*")), small(Cli.TINY).out());
    }

    /// A terminal would obey them, and a table has one line for each model.
    @Test
    void namesAreWithoutControlCharacters() throws IOException {
        Path model = Folders.copy(Cli.TINY, folder.resolve("a\n\u001b[31mb"));
        Cli.Result r = small(model);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().lines().anyMatch(l -> l.startsWith("a??[31mb  ")), r.out());
    }

    @Test
    void theRootOfAllFoldersIsNoModelAndNoText() {
        assertEquals(5, Cli.run("eval", "/", Cli.TINY, "--tokens", RESOURCES.resolve("held-out.i32")).exitCode());
        for (String option : List.of("--eval-tokens=/", "--eval-text=/", "--refine=tokens:/")) {
            Cli.Result r = Cli.run("quantize", Cli.TINY, "--policy", "uniform", "-o", folder.resolve("out"), option);
            assertEquals(5, r.exitCode(), r.err());
            assertEquals("ram: /: is not a regular file; give the name of one", r.sentence());
        }
    }
}
