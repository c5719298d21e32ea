package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Jvm;

/// Profile and output are the same bytes whatever the number of threads and the width of the vectors.
class DeterminismTest {
    @TempDir
    Path folder;

    private List<String> analyze(String name) {
        return List.of("analyze", Cli.TINY.toString(), "-o", folder.resolve(name + ".json").toString());
    }

    private List<String> quantize(String name) {
        return List.of("quantize", Cli.TINY.toString(), "--bpw", "4.5", "--profile", folder.resolve(name + ".json").toString(), "-o", folder.resolve(name).toString());
    }

    private void runHere(List<String> command, int threads) {
        List<Object> args = new ArrayList<>(command);
        args.addAll(List.of("--threads", threads, "--quiet"));
        Cli.Result result = Cli.run(args.toArray());
        assertEquals(0, result.exitCode(), result.err());
    }

    /// Runs both commands in another virtual machine and returns what it prints.
    private String runInJvm(List<String> options, String name) throws IOException, InterruptedException {
        List<String> line = Jvm.command(options, Both.class, analyze(name).toArray());
        line.add(Both.THEN);
        line.addAll(quantize(name));
        Process process = new ProcessBuilder(line).redirectErrorStream(true).start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), out);
        return out;
    }

    /// Runs two commands, one after the other.
    static final class Both {
        static final String THEN = "then";

        private Both() {
        }

        public static void main(String[] args) {
            List<String> words = List.of(args);
            int then = words.indexOf(THEN);
            PrintWriter out = new PrintWriter(System.out);
            PrintWriter err = new PrintWriter(System.err);
            int code = Main.run(out, err, words.subList(0, then).toArray(String[]::new));
            System.exit(code == 0 ? Main.run(out, err, words.subList(then + 1, words.size()).toArray(String[]::new)) : code);
        }
    }

    private void assertSame(String name) throws IOException {
        assertArrayEquals(Files.readAllBytes(folder.resolve("base.json")), Files.readAllBytes(folder.resolve(name + ".json")), "profile of " + name);
        SortedMap<String, byte[]> expected = content("base");
        SortedMap<String, byte[]> found = content(name);
        assertEquals(expected.keySet(), found.keySet());
        expected.forEach((file, bytes) -> assertArrayEquals(bytes, found.get(file), file + " of " + name));
    }

    private SortedMap<String, byte[]> content(String name) throws IOException {
        SortedMap<String, byte[]> out = new TreeMap<>();
        try (Stream<Path> files = Files.list(folder.resolve(name))) {
            for (Path f : files.toList()) {
                out.put(f.getFileName().toString(), Files.readAllBytes(f));
            }
        }
        return out;
    }

    @Test
    void sameBytesWithAnyThreadsAndAnyVectors() throws Exception {
        runHere(analyze("base"), 1);
        runHere(quantize("base"), 1);
        for (int threads : new int[] {2, 7}) {
            runHere(analyze("threads" + threads), threads);
            runHere(quantize("threads" + threads), threads);
            assertSame("threads" + threads);
        }
        // what the test runs with is the widest; WidthTest has the widths between, plain Java is the last
        runInJvm(List.of("--add-modules", "jdk.incubator.vector", "-Dram.vector=128"), "narrow");
        assertSame("narrow");
        String log = runInJvm(List.of(), "plain");
        assertEquals(1, log.lines().filter(l -> l.contains("Computing in plain Java")).count(), log);
        assertTrue(log.contains("without --add-modules jdk.incubator.vector"), log);
        assertSame("plain");
    }
}
