package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.yaml.snakeyaml.Yaml;

/// The pipelines in `examples`, run with the classes under test.
class ExamplesTest {
    private static final Path EXAMPLES = Path.of("examples");
    private static final String MODEL = "src/test/resources/ram/eval/stories260k";

    @TempDir
    static Path shared;

    @TempDir
    Path folder;

    private static Path ram;
    private Path out;

    private record Outcome(int exitCode, String out, String err) {
    }

    /// Most of a short run is the start of the virtual machine, so it is asked not to compile much.
    @BeforeAll
    static void program() throws IOException {
        ram = Files.writeString(shared.resolve("ram"), "#!/bin/sh\nexec '" + Path.of(System.getProperty("java.home"), "bin", "java")
                + "' -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dram.vector=0 -cp '" + System.getProperty("java.class.path") + "' ram.cli.Main \"$@\" --threads 1\n");
        assertTrue(ram.toFile().setExecutable(true));
    }

    /// A name with a blank: quoting has to be right everywhere.
    @BeforeEach
    void output() {
        out = folder.resolve("out put");
    }

    private Outcome run(Map<String, String> environment, String... command) throws Exception {
        ProcessBuilder builder = new ProcessBuilder(command).redirectOutput(folder.resolve("stdout").toFile()).redirectError(folder.resolve("stderr").toFile());
        builder.environment().put("RAM", ram.toString());
        builder.environment().putAll(environment);
        Process process;
        try {
            process = builder.start();
        } catch (IOException e) {
            return new Outcome(127, "", e.getMessage());
        }
        assertTrue(process.waitFor(120, TimeUnit.SECONDS));
        return new Outcome(process.exitValue(), Files.readString(folder.resolve("stdout")), Files.readString(folder.resolve("stderr")));
    }

    private void assume(String... command) throws Exception {
        assumeTrue(run(Map.of(), command).exitCode() == 0, String.join(" ", command) + " does not work here");
    }

    private static void assertSingleRun(Path actual) throws IOException {
        Path expected = shared.resolve("single");
        if (!Files.exists(expected)) {
            assertEquals(0, Cli.run("quantize", MODEL, "--budget", "300kB", "-o", expected, "--quiet").exitCode());
        }
        assertArrayEquals(Files.readAllBytes(expected.resolve("model.safetensors")), Files.readAllBytes(actual.resolve("model.safetensors")));
        assertArrayEquals(Files.readAllBytes(expected.resolve("manifest.json")), Files.readAllBytes(actual.resolve("manifest.json")));
    }

    @Test
    void theScriptTakesTheFirstBudgetThatIsGoodEnough() throws Exception {
        assume("bash", "-c", "true");
        String script = EXAMPLES.resolve("pipeline.sh").toString();
        Outcome good = run(Map.of("MAX_KL", "0.01"), script, MODEL, out.toString(), "90kB", "200kB", "300kB", "400kB");
        assertEquals(0, good.exitCode(), good.err());
        assertEquals(out.resolve("300kB").toString(), good.out().lines().toList().getLast());
        assertTrue(good.err().contains("pipeline: 90kB is too small") && good.err().contains("pipeline: 200kB is not good enough"), good.err());
        assertFalse(Files.exists(out.resolve("400kB")));
        assertSingleRun(out.resolve("300kB"));
        assertEquals(4, run(Map.of(), script, MODEL, out.toString(), "90kB").exitCode());
        assertEquals(3, run(Map.of("MAX_KL", "0.0001"), script, MODEL, out.toString(), "300kB").exitCode());
        assertEquals(5, run(Map.of(), script, "nowhere", folder.resolve("other").toString(), "300kB").exitCode());
        assertEquals(2, run(Map.of(), script, MODEL, out.toString(), "much").exitCode());
        assertEquals(2, run(Map.of(), script).exitCode());
    }

