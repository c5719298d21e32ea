package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import jdk.incubator.vector.Vector;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// `scripts/ram` in a folder of its own, with a Java that says which jar it was given and a Maven that takes its time and writes half a jar first.
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class LauncherTest {
    private static final String JAVA = """
            #!/bin/sh
            while [ $# -gt 0 ]; do
                [ "$1" != -jar ] || cat "$2"
                shift
            done
            """;
    private static final String MAVEN = """
            #!/bin/sh
            echo built >>builds
            mkdir -p target
            echo thin >target/ram.jar
            touch begun
            while [ -f hold ]; do sleep 0.1; done
            [ ! -f fail ] || exit 1
            echo whole >target/ram.jar
            """;

    @TempDir
    Path folder;

    private Path home;
    private Path java;

    private record Result(int exitCode, String out, String err) {
    }

    @BeforeEach
    void fill() throws IOException {
        home = Files.createDirectories(folder.resolve("some place"));
        Path script = Files.createDirectories(home.resolve("scripts")).resolve("ram");
        Files.copy(Path.of("scripts/ram"), script);
        Files.createDirectories(home.resolve("src/main"));
        Files.setLastModifiedTime(Files.createFile(home.resolve("pom.xml")), FileTime.from(Instant.now().minusSeconds(60)));
        java = jdk("jdk", "25.0.1");
        program(folder.resolve("bin/mvn"), MAVEN);
    }

    private static Path program(Path file, String text) throws IOException {
        Files.createDirectories(file.getParent());
        return Files.setPosixFilePermissions(Files.writeString(file, text), PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private Path jdk(String name, String version) throws IOException {
        Path file = program(folder.resolve(name + "/bin/java"), JAVA);
        Files.writeString(folder.resolve(name + "/release"), "JAVA_VERSION=\"" + version + "\"\n");
        return file;
    }

    private Process start(String name, List<String> before, Map<String, String> variables, String... words) throws IOException {
        List<String> command = new ArrayList<>(before);
        command.add(home.resolve("scripts/ram").toString());
        command.addAll(List.of(words));
        ProcessBuilder builder = new ProcessBuilder(command).redirectOutput(folder.resolve(name + ".out").toFile()).redirectError(folder.resolve(name + ".err").toFile());
        builder.environment().put("RAM_JAVA", java.toString());
        builder.environment().put("PATH", folder.resolve("bin") + ":/usr/local/bin:/usr/bin:/bin");
        builder.environment().remove("RAM_OPTS");
        builder.environment().putAll(variables);
        return builder.start();
    }

    private Process start(String name) throws IOException {
        return start(name, List.of(), Map.of());
    }

    private Result end(String name, Process process) throws IOException, InterruptedException {
        assertTrue(process.waitFor(40, TimeUnit.SECONDS));
        return new Result(process.exitValue(), Files.readString(folder.resolve(name + ".out"), StandardCharsets.UTF_8), Files.readString(folder.resolve(name + ".err"), StandardCharsets.UTF_8));
    }

    private Result run() throws IOException, InterruptedException {
        return end("run", start("run"));
    }

    private void await(Path file) throws InterruptedException {
        while (!Files.exists(file)) {
            Thread.sleep(20);
        }
    }

    private long builds() throws IOException {
        return Files.readAllLines(home.resolve("builds")).size();
    }

    private void assertWhole(Result r) {
        assertEquals(0, r.exitCode(), r.err());
        assertEquals("whole\n", r.out());
        assertFalse(Files.exists(home.resolve(".build-lock")));
    }

    @Test
    void isBuiltOnce() throws Exception {
        assertWhole(run());
        assertEquals("", run().err());
        assertEquals(1, builds());
    }

    /// A jar that is there and new may be one that Maven has not finished.
    @Test
    void waitsForARunThatBuilds() throws Exception {
        Files.createFile(home.resolve("hold"));
        Process first = start("first");
        await(home.resolve("begun"));
        List<Process> others = List.of(start("second"), start("third"));
        Thread.sleep(1500);
        assertTrue(others.stream().allMatch(Process::isAlive));
        Files.delete(home.resolve("hold"));
        assertWhole(end("first", first));
        assertWhole(end("second", others.getFirst()));
        assertWhole(end("third", others.getLast()));
        assertEquals("ram: is being built by another run; waiting (if there is none, remove " + home.toRealPath().resolve(".build-lock") + ")\n", Files.readString(folder.resolve("second.err")));
        assertEquals(1, builds());
    }

    @Test
    void aBuildThatFailsLeavesNothingToRun() throws Exception {
        Files.createFile(home.resolve("fail"));
        Result r = run();
        assertEquals(1, r.exitCode());
        assertTrue(r.err().endsWith("ram: could not be built; the lines above say why\n"), r.err());
        Files.delete(home.resolve("fail"));
        assertWhole(run());
    }

    /// Of several that find it, one builds.
    @Test
    void takesOverFromARunThatWasKilled() throws Exception {
        Files.createFile(home.resolve("hold"));
        Process first = start("first");
        await(home.resolve("begun"));
        List<ProcessHandle> maven = first.descendants().toList();
        first.destroyForcibly().waitFor();
        Process second = start("second");
        Thread.sleep(1500);
        assertTrue(second.isAlive(), "its Maven still runs");
        assertEquals(1, builds());
        maven.forEach(ProcessHandle::destroyForcibly);
        Files.delete(home.resolve("hold"));
        Process third = start("third");
        assertWhole(end("second", second));
        assertWhole(end("third", third));
        assertEquals(2, builds());
    }

    /// As after a kill in between, or by an earlier version of the script.
    @Test
    void takesOverALockWithoutANumber() throws Exception {
        Files.createDirectory(home.resolve(".build-lock"));
        assertWhole(run());
    }

    @Test
    void aLockOfAnotherComputerIsWaitedFor() throws Exception {
        Path lock = Files.createDirectory(home.resolve(".build-lock"));
        Files.writeString(lock.resolve("pid"), "999999999 elsewhere.invalid\n");
        Process waits = start("waits");
        Thread.sleep(1500);
        assertTrue(waits.isAlive());
        Files.delete(lock.resolve("pid"));
        Files.delete(lock);
        assertWhole(end("waits", waits));
    }

    @Test
    void aFolderThatCannotBeWrittenTo() throws Exception {
        boolean superuser = System.getProperty("user.name").equals("root");
        assumeTrue(!superuser || Files.isExecutable(Path.of("/usr/bin/setpriv")), "permissions do not hold for the superuser, and there is no setpriv");
        List<String> before = superuser ? List.of("setpriv", "--bounding-set=-all", "--inh-caps=-all") : List.of();
        Files.setPosixFilePermissions(home, PosixFilePermissions.fromString("r-xr-xr-x"));
        try {
            Result r = end("closed", start("closed", before, Map.of()));
            assertEquals(1, r.exitCode(), r.err());
            assertEquals("ram: has to be built once, and " + home.toRealPath() + " cannot be written to; run it once as a user who may, or copy the folder to where you may\n", r.err());
        } finally {
            Files.setPosixFilePermissions(home, PosixFilePermissions.fromString("rwxr-xr-x"));
        }
    }

    @Test
    void aFileInPlaceOfTheLock() throws Exception {
        Path lock = Files.writeString(home.resolve(".build-lock"), "mine");
        Result r = run();
        assertEquals(1, r.exitCode());
        assertEquals("ram: has to be built once, and " + lock.toRealPath() + " cannot be made or taken over; remove it, or free some space on its disk\n", r.err());
        assertEquals("mine", Files.readString(lock));
    }

    @Test
    void aJavaThatWillNotDo() throws Exception {
        Path script = program(folder.resolve("old"), "#!/bin/sh\necho 'openjdk version \"17.0.15\" 2025-04-15' >&2\n");
        for (Path wrong : List.of(folder.resolve("nowhere/java"), folder.resolve("jdk"), folder.resolve("jdk/release"))) {
            Result r = end("wrong", start("wrong", List.of(), Map.of("RAM_JAVA", wrong.toString())));
            assertEquals(1, r.exitCode());
            assertEquals("ram: RAM_JAVA is " + wrong + ", which is not there or cannot be run; set it to the bin/java of a JDK 25 or newer, or unset it\n", r.err());
        }
        for (Path wrong : List.of(jdk("jdk17", "17.0.15"), jdk("jdk8", "1.8.0_402"), script, program(folder.resolve("none"), "#!/bin/sh\n"))) {
            Result r = end("wrong", start("wrong", List.of(), Map.of("RAM_JAVA", wrong.toString())));
            assertEquals(1, r.exitCode());
            assertEquals("ram: RAM_JAVA is " + wrong + ", which is not a Java of version 25 or newer; set it to the bin/java of one, or unset it\n", r.err());
        }
        assertFalse(Files.exists(home.resolve("builds")));
    }

    @Test
    void aJavaThatWillDo() throws Exception {
        Path link = Files.createSymbolicLink(folder.resolve("link"), java);
        Path script = program(folder.resolve("bin/new-java"), "#!/bin/sh\n[ \"$1\" != -version ] || exec echo 'openjdk version \"26-ea\" 2026-03-17'\nexec \"" + java + "\" \"$@\"\n");
        for (String right : List.of(link.toString(), script.toString(), "new-java")) {
            assertWhole(end("right", start("right", List.of(), Map.of("RAM_JAVA", right))));
        }
    }

    /// A version that no machine has, so that what is installed here is passed over.
    @Test
    void findsWhatAVersionManagerInstalled() throws Exception {
        Path script = home.resolve("scripts/ram");
        Files.writeString(script, Files.readString(script).replace("need=25\n", "need=999\n"));
        Map<String, String> variables = Map.of("RAM_JAVA", "", "RAM_SHOW_JAVA", "yes", "HOME", folder.toString());
        Result none = end("none", start("none", List.of(), variables));
        assertEquals(1, none.exitCode());
        assertTrue(none.err().startsWith("ram: needs a JDK 999 or newer, and none was found") && none.err().lines().count() == 1, none.err());
        for (String place : List.of(".asdf/installs/java/temurin-999", ".local/share/mise/installs/java/999", ".jdks/999", ".sdkman/candidates/java/999")) {
            Path found = jdk(place, "999.0.1");
            assertEquals(new Result(0, found + "\n", ""), end("found", start("found", List.of(), variables)));
            Files.delete(found);
        }
        assertFalse(Files.exists(home.resolve("builds")));
    }

    /// The first process is another user's, unless the superuser asks; the `ps` of busybox refuses `-p`.
    @Test
    void aBuildOfAnotherUserIsWaitedForWherePsKnowsNoOptions() throws Exception {
        assumeTrue(Files.isDirectory(Path.of("/proc/1")), "there is no /proc");
        boolean superuser = System.getProperty("user.name").equals("root");
        assumeTrue(!superuser || Files.isExecutable(Path.of("/usr/bin/setpriv")), "the superuser may send signals to everyone, and there is no setpriv");
        program(folder.resolve("bin/ps"), "#!/bin/sh\nexit 1\n");
        Path lock = Files.createDirectory(home.resolve(".build-lock"));
        Files.writeString(lock.resolve("pid"), "1 " + new String(new ProcessBuilder("uname", "-n").start().getInputStream().readAllBytes(), StandardCharsets.UTF_8));
        if (superuser) {
            try (Stream<Path> all = Files.walk(folder)) {
                for (Path path : all.toList()) {
                    Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rwxrwxrwx"));
                }
            }
        }
        Process waits = start("waits", superuser ? List.of("setpriv", "--reuid=65534", "--clear-groups") : List.of(), Map.of());
        Thread.sleep(1500);
        assertTrue(waits.isAlive(), () -> read("waits.err"));
        assertFalse(Files.exists(home.resolve("builds")));
        Files.delete(lock.resolve("pid"));
        Files.delete(lock);
        assertWhole(end("waits", waits));
    }

    private String read(String name) {
        try {
            return Files.readString(folder.resolve(name));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// What a pipeline reads from stdout is what the command prints, and nothing else.
    @Test
    void aVirtualMachineThatCannotStartSaysSoOnStderr() throws Exception {
        Manifest manifest = new Manifest();
        manifest.getMainAttributes().putValue("Manifest-Version", "1.0");
        manifest.getMainAttributes().putValue("Main-Class", "Missing");
        new JarOutputStream(Files.newOutputStream(Files.createDirectories(home.resolve("lib")).resolve("ram.jar")), manifest).close();
        Files.delete(home.resolve("src/main"));
        Path real = Path.of(System.getProperty("java.home"), "bin", "java");
        Result r = end("vm", start("vm", List.of(), Map.of("RAM_JAVA", real.toString(), "RAM_OPTS", "-Xms300000g -Xmx300000g"), "plan", "--json"));
        assertEquals(1, r.exitCode());
        assertEquals("", r.out());
        assertTrue(r.err().contains("Error occurred during initialization of VM"), r.err());
    }

    /// The awk of macOS takes less than others do, and whatever `awk` is, the size has to be found.
    @Test
    void findsTheMemoryInDefaultsWithEveryAwk() throws Exception {
        Path defaults = Files.writeString(folder.resolve("ram.yaml"), "memory: 1GB # of 8\nquantize:\n  memory: 3.2GB\n  refine: self\n");
        Path shows = program(folder.resolve("shows/bin/java"), "#!/bin/sh\necho \"$*\"\n");
        Files.writeString(folder.resolve("shows/release"), "JAVA_VERSION=\"25\"\n");
        for (String awk : List.of("awk", "original-awk", "mawk", "gawk", "busybox")) {
            Optional<Path> installed = Stream.of("/bin", "/usr/bin").map(d -> Path.of(d, awk)).filter(Files::isExecutable).findFirst();
            if (installed.isPresent()) {
                Path link = folder.resolve("bin/awk");
                Files.deleteIfExists(link);
                Files.createSymbolicLink(link, installed.get());
                Map<String, String> variables = Map.of("RAM_JAVA", shows.toString(), "RAM_CONFIG", defaults.toString());
                Result all = end(awk, start(awk, List.of(), variables, "plan", "p"));
                assertTrue(all.exitCode() == 0 && all.out().contains(" -Xmx625m "), awk + ": " + all);
                Result own = end(awk, start(awk, List.of(), variables, "quantize", "m"));
                assertTrue(own.exitCode() == 0 && own.out().contains(" -Xmx2000m -Xms2000m "), awk + ": " + own);
            }
        }
    }

    @Test
    void holdsInEveryShell() throws IOException, InterruptedException {
        for (String shell : Stream.of("dash", "bash", "ksh", "busybox").filter(s -> Stream.of("/bin", "/usr/bin").anyMatch(d -> Files.isExecutable(Path.of(d, s)))).toList()) {
            Files.deleteIfExists(home.resolve("target/ram.jar"));
            Files.createDirectory(home.resolve(".build-lock"));
            Files.writeString(home.resolve(".build-lock/pid"), "999999999 " + new String(new ProcessBuilder("uname", "-n").start().getInputStream().readAllBytes(), StandardCharsets.UTF_8));
            assertWhole(end(shell, start(shell, shell.equals("busybox") ? List.of("busybox", "sh") : List.of(shell), Map.of())));
        }
    }

    @Test
    void saysWhichStreamsAreTerminals() throws Exception {
        program(java, """
                #!/bin/sh
                for word; do
                    case $word in -Dram.tty=*) echo "$word" ;; esac
                done
                """);
        assertEquals("-Dram.tty=\n", run().out());
        assumeTrue(Files.isExecutable(Path.of("/usr/bin/script")) && System.getProperty("os.name").equals("Linux"), "there is no program that gives another one a terminal");
        for (String redirection : List.of("", "2>/dev/null", "2>&1 | cat")) {
            List<String> inTerminal = List.of("sh", "-c", "script -qec \"'$0' " + redirection + "\" /dev/null </dev/null");
            String expected = redirection.isEmpty() ? "12" : redirection.startsWith("2>&1") ? "" : "1";
            assertEquals("-Dram.tty=" + expected, end("tty", start("tty", inTerminal, Map.of())).out().strip());
        }
    }

    /// A vector that goes through a call is an object, which takes a thousand times longer.
    @Test
    void kernelsThatAreNeverInlinedTakeAndGiveNoVectors() throws Exception {
        List<String> kernels = Pattern.compile("dontinline,([\\w.]+)::\\*").matcher(Files.readString(Path.of("scripts/ram"))).results().map(m -> m.group(1)).toList();
        assertEquals(List.of("ram.numeric.VectorKernels", "ram.format.VectorGroups"), kernels);
        for (String kernel : kernels) {
            List<Method> methods = Arrays.stream(Class.forName(kernel).getDeclaredMethods()).filter(m -> !m.isSynthetic()).toList();
            assertTrue(methods.size() > 8, kernel);
            for (Method method : methods) {
                assertFalse(Stream.concat(Stream.of(method.getReturnType()), Arrays.stream(method.getParameterTypes())).anyMatch(Vector.class::isAssignableFrom), method.toString());
            }
        }
    }
}
