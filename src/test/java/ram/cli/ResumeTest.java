package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Runs that are stopped and run again.
class ResumeTest {
    @TempDir
    Path folder;

    private static final String INTERRUPTED = "ram: interrupted; nothing was published";
    private static final String TO_RESUME = "; run the same command again to resume, or with --fresh to start over";

    private Path out;

    @BeforeEach
    void outside() {
        out = folder.resolve("out");
    }

    private static List<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    /// Runs a command in a thread that is interrupted, as SIGINT and SIGTERM do, once a file appears.
    private static Cli.Result interrupted(Path at, Object... args) throws InterruptedException {
        AtomicReference<Cli.Result> result = new AtomicReference<>();
        Thread thread = new Thread(() -> result.set(Cli.run(args)));
        thread.start();
        while (thread.isAlive() && !Files.exists(at)) {
            Thread.sleep(1);
        }
        thread.interrupt();
        thread.join();
        return result.get();
    }

    /// Whether one of these journals has more than its first line.
    private static boolean holdsSteps(Path... journals) throws IOException {
        for (Path journal : journals) {
            if (Files.exists(journal) && Files.readAllLines(journal).size() > 1) {
                return true;
            }
        }
        return false;
    }

    private void assertSameAsUninterrupted(Path out, Object... args) throws IOException {
        Path whole = folder.resolve("whole");
        List<Object> words = Stream.of(args).map(a -> a.equals(out) ? whole : a).toList();
        assertEquals(0, Cli.run(words.toArray()).exitCode());
        if (!Files.isDirectory(out)) {
            assertArrayEquals(Files.readAllBytes(whole), Files.readAllBytes(out));
            return;
        }
        assertEquals(names(whole), names(out));
        for (String name : names(whole)) {
            assertArrayEquals(Files.readAllBytes(whole.resolve(name)), Files.readAllBytes(out.resolve(name)), name);
        }
    }

    @Test
    void anInterruptedQuantizationGoesOn() throws Exception {
        Object[] command = {"quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--no-progress"};
        for (String journal : List.of("analyze", "write")) {
            Cli.Result r = interrupted(folder.resolve(".out.partial/" + journal + ".journal"), command);
            assertEquals(130, r.exitCode(), r.err());
            boolean recorded = holdsSteps(folder.resolve(".out.partial/analyze.journal"), folder.resolve(".out.partial/write.journal"));
            assertTrue(recorded || journal.equals("analyze"), "a whole analysis is recorded before anything is written");
            assertEquals(recorded ? INTERRUPTED + TO_RESUME : INTERRUPTED, r.sentence());
            assertEquals(List.of(".out.partial"), names(folder));
        }
        Cli.Result r = Cli.run(command);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.err().startsWith("resuming: " + folder.resolve(".out.partial/analyze.journal") + " holds "), r.err());
        assertEquals(List.of("out"), names(folder));
        assertSameAsUninterrupted(out, command);
    }

    @Test
    void anInterruptedAnalysisGoesOn() throws Exception {
        Object[] command = {"analyze", Cli.TINY, "-o", out, "--threads", 1, "--no-progress"};
        Cli.Result r = interrupted(folder.resolve(".out.partial"), command);
        assertEquals(130, r.exitCode(), r.err());
        assertEquals(holdsSteps(folder.resolve(".out.partial")) ? INTERRUPTED + TO_RESUME : INTERRUPTED, r.sentence());
        assertEquals(List.of(".out.partial"), names(folder));
        assertEquals(0, Cli.run(command).exitCode());
        assertEquals(List.of("out"), names(folder));
        assertSameAsUninterrupted(out, command);
    }

    @Test
    void nothingIsSaidOfResumingWhereNothingWasRecorded() throws Exception {
        AtomicReference<Cli.Result> result = new AtomicReference<>();
        Thread thread = new Thread(() -> {
            Thread.currentThread().interrupt();
            result.set(Cli.run("analyze", Cli.TINY, "-o", out, "--no-progress"));
        });
        thread.start();
        thread.join();
        assertEquals(130, result.get().exitCode(), result.get().err());
        assertEquals(INTERRUPTED, result.get().sentence());
    }

    /// What a run leaves that is killed at the last moment: all is written, nothing has its name.
    private void leaveEverything(Object... command) throws Exception {
        Cli.Result r = interrupted(folder.resolve(".out.partial/out/model.safetensors.index.json"), command);
        assertEquals(130, r.exitCode(), r.err());
    }

    @Test
    void whatWasDamagedSinceIsWrittenAgain() throws Exception {
        Object[] command = {"quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--no-progress"};
        leaveEverything(command);
        Path tensors = folder.resolve(".out.partial/out/model.safetensors");
        try (FileChannel channel = FileChannel.open(tensors, StandardOpenOption.WRITE)) {
            channel.truncate(channel.size() * 2 / 3);
            channel.write(ByteBuffer.wrap(new byte[1000]), channel.size() / 2);
        }
        Files.writeString(folder.resolve(".out.partial/out/stray"), "of another run");
        Cli.Result r = Cli.run(command);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.err().contains("resuming: " + folder.resolve(".out.partial/write.journal")), r.err());
        assertSameAsUninterrupted(out, command);
    }

    @Test
    void anotherBudgetKeepsTheAnalysisOnlyAndFreshKeepsNothing() throws Exception {
        leaveEverything("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--no-progress");
        Object[] other = {"quantize", Cli.TINY, "--budget", "900kB", "-o", out, "--no-progress"};
        Path last = folder.resolve(".out.partial/out/model.safetensors.index.json");
        Files.delete(last);
        Cli.Result r = interrupted(last, other);
        assertEquals(130, r.exitCode(), r.err());
        assertTrue(r.err().contains("resuming: " + folder.resolve(".out.partial/analyze.journal")), r.err());
        assertTrue(r.err().contains("starting over: " + folder.resolve(".out.partial/write.journal") + " was left by a run with another source, other options"), r.err());
        r = Cli.run("quantize", Cli.TINY, "--budget", "900kB", "-o", out, "--no-progress", "--fresh");
        assertEquals("", r.err());
        assertSameAsUninterrupted(out, other);
    }

    @Test
    void anotherSourceStartsOver() throws Exception {
        Path model = Files.createDirectory(folder.resolve("model"));
        for (String name : names(Cli.TINY)) {
            if (Files.isRegularFile(Cli.TINY.resolve(name))) {
                Files.copy(Cli.TINY.resolve(name), model.resolve(name));
            }
        }
        Object[] command = {"quantize", model, "--budget", "1MB", "-o", out, "--no-progress"};
        leaveEverything(command);
        Path weights = model.resolve("model.safetensors");
        try (FileChannel channel = FileChannel.open(weights, StandardOpenOption.WRITE)) {
            // Sizes and headers stay the same.
            channel.write(ByteBuffer.wrap(new byte[100_000]), channel.size() - 100_000);
        }
        Cli.Result r = Cli.run(command);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.err().contains("starting over: "), r.err());
    }

    @Test
    void twoRunsIntoOnePlace() throws Exception {
        Thread first = new Thread(() -> Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--quiet"));
        first.start();
        while (first.isAlive() && !Files.exists(folder.resolve(".out.partial/out"))) {
            Thread.sleep(1);
        }
        Cli.Result second = Cli.run("quantize", Cli.TINY, "--budget", "900kB", "-o", out);
        first.join();
        assertEquals(2, second.exitCode());
        assertTrue(second.sentence().contains("is being written by another run"), second.err());
        assertEquals(List.of("out"), names(folder));
    }
}
