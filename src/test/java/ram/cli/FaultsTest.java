package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ram.Folders;
import ram.InputException;
import ram.Jvm;
import ram.SyntheticModel;
import ram.layout.Model;
import ram.profile.AnalysisOptions;
import ram.profile.Profiles;
import ram.verify.Verifier;

/// What a process meets that is short of something, or whose files change under its hands. Limits are real ones, set by the shell that starts it.
class FaultsTest {
    private static final List<String> QUICK = Jvm.quick("-XX:+UseParallelGC", "-Xmx512m");
    /// For what has to happen while it runs, or while vectors are read.
    private static final List<String> USUAL = Jvm.withVectors("-XX:+UseParallelGC", "-Xmx512m");

    @TempDir
    static Path folder;

    private static Path original;
    private static Path expected;

    private Path model;
    private Path out;

    @BeforeAll
    static void quantizeOnce() throws Exception {
        assumeTrue(Files.isExecutable(Path.of("/bin/sh")), "limits are set by a shell");
        original = folder.resolve("original");
        SyntheticModel.writeSmall(10, original);
        expected = folder.resolve("expected");
        assertEquals(0, run("", QUICK, original, expected).exitCode());
    }

    @BeforeEach
    void copyModel() throws IOException {
        model = folder.resolve("model");
        out = folder.resolve("out");
        Folders.delete(model);
        Folders.delete(out);
        Folders.delete(folder.resolve(".out.partial"));
        Folders.copy(original, model);
    }

    private record Result(int exitCode, List<String> lines) {
        /// The only line that is not news about progress or resumption.
        String sentence() {
            return lines.isEmpty() ? "" : lines.getLast();
        }
    }

    private static List<String> command(String limits, List<String> options, Path source, Path target) {
        String java = String.join(" ", Jvm.command(options, Main.class, "quantize", source, "--bpw", 4.5, "--quantizer", "rtn", "--quiet", "-o", target));
        return List.of("/bin/sh", "-c", limits.startsWith("setpriv") ? "exec " + limits + " " + java : limits + " exec " + java);
    }

    private static Process start(String limits, List<String> options, Path source, Path target) throws IOException {
        return new ProcessBuilder(command(limits, options, source, target)).redirectErrorStream(true).redirectOutput(folder.resolve("log").toFile()).start();
    }

    private static Result end(Process process) throws IOException, InterruptedException {
        assertTrue(process.waitFor(120, TimeUnit.SECONDS));
        List<String> lines = new ArrayList<>(Files.readAllLines(folder.resolve("log"), StandardCharsets.UTF_8));
        lines.removeIf(l -> l.startsWith("WARNING: Using incubator") || l.isBlank());
        return new Result(process.exitValue(), lines);
    }

    private static Result run(String limits, List<String> options, Path source, Path target) throws IOException, InterruptedException {
        return end(start(limits, options, source, target));
    }

    private void assertOneSentence(Result result, int exitCode, String... words) {
        assertEquals(exitCode, result.exitCode(), () -> String.join("\n", result.lines()));
        assertTrue(result.sentence().startsWith("ram: "), () -> String.join("\n", result.lines()));
        assertFalse(result.lines().stream().anyMatch(l -> l.contains("Exception") || l.startsWith("\tat ")), () -> String.join("\n", result.lines()));
        for (String word : words) {
            assertTrue(result.sentence().contains(word), result::sentence);
        }
        assertFalse(Files.exists(out), "nothing has the name of the output");
    }

    private void assertTheNextRunCompletes() throws IOException, InterruptedException {
        Result again = run("", QUICK, model, out);
        assertEquals(0, again.exitCode(), () -> String.join("\n", again.lines()));
        try (Stream<Path> files = Files.list(expected)) {
            for (Path file : files.toList()) {
                assertEquals(-1, Files.mismatch(file, out.resolve(file.getFileName())), file.toString());
            }
        }
    }

