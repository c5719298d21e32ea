package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

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
    void differencesAreNamed() throws IOException {
        Path one = Files.createDirectories(dir.resolve("one"));
        Path other = Files.createDirectories(dir.resolve("other"));
        Files.writeString(one.resolve("a"), "same");
        Files.writeString(other.resolve("a"), "same");
        assertEquals(1, SameFiles.require(one, other));
        Files.writeString(other.resolve("a"), "sane");
        assertEquals(2, assertThrows(UncheckedIOException.class, () -> SameFiles.require(one, other)).getCause().getMessage().replaceAll("\\D", "").charAt(0) - '0');
        Files.delete(other.resolve("a"));
        assertTrue(assertThrows(UncheckedIOException.class, () -> SameFiles.require(one, other)).getMessage().endsWith("/a"));
    }
}
