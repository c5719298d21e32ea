package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.Jvm;

/// What a process believes of its streams.
class SurroundingsTest {
    /// Neither is one here: both are pipes.
    @ParameterizedTest
    @CsvSource({"'', false", "1, true", "2, false", "12, true"})
    void theLauncherKnowsWhichStreamsAreTerminals(String told, boolean coloured) throws Exception {
        ProcessBuilder builder = new ProcessBuilder(Jvm.command(List.of("-Dram.tty=" + told), Main.class, "help", "plan")).redirectError(ProcessBuilder.Redirect.DISCARD);
        builder.environment().put("TERM", "xterm");
        builder.environment().remove("NO_COLOR");
        Process process = builder.start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor());
        assertEquals(coloured, out.contains("\u001b["));
    }
}