    /// Even the superuser needs permissions then.
    private static String unprivileged() {
        boolean superuser = System.getProperty("user.name").equals("root");
        assumeTrue(!superuser || Files.isExecutable(Path.of("/usr/bin/setpriv")), "permissions do not hold for the superuser, and there is no setpriv");
        return superuser ? "setpriv --bounding-set=-all --inh-caps=-all" : "";
    }

    @Test
    void aSourceThatMayNotBeRead() throws Exception {
        String unprivileged = unprivileged();
        Path weights = model.resolve("model.safetensors");
        Files.setPosixFilePermissions(weights, Set.of());
        assertOneSentence(run(unprivileged, QUICK, model, out), 1, weights.toString(), "may not be accessed; check its permissions");
        Files.setPosixFilePermissions(weights, PosixFilePermissions.fromString("rw-r--r--"));
        assertTheNextRunCompletes();
    }

    @Test
    void theRightToWriteIsLostMeanwhile() throws Exception {
        Process process = start(unprivileged(), USUAL, model, out);
        Path staged = folder.resolve(".out.partial/out");
        while (process.isAlive() && !Files.exists(staged)) {
            Thread.sleep(2);
        }
        Files.setPosixFilePermissions(staged, PosixFilePermissions.fromString("r-x------"));
        assertOneSentence(end(process), 1, "may not be accessed; check its permissions");
        Files.setPosixFilePermissions(staged, PosixFilePermissions.fromString("rwx------"));
        assertTheNextRunCompletes();
    }

