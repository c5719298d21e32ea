package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.Schemas;

/// Several budgets or targets in one pass.
class FamilyTest {
    @TempDir
    static Path shared;

    @TempDir
    Path folder;

    private static Path profile;

    @BeforeAll
    static void analyze() {
        profile = Cli.analyzed(shared);
    }

    private static List<String> tree(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(Files::isRegularFile).map(f -> folder.relativize(f).toString()).sorted().toList();
        }
    }

    private static void assertSameFolder(Path expected, Path actual) throws IOException {
        assertEquals(tree(expected), tree(actual));
        for (String file : tree(expected)) {
            assertArrayEquals(Files.readAllBytes(expected.resolve(file)), Files.readAllBytes(actual.resolve(file)), actual.resolve(file).toString());
        }
    }

    /// 2.6 MB leaves modules dense that the others quantize.
    @Test
    void onePassGivesTheFoldersOfSingleRuns() throws IOException {
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--budget", "1 MB", "--budget", "2.6MB", "--budget", "1000010", "--threads", "3", "-o", out, "--no-progress");
        assertEquals("", r.err());
        assertEquals(0, r.exitCode());
        try (Stream<Path> files = Files.list(out)) {
            assertEquals(List.of("1000010", "1MB", "2.6MB", "700kB", "family.json"), files.map(f -> f.getFileName().toString()).sorted().toList());
        }
        for (String budget : List.of("700kB", "1MB", "2.6MB", "1000010")) {
            Path single = folder.resolve("single-" + budget);
            assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", budget, "--profile", profile, "-o", single, "--quiet").exitCode());
            assertSameFolder(single, out.resolve(budget));
        }
        byte[] dense = Files.readAllBytes(out.resolve("2.6MB/manifest.json"));
        assertTrue(new ObjectMapper().readTree(dense).path("modules").valueStream().anyMatch(m -> m.path("format").asText().equals("dense")), "some modules stay dense");

        JsonNode family = new ObjectMapper().readTree(out.resolve("family.json").toFile());
        assertEquals(List.of(), Schemas.errors(Schemas.schema("family"), family));
        JsonNode one = family.path("members").path(1);
        assertEquals("1MB", one.path("folder").asText());
        assertEquals(1_000_000, one.path("budget_bytes").asLong());
        assertEquals(Files.size(out.resolve("1MB/model.safetensors")), one.path("file_bytes").asLong());
        assertEquals(8, one.path("memory_gib").asInt());
        JsonNode manifest = new ObjectMapper().readTree(out.resolve("1MB/manifest.json").toFile());
        assertEquals(manifest.path("solver").path("objective").asDouble(), one.path("predicted_damage").asDouble(), 1e-12);
        assertEquals(manifest.path("sizes").path("bits_per_weight").asDouble(), one.path("bits_per_weight").asDouble());
        assertTrue(r.out().matches("(?s)folder +size +bits/weight +predicted damage +for memory of\n700kB .*1000010 .* same plan as 1MB\n\nwritten   .*, verified against .*\n"), r.out());
    }

    @Test
    void aDryRunPrintsTheFamilyAndWritesNothing() throws IOException {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--budget", "1MB", "--profile", profile, "--dry-run", "--json");
        assertEquals(0, r.exitCode(), r.err());
        JsonNode family = new ObjectMapper().readTree(r.out());
        assertEquals(List.of("700kB", "1MB"), family.path("members").valueStream().map(m -> m.path("folder").asText()).toList());
        assertEquals(List.of(), tree(folder));
    }

    @ParameterizedTest
    @ValueSource(strings = {"1MB", "1mb", "1000kB", "1000000"})
    void aBudgetTwice(String again) {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--budget", again, "-o", folder.resolve("out"));
        assertEquals(2, r.exitCode());
        assertTrue(r.err().startsWith("ram: --budget: 1MB and " + again + " are the same; give each budget once"), r.err());
    }

    @Test
    void targetsAreFoldersToo() throws IOException {
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--profile", profile, "--target", "knee", "--target", "48gb  mac", "--target", "Phone", "-o", out, "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
        try (Stream<Path> files = Files.list(out)) {
            assertEquals(List.of("48GB-mac", "family.json", "knee", "phone"), files.map(f -> f.getFileName().toString()).sorted().toList());
        }
        for (String target : List.of("knee", "48GB-mac", "phone")) {
            Path single = folder.resolve("single-" + target);
            assertEquals(0, Cli.run("quantize", Cli.TINY, "--target", target.replace('-', ' '), "--profile", profile, "-o", single, "--quiet").exitCode());
            assertSameFolder(single, out.resolve(target));
        }
        JsonNode family = new ObjectMapper().readTree(out.resolve("family.json").toFile());
        assertEquals(List.of(), Schemas.errors(Schemas.schema("family"), family));
        assertEquals(List.of("knee", "48GB-mac", "phone"), family.path("members").valueStream().map(m -> m.path("folder").asText()).toList());
        assertEquals(3L << 30, family.at("/members/2/budget_bytes").asLong());
        assertTrue(r.out().contains("\nphone ") && r.out().contains(" same plan as 48GB-mac\n"), r.out());
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--profile", profile, "--target", "knee", "--target", "phone", "-o", out, "--force", "--quiet").exitCode(), "its own output is replaced");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            --target knee --target Knee                    | --target: knee and Knee are the same; give each target once
            --target laptop --target 16GB                  | --target: laptop and 16GB are the same; give each target once
            --target knee --target toaster                 | --target: there is no target 'toaster'; choose from knee
            --target knee --target phone --budget 1MB      | --budget and --target exclude each other; give one of them
            --budget 1MB --budget 2MB --target knee        | --budget and --target exclude each other; give one of them
            --target knee --target phone --max-kl 0.1      | --max-kl and --target exclude each other; give one of them
            """)
    void targetsThatDoNotGoTogether(String options, String sentence) {
        List<Object> args = new ArrayList<>(List.of("quantize", Cli.TINY, "--profile", profile, "-o", folder.resolve("out")));
        args.addAll(List.of(options.split(" +")));
        Cli.Result r = Cli.run(args.toArray());
        assertEquals(2, r.exitCode());
        assertTrue(r.err().startsWith("ram: " + sentence), r.err());
    }

    @Test
    void otherCommandsTakeOneTarget() {
        assertTrue(Cli.run("plan", profile, "--target", "knee", "--target", "phone").err().startsWith("ram: option '--target' should be specified only once"));
    }

    @Test
    void otherCommandsTakeOneBudget() {
        Cli.Result r = Cli.run("plan", profile, "--budget", "1MB", "--budget", "2MB");
        assertEquals(2, r.exitCode());
        assertTrue(r.err().startsWith("ram: option '--budget' should be specified only once"), r.err());
    }

    @Test
    void aBudgetThatCannotBeMetStopsAll() throws IOException {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--budget", "100kB", "-o", folder.resolve("out"));
        assertEquals(4, r.exitCode());
        assertEquals(List.of(), tree(folder));
    }

    /// The profile fits, but a weight has been damaged since.
    @Test
    void aFailureLeavesNothing() throws IOException {
        Path model = Files.createDirectory(folder.resolve("model"));
        for (String file : tree(Cli.TINY)) {
            Files.copy(Cli.TINY.resolve(file), model.resolve(file));
        }
        byte[] weights = Files.readAllBytes(model.resolve("model.safetensors"));
        int middle = weights.length / 4 * 2;
        weights[middle + 1] = 0x7f;
        weights[middle] = (byte) 0xc0;
        Files.write(model.resolve("model.safetensors"), weights);
        Path outputs = Files.createDirectory(folder.resolve("outputs"));
        Cli.Result r = Cli.run("quantize", model, "--budget", "700kB", "--budget", "1MB", "--profile", profile, "-o", outputs.resolve("out"), "--quiet");
        assertEquals(5, r.exitCode(), r.err());
        assertEquals("ram: module 'model.layers.0.mlp.up_proj' holds weights that are infinite or not a number; the checkpoint is damaged, get another copy", r.sentence());
        assertNothingIn(outputs);
    }

    @Test
    void anInterruptLeavesNothingOrEverything() throws Exception {
        Path out = folder.resolve("out");
        Thread work = Thread.currentThread();
        Thread stop = Thread.ofVirtual().start(() -> {
            while (work.isAlive() && !Files.exists(folder.resolve(".out.partial/out/1MB")) && !Files.exists(out)) {
                Thread.onSpinWait();
            }
            work.interrupt();
        });
        int code = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--budget", "1MB", "--profile", profile, "-o", out, "--quiet").exitCode();
        stop.join();
        Thread.interrupted();
        if (code == 0) {
            assertTrue(Files.exists(out.resolve("family.json")));
        } else {
            assertEquals(130, code);
            assertFalse(Files.exists(out), "only the hidden folder to resume from is left");
        }
    }

    private static void assertNothingIn(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(List.of(), files.toList());
        }
    }

    @Test
    void whatOtherBudgetsLeftIsNotPublished() throws IOException {
        Path out = folder.resolve("taken-up");
        Path left = Files.createDirectories(folder.resolve(".taken-up.partial/out/700kB"));
        Files.writeString(left.resolve("model.safetensors"), "of a run that was stopped");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "900kB", "--budget", "1MB", "-o", out, "--quiet").exitCode());
        try (Stream<Path> files = Files.list(out)) {
            assertEquals(List.of("1MB", "900kB", "family.json"), files.map(f -> f.getFileName().toString()).sorted().toList());
        }
    }
}
