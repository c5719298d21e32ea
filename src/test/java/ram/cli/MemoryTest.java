package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Jvm;
import ram.SyntheticModel;

/// The resident memory of whole commands, mapped files included, on one tensor that is larger than what they may use.
/// `scripts/memory-test` does the same at full size.
class MemoryTest {
    private static final long TENSOR = 600_000_000;
    private static final long LIMIT = 128_000_000;
    /// What the virtual machine may take beside it.
    private static final long BESIDE = 300_000_000;

    @TempDir
    Path folder;

    /// To quantize is to verify as well.
    @Test
    void peaksStayWithinTheLimit() throws Exception {
        assumeTrue(Files.exists(PeakMemory.STATUS), "resident memory is read from /proc");
        Path model = folder.resolve("model");
        SyntheticModel.writeLarge(TENSOR, model);
        Path profile = folder.resolve("profile.json");
        Path out = folder.resolve("out");
        assertWithinLimit("analyze", model.toString(), "-o", profile.toString(), "--quantizer", "rtn", "--threads", "64");
        assertWithinLimit("quantize", model.toString(), "--profile", profile.toString(), "--policy", "uniform", "-o", out.toString());
    }

    /// With the heap that scripts/ram gives this --memory.
    private void assertWithinLimit(String... args) throws IOException, InterruptedException {
        List<String> command = Jvm.command(Jvm.withVectors("-XX:+UseParallelGC", "-Xmn42m", "-Xmx128m"), PeakMemory.class, (Object[]) args);
        command.addAll(List.of("--memory", "128MB", "--quiet"));
        Path log = folder.resolve("log");
        Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
        assertTrue(process.waitFor(120, TimeUnit.SECONDS));
        List<String> lines = Files.readAllLines(log, StandardCharsets.UTF_8);
        assertEquals(0, process.exitValue(), () -> String.join("\n", lines));
        long peak = Long.parseLong(lines.getLast()) * 1024;
        assertTrue(peak <= LIMIT + BESIDE, () -> args[0] + " held " + peak / 1_000_000 + " MB");
    }
}