    @Test
    void aFolderThatMayNotBeWrittenTo() throws Exception {
        String unprivileged = unprivileged();
        Path closed = Files.createDirectory(folder.resolve("closed"), PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("r-x------")));
        Path there = closed.resolve("out");
        Result result = run(unprivileged, QUICK, model, there);
        assertOneSentence(result, 1, closed.toString());
        assertFalse(Files.exists(there));
    }

    /// A write fails after so many blocks of 512 bytes of any one file.
    @ParameterizedTest
    @ValueSource(ints = {2, 100, 3000})
    void filesThatMayNotGrow(int blocks) throws Exception {
        assertOneSentence(run("ulimit -f " + blocks + ";", QUICK, model, out), 1);
        assertTheNextRunCompletes();
    }

    @Test
    void aLackOfMemory() throws Exception {
        assertOneSentence(run("", Jvm.withVectors("-XX:+UseParallelGC", "-Xmx10m"), model, out), 1, "memory");
        assertTheNextRunCompletes();
    }

    /// Of the program itself, in a thread that is not the first one, as all matrices are measured in others. A run that does not end by itself is stopped after 20 s.
    @Test
    void aClassThatIsDamaged() throws Exception {
        Path damaged = Files.createDirectories(folder.resolve("damaged/ram/metric"));
        Files.writeString(damaged.resolve("Spectrum.class"), "no class");
        List<String> command = Jvm.command(QUICK, Main.class, "quantize", model, "--bpw", 4.5, "--threads", 2, "--quiet", "-o", out);
        int classPath = command.indexOf("-cp") + 1;
        command.set(classPath, folder.resolve("damaged") + File.pathSeparator + command.get(classPath));
        long start = System.nanoTime();
        Result result = end(new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(folder.resolve("log").toFile()).start());
        double seconds = (System.nanoTime() - start) / 1e9;
        assertOneSentence(result, 1, "a part of the program is missing or damaged", "ram/metric/Spectrum", "build or unpack it again");
        assertTrue(seconds < 15, seconds + " s");
        assertTheNextRunCompletes();
    }

    @Test
    void aSourceThatIsCutWhileItIsRead() throws Exception {
        Path shard = model.resolve("model.safetensors");
        long size = Files.size(shard);
        Process process = start("", USUAL, model, out);
        while (process.isAlive() && !Files.exists(folder.resolve(".out.partial/write.journal"))) {
            Thread.sleep(1);
        }
        truncate(shard, size / 3);
        assertOneSentence(end(process), 5, shard + ": tensor 'model.", "truncated", "run again when nothing writes to it");
        Files.copy(original.resolve("model.safetensors"), shard, StandardCopyOption.REPLACE_EXISTING);
        assertTheNextRunCompletes();
    }

    /// After the first of its tensors was read, and after the first was compared with its source.
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aFolderThatIsCutWhileItIsVerified(boolean compared) throws IOException {
        Path cut = folder.resolve("cut");
        Folders.delete(cut);
        Folders.copy(expected, cut);
        Path shard = cut.resolve("model.safetensors");
        long size = Files.size(shard);
        long before = compared ? Verifier.work(cut, Optional.empty()) : 0;
        AtomicLong read = new AtomicLong();
        try (Model source = Model.open(original)) {
            String problem = Verifier.verify(cut, compared ? Optional.of(source) : Optional.empty(), Map.of(), 1, bytes -> {
                if (read.addAndGet(bytes) > before) {
                    truncate(shard, size / 3);
                }
            }).problems().getLast();
            assertTrue(problem.startsWith(shard + ": tensor '") && problem.contains("truncated"), problem);
        }
    }

    /// Stacked from tensors of their own, after the first matrix was measured.
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void expertsOfASourceThatIsCutWhileItIsAnalysed(int threads) throws IOException {
        Path experts = folder.resolve("experts");
        Folders.delete(experts);
        SyntheticModel.writeExperts(6, experts);
        Path shard = experts.resolve("model.safetensors");
        try (Model source = Model.open(experts)) {
            InputException e = assertThrows(InputException.class, () -> Profiles.analyze(source, AnalysisOptions.defaults(threads), "test", _ -> truncate(shard, 50_000)));
            assertTrue(e.getMessage().startsWith(shard + ": tensor 'model.") && e.getMessage().contains("truncated"), e.getMessage());
        }
    }

    private static void truncate(Path file, long size) {
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.setLength(size);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void anOutputFolderThatVanishes() throws Exception {
        Process process = start("", USUAL, model, out);
        Path partial = folder.resolve(".out.partial");
        while (process.isAlive() && !Files.exists(partial.resolve("write.journal"))) {
            Thread.sleep(1);
        }
        Folders.delete(partial.resolve("out"));
        assertOneSentence(end(process), 1, ".out.partial");
        assertTheNextRunCompletes();
    }

    /// The lock holds between processes, not only within one.
    @Test
    void aSecondProcessIntoTheSamePlace() throws Exception {
        Process process = start("", USUAL, model, out);
        while (process.isAlive() && !Files.exists(folder.resolve(".out.partial/analyze.journal"))) {
            Thread.sleep(1);
        }
        Cli.Result second = Cli.run("quantize", model, "--bpw", "4.5", "-o", out);
        assertTrue(process.isAlive(), "the first one has not ended meanwhile");
        assertEquals(2, second.exitCode(), second.err());
        assertEquals("ram: " + out + " is being written by another run; wait for it or choose another output folder", second.sentence());
        assertEquals(0, end(process).exitCode());
        try (Stream<Path> files = Files.list(expected)) {
            for (Path file : files.toList()) {
                assertEquals(-1, Files.mismatch(file, out.resolve(file.getFileName())), file.toString());
            }
        }
        assertFalse(Files.exists(folder.resolve(".out.partial")));
    }

    @Test
    void aSourceThatVanishesBeforeItIsOpened() throws Exception {
        Files.delete(model.resolve("model.safetensors"));
        assertOneSentence(run("", QUICK, model, out), 5, "model");
    }

    @Test
    void filesThatMayNotBeOpened() throws Exception {
        for (int files : new int[] {16, 32}) {
            Result result = run("ulimit -n " + files + ";", QUICK, model, out);
            // the virtual machine itself needs some
            if (result.lines().stream().anyMatch(l -> l.startsWith("ram: "))) {
                assertOneSentence(result, 1);
            } else if (result.exitCode() == 0) {
                Folders.delete(out);
            }
        }
        assertTheNextRunCompletes();
    }
}