    @Test
    void makeRunsPartsAndMakesOnlyWhatIsMissing() throws Exception {
        assume("make", "--version");
        Path plain = folder.resolve("make");
        String[] command = {"make", "-f", EXAMPLES.resolve("Makefile").toString(), "OUT=" + plain, "MODEL=" + MODEL, "PARTS=2", "BUDGETS=300kB", "-j2"};
        Outcome first = run(Map.of(), command);
        assertEquals(0, first.exitCode(), first.err());
        assertTrue(Files.exists(plain.resolve("gate-300kB.xml")));
        assertSingleRun(plain.resolve("300kB"));
        Outcome again = run(Map.of(), command);
        assertTrue(again.out().contains("ram gate") && !again.out().contains("ram quantize") && !again.out().contains("ram analyze"), again.out());
        Outcome failed = run(Map.of("MAKEFLAGS", ""), "make", "-f", EXAMPLES.resolve("Makefile").toString(), "OUT=" + plain, "MODEL=" + MODEL, "PARTS=2", "BUDGETS=300kB", "MAX_KL=0.0001");
        assertEquals(2, failed.exitCode());
        assertTrue(failed.err().contains("Error 3"), failed.err());
        assertTrue(Files.readString(plain.resolve("gate-300kB.xml")).contains("<failure "), "the outcome of a gate that failed stays");
    }

    @Test
    void gnuParallelRunsParts() throws Exception {
        assume("bash", "-c", "parallel --version </dev/null | grep -q 'GNU parallel'");
        Outcome r = run(Map.of(), EXAMPLES.resolve("parallel.sh").toString(), MODEL, "3", out.toString(), "--jobs", "2");
        assertEquals(0, r.exitCode(), r.err());
        assertEquals(Cli.run("analyze", MODEL, "--json", "--quiet").out(), Files.readString(out.resolve("profile.json")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"pipeline.sh", "parallel.sh", "slurm.sh"})
    void scriptsParse(String name) throws Exception {
        assume("bash", "-c", "true");
        Outcome r = run(Map.of(), "bash", "-n", EXAMPLES.resolve(name).toString());
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(Files.isExecutable(EXAMPLES.resolve(name)));
    }

    /// The bash of macOS is 3.2: it knows no subscripts from the end, no `mapfile`, no arrays by name and no `${name,,}`.
    @ParameterizedTest
    @ValueSource(strings = {"pipeline.sh", "parallel.sh", "slurm.sh"})
    void scriptsAskForNoNewBash(String name) throws IOException {
        String script = Files.readString(EXAMPLES.resolve(name));
        assertFalse(Pattern.compile("\\[-\\d+]|\\b(mapfile|readarray)\\b|(declare|local|typeset) -[a-zA-Z]*[An]|\\$\\{\\w+(,|\\^|@)|\\|&|&>>|\\bwait -n\\b").matcher(script).find(), name);
    }

    @Test
    void yamlParses() throws IOException {
        List<Object> kubernetes = parse("kubernetes.yaml");
        assertEquals(2, kubernetes.size());
        kubernetes.forEach(d -> assertEquals("Job", ((Map<?, ?>) d).get("kind")));
        Map<?, ?> workflow = (Map<?, ?>) parse("github-actions.yml").getFirst();
        assertEquals(Set.of("analyze", "quantize"), ((Map<?, ?>) workflow.get("jobs")).keySet());
    }

    private static List<Object> parse(String name) throws IOException {
        List<Object> documents = new ArrayList<>();
        new Yaml().loadAll(Files.readString(EXAMPLES.resolve(name), StandardCharsets.UTF_8)).forEach(documents::add);
        return documents;
    }

    @Test
    void theListIsComplete() throws IOException {
        String list = Files.readString(EXAMPLES.resolve("README.md"));
        try (Stream<Path> files = Files.list(EXAMPLES)) {
            files.filter(Files::isRegularFile).map(f -> f.getFileName().toString()).filter(f -> !f.equals("README.md"))
                    .forEach(f -> assertTrue(list.contains("(" + f + ")"), f));
        }
    }
}
