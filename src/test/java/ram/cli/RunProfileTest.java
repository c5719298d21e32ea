package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Jvm;

class RunProfileTest {
    @TempDir
    Path folder;

    @Test
    void recordsEveryStage() throws Exception {
        Path recording = folder.resolve("run.jfr");
        Cli.Result result = Cli.run("quantize", Cli.TINY, "--bpw", "4.5", "-o", folder.resolve("out"), "--profile-run", recording);
        assertEquals(0, result.exitCode(), result.err());
        Set<String> stages = RecordingFile.readAllEvents(recording).stream().filter(e -> e.getEventType().getName().equals("ram.Stage"))
                .map(e -> e.getString("stage")).collect(Collectors.toSet());
        assertEquals(Set.of("importance", "metrics", "errors", "quantize", "copy", "verify"), stages);
        assertTrue(stages.stream().allMatch(s -> result.err().lines().anyMatch(l -> l.startsWith(s + " "))), result.err());
        assertTrue(result.err().contains("wrote " + recording), result.err());
    }

    @Test
    void doesNotReplaceAFile() throws Exception {
        Path taken = Files.writeString(folder.resolve("taken.jfr"), "x");
        Cli.Result result = Cli.run("inspect", Cli.TINY, "--profile-run", taken);
        assertEquals(2, result.exitCode());
        assertTrue(result.sentence().contains("taken.jfr exists already"), result.err());
        assertEquals("x", Files.readString(taken));
    }

    /// As one made by jlink can be.
    @Test
    void aRuntimeThatCannotRecordWorksOtherwise() throws Exception {
        String modules = "--limit-modules=java.base,java.logging,java.management,java.naming,java.xml,jdk.incubator.vector,jdk.management,jdk.unsupported";
        Path recording = folder.resolve("run.jfr");
        assertEquals(0, inProcess(modules, "quantize", Cli.TINY, "--bpw", "4.5", "-o", folder.resolve("out"), "--quiet"), () -> read("err"));
        assertEquals(2, inProcess(modules, "inspect", Cli.TINY, "--profile-run", recording));
        assertEquals("ram: --profile-run needs the Java module jdk.jfr, which this Java runtime is made without; give a whole JDK with RAM_JAVA, or leave the option out",
                read("err").lines().toList().getLast());
        assertFalse(read("err").contains("\tat "), read("err"));
        assertFalse(Files.exists(recording));
    }

    private int inProcess(String option, Object... words) throws Exception {
        Process process = new ProcessBuilder(Jvm.command(Jvm.withVectors(option), Main.class, words))
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(folder.resolve("err").toFile()).start();
        assertTrue(process.waitFor(120, TimeUnit.SECONDS));
        return process.exitValue();
    }

    private String read(String name) {
        try {
            return Files.readString(folder.resolve(name));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
