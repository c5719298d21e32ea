package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.SyntheticModel;

class ReproducibleTest {
    @TempDir
    Path dir;

    @Test
    void aSecondRunGivesTheSameBytes() throws IOException {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--budget", "700kB", "-o", dir.resolve("out"), "--threads", 3, "--reproducible-check");
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().endsWith("reproduced with 1 thread: 17 files are the same, byte for byte\nwritten   " + dir.resolve("out") + ", verified against " + Cli.TINY + "\n"), r.out());
        try (Stream<Path> left = Files.list(dir)) {
            assertEquals(1, left.count(), "the second output is removed");
        }
        assertEquals(2, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--dry-run", "--reproducible-check").exitCode());
    }

    @Test
    void anOutputThatDiffersIsNotKept() throws Exception {
        Path model = Files.createDirectory(dir.resolve("m"));
        SyntheticModel.writeSmall(4, model);
        Path again = dir.resolve(".out.partial/.again.partial");
        Thread changes = Thread.ofPlatform().start(() -> {
            try (RandomAccessFile weights = new RandomAccessFile(model.resolve("model.safetensors").toFile(), "rw")) {
                while (!Files.exists(again)) {
                    Thread.sleep(1);
                }
                weights.seek(weights.length() - 1);
                int last = weights.read();
                weights.seek(weights.length() - 1);
                weights.write(last ^ 1);
            } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
            }
        });
        Path out = dir.resolve("out");
        Cli.Result r = Cli.run("quantize", model, "--bpw", "4.5", "-o", out, "--reproducible-check");
        changes.join();
        assertEquals(1, r.exitCode(), r.err());
        assertTrue(r.sentence().matches("ram: .*out: is not reproducible, so it was not kept: a second run gave other bytes in \\S+, the first at \\d+; check that MODEL does not change meanwhile, otherwise report this"), r.sentence());
        assertFalse(r.out().contains("written"));
        assertEquals(Set.of("m"), names(dir), "neither output stays");
    }

    @Test
    void aFolderOfSomebodyElseIsLeftAlone() throws IOException {
        Path foreign = Files.writeString(Files.createDirectory(dir.resolve(".out.again")).resolve("notes"), "mine");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", dir.resolve("out"), "--reproducible-check").exitCode());
        assertEquals("mine", Files.readString(foreign));
        assertEquals(Set.of(".out.again", "out"), names(dir));
    }

    private static Set<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).collect(Collectors.toSet());
        }
    }

    @Test
    void differencesAreNamed() throws IOException {
        Path one = Files.createDirectories(dir.resolve("one"));
        Path other = Files.createDirectories(dir.resolve("other"));
        Files.writeString(one.resolve("a"), "same");
        Files.writeString(other.resolve("a"), "same");
        assertEquals(new SameFiles.Comparison(1, Optional.empty()), SameFiles.compare(one, other));
        Files.writeString(other.resolve("a"), "sane");
        assertEquals(new SameFiles.Comparison(1, Optional.of("a second run gave other bytes in a, the first at 2")), SameFiles.compare(one, other));
        Files.delete(other.resolve("a"));
        assertEquals(Optional.of("only one of two runs wrote a"), SameFiles.compare(one, other).difference());
    }
}
