package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Jvm;

/// In which order the system is told to force, to rename and to remove. Skipped where there is no `strace`.
class DurabilityTest {
    private static final Path STRACE = Path.of("/usr/bin/strace");
    /// The call and the first file in it, and for a new name that as well.
    private static final Pattern CALL = Pattern.compile("(fsync|rename|unlink)\\((?:\\d+<|\")([^>\"]+)[>\"](?:, \"([^\"]+)\")?");

    @TempDir
    Path folder;

    /// What happens to files below the folder, each as its call and the ends of their names.
    private List<String> calls(Object... words) throws IOException, InterruptedException {
        assumeTrue(Files.isExecutable(STRACE), "no strace");
        Path log = folder.resolve("log");
        List<String> command = new ArrayList<>(List.of(STRACE.toString(), "-f", "-qq", "-y", "-s", "4096", "-o", log.toString(), "-e", "trace=fsync,rename,unlink", "-e", "signal=none"));
        command.addAll(Jvm.command(Jvm.withVectors("-Xmx512m"), Main.class, words));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(folder.resolve("output").toFile()).start();
        assertTrue(process.waitFor(120, TimeUnit.SECONDS));
        assertEquals(0, process.exitValue(), Files.readString(folder.resolve("output")));
        List<String> out = new ArrayList<>();
        for (String line : Files.readAllLines(log)) {
            Matcher m = CALL.matcher(line);
            if (m.find() && Path.of(m.group(2)).startsWith(folder)) {
                out.add(m.group(1) + " " + name(m.group(2)) + (m.group(3) == null ? "" : " " + name(m.group(3))));
            }
        }
        return out;
    }

    private String name(String path) {
        return folder.relativize(Path.of(path)).toString().replaceAll("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID");
    }

    @Test
    void aProfileIsOnDiskBeforeItsJournalGoes() throws Exception {
        List<String> calls = calls("analyze", Cli.TINY, "-o", folder.resolve("profile.json"), "--quiet");
        calls.removeIf("fsync .profile.json.partial"::equals);
        assertEquals(List.of("fsync .profile.json.UUID.new", "rename .profile.json.UUID.new profile.json", "fsync ", "unlink .profile.json.partial"), calls);
    }

    @Test
    void anOutputIsOnDiskBeforeItsJournalsGo() throws Exception {
        List<String> calls = calls("quantize", Cli.TINY, "--policy", "uniform", "-o", folder.resolve("out"), "--quiet");
        int renamed = calls.indexOf("rename .out.partial/out out");
        assertTrue(calls.subList(0, renamed).containsAll(List.of("fsync .out.partial/out", "fsync .out.partial/out/model.safetensors", "fsync .out.partial/out/manifest.json")), calls.toString());
        assertEquals("fsync ", calls.get(renamed + 1));
        assertTrue(calls.subList(renamed + 2, calls.size()).containsAll(List.of("unlink .out.partial/analyze.journal", "unlink .out.partial/write.journal")), calls.toString());
        assertTrue(calls.subList(0, renamed).stream().noneMatch(c -> c.startsWith("unlink .out.partial/") && c.endsWith(".journal")), calls.toString());
    }
}
