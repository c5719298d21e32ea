package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// On a real file system that is too small. Where none can be mounted, as for an ordinary user, these are skipped.
class DiskFullTest {
    @TempDir
    Path folder;

    private boolean mounted;

    @BeforeEach
    void mount() throws Exception {
        mount("64k");
    }

    private void mount(String size) throws Exception {
        mounted = run("mount", "-t", "tmpfs", "-o", "size=" + size, "none", folder.toString()) == 0;
        assumeTrue(mounted, "no small file system could be mounted");
    }

    @AfterEach
    void unmount() throws Exception {
        if (mounted) {
            run("umount", folder.toString());
        }
    }

    private static int run(String... command) throws Exception {
        try {
            return new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor();
        } catch (IOException e) {
            return -1;
        }
    }

    private List<String> left() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).toList();
        }
    }

    @Test
    void tooLittleSpaceIsSeenBeforeAnythingIsWritten() throws IOException {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("out"), "--no-progress");
        assertEquals(1, r.exitCode());
        assertTrue(r.err().matches("ram: .*/out: cannot be written: it takes \\d+\\.\\d+ MB, but its disk has only 6\\d\\.\\d+ kB free; free some space or choose another disk\n"), r.err());
        assertEquals(List.of(), left());
    }

    /// Where the tensors alone would fit, and their configuration, tokenizer and manifest would not.
    @Test
    void theSentenceNamesAllThatIsNeeded() throws Exception {
        unmount();
        mount("1200k");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("out"), "--no-progress");
        assertEquals(1, r.exitCode());
        Matcher said = Pattern.compile("it takes (\\d+\\.\\d+) MB, but its disk has only (\\d+\\.\\d+) MB free").matcher(r.err());
        assertTrue(said.find(), r.err());
        assertTrue(Double.parseDouble(said.group(1)) > Double.parseDouble(said.group(2)), r.err());
        assertEquals(List.of(), left());
    }

    @Test
    void aSmallModelFitsOnASmallDisk() throws Exception {
        unmount();
        mount("4m");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("out"), "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
    }

    @Test
    void aDiskThatFillsUpWhileWriting() throws IOException {
        Cli.Result r = Cli.run("analyze", Cli.TINY, "-o", folder.resolve("profile.json"), "--no-progress");
        assertEquals(1, r.exitCode());
        assertEquals("ram: " + folder.resolve("profile.json") + ": cannot be written: No space left on device\n", r.err());
        assertEquals(List.of(".profile.json.partial"), left());
    }
}
