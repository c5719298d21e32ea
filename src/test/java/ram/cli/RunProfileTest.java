package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.stream.Collectors;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

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
}
