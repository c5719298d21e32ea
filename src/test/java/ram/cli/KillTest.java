package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.EnumMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Jvm;
import ram.SyntheticModel;

/// Processes that are killed wherever they happen to be, and run again. `scripts/kill-test` does it many times.
class KillTest {
    /// How many processes are killed.
    private static final int KILLS = Integer.getInteger("ram.kills", 6);
    private static final long SEED = Long.getLong("ram.seed", 1);
    private static final int MEGABYTES = Integer.getInteger("ram.megabytes", 24);

    /// Where a process was when the signal reached it, as its files tell.
    private enum Phase { BEGIN, ANALYZE, WRITE, VERIFY, DONE }

    private enum Signal {
        KILL(137), TERM(143), INT(130);

        final int exitCode;

        Signal(int exitCode) {
            this.exitCode = exitCode;
        }
    }

    @TempDir
    static Path folder;

    private static Path model;

    @BeforeAll
    static void writeModel() throws IOException {
        assumeTrue(Files.isExecutable(Path.of("/bin/kill")) || Files.isExecutable(Path.of("/usr/bin/kill")), "signals are sent with kill");
        model = folder.resolve("model");
        SyntheticModel.writeSmall(MEGABYTES, model);
    }

    private static Process start(List<String> options, List<String> args) throws IOException {
        List<String> command = Jvm.command(options, Main.class, args.toArray());
        return new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(folder.resolve("log").toFile()).start();
    }

    private static String log() throws IOException {
        return Files.readString(folder.resolve("log"), StandardCharsets.UTF_8);
    }

    private static int finish(List<String> args) throws IOException, InterruptedException {
        Process process = start(Jvm.quick("-XX:+UseParallelGC", "-Xmx512m"), args);
        assertTrue(process.waitFor(300, TimeUnit.SECONDS));
        return process.exitValue();
    }

    private static SortedMap<String, String> hashes(Path root) throws IOException, NoSuchAlgorithmException {
        SortedMap<String, String> out = new TreeMap<>();
        try (Stream<Path> files = Files.walk(root)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                out.put(root.relativize(file).toString(), HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file))));
            }
        }
        return out;
    }

    private static Phase phase(Path out) {
        Path partial = out.resolveSibling("." + out.getFileName() + ".partial");
        if (Files.exists(out)) {
            return Phase.DONE;
        }
        if (Files.isRegularFile(partial)) {
            return Phase.ANALYZE;
        }
        if (Files.exists(partial.resolve("out/manifest.json"))) {
            return Phase.VERIFY;
        }
        if (Files.exists(partial.resolve("write.journal"))) {
            return Phase.WRITE;
        }
        return Files.exists(partial.resolve("analyze.journal")) ? Phase.ANALYZE : Phase.BEGIN;
    }

    private static void await(Process process, Path out, Phase wanted, long more) throws InterruptedException {
        while (process.isAlive() && phase(out).compareTo(wanted) < 0) {
            Thread.sleep(1);
        }
        Thread.sleep(more);
    }

    @Test
    void killedAnywhereNothingLooksFinishedAndTheNextRunGivesTheSameBytes() throws Exception {
        SortedMap<String, String> source = hashes(model);
        List<String> quantize = List.of("quantize", model.toString(), "--bpw", "4.5", "--quantizer", "rtn", "--no-progress", "-o", folder.resolve("out").toString());
        List<String> analyze = List.of("analyze", model.toString(), "--quantizer", "rtn", "--no-progress", "-o", folder.resolve("profile.json").toString());
        assertEquals(0, finish(quantize), KillTest::logOrNothing);
        SortedMap<String, String> expected = hashes(folder.resolve("out"));
        Files.move(folder.resolve("out"), folder.resolve("expected"));
        assertEquals(0, finish(analyze), KillTest::logOrNothing);
        SortedMap<String, String> expectedProfile = new TreeMap<>(Map.of("profile.json", hashes(folder).get("profile.json")));
        Files.delete(folder.resolve("profile.json"));

        Random random = new Random(SEED);
        Map<Phase, Integer> hits = new EnumMap<>(Phase.class);
        int resumed = 0;
        for (int i = 0; i < KILLS; i++) {
            Signal signal = Signal.values()[i % 3];
            boolean whole = i % 4 != 3;
            List<String> command = whole ? quantize : analyze;
            Path out = Path.of(command.getLast());
            int times = 1 + random.nextInt(2);
            for (int t = 0; t < times && !Files.exists(out); t++) {
                Phase wanted = whole ? List.of(Phase.ANALYZE, Phase.WRITE, Phase.WRITE, Phase.VERIFY).get(random.nextInt(4)) : Phase.ANALYZE;
                Process process = start(Jvm.withVectors("-XX:+UseParallelGC", "-Xmx512m"), command);
                // files of the killed run are there from the start; that the next one says what it takes up shows that it has begun
                while (t > 0 && process.isAlive() && !log().contains("resuming:")) {
                    Thread.sleep(1);
                }
                await(process, out, wanted, random.nextInt(150));
                new ProcessBuilder("kill", "-" + signal, String.valueOf(process.pid())).start().waitFor();
                assertTrue(process.waitFor(60, TimeUnit.SECONDS), "the signal ends it");
                Phase hit = phase(out);
                hits.merge(hit, 1, Integer::sum);
                assertEquals(source, hashes(model), "the source is untouched");
                if (hit == Phase.DONE) {
                    assertTrue(process.exitValue() == 0 || process.exitValue() == signal.exitCode, log());
                } else {
                    assertEquals(signal.exitCode, process.exitValue(), log());
                }
            }
            if (!Files.exists(out)) {
                assertEquals(0, finish(command), KillTest::logOrNothing);
                resumed += log().contains("resuming:") ? 1 : 0;
            }
            if (whole) {
                assertEquals(expected, hashes(out));
            } else {
                assertEquals(expectedProfile.get("profile.json"), hashes(folder).get("profile.json"));
            }
            clear(out);
        }
        System.out.println("killed " + hits + ", " + resumed + " of " + KILLS + " runs were resumed from recorded steps");
        assertTrue(hits.getOrDefault(Phase.ANALYZE, 0) > 0 && hits.getOrDefault(Phase.WRITE, 0) + hits.getOrDefault(Phase.VERIFY, 0) > 0, () -> "signals came at " + hits);
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(List.of(), left.map(p -> p.getFileName().toString()).filter(n -> n.startsWith(".")).toList(), "no working files stay");
        }
        assertFalse(hits.isEmpty());
    }

    private static String logOrNothing() {
        try {
            return log();
        } catch (IOException e) {
            return "";
        }
    }

    private static void clear(Path out) throws IOException {
        if (Files.isDirectory(out)) {
            try (Stream<Path> files = Files.list(out)) {
                for (Path file : files.toList()) {
                    Files.delete(file);
                }
            }
        }
        Files.delete(out);
    }
}
