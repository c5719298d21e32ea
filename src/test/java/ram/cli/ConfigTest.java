package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Defaults of options from a file.
class ConfigTest {
    @TempDir
    static Path shared;

    private static Path profile;

    @TempDir
    Path folder;

    @BeforeAll
    static void analyze() {
        profile = shared.resolve("profile.json");
        assertEquals(0, Cli.run("analyze", Cli.TINY, "-o", profile).exitCode());
    }

    private Cli.Result run(Map<String, String> environment, Object... args) {
        return Cli.run(new Surroundings(folder, environment), args);
    }

    private Cli.Result run(Object... args) {
        return run(Map.of(), args);
    }

    private Path write(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text);
    }

    /// What a command line comes to, as the line that -v prints.
    private String added(Object... args) {
        List<Object> all = new ArrayList<>(List.of("-v"));
        all.addAll(Arrays.asList(args));
        Cli.Result r = run(all.toArray());
        assertEquals(ExitCode.DONE, r.exitCode(), r.err());
        String line = r.err().lines().filter(l -> l.startsWith("config ")).findFirst().orElse("");
        return line.substring(Math.min(line.length(), line.indexOf(": ") + 2));
    }

    @Test
    void aLinkThatLeadsNowhereIsNotPassedOver() throws IOException {
        Path link = Files.createSymbolicLink(folder.resolve("ram.yaml"), folder.resolve("gone.yaml"));
        Cli.Result r = run("plan", profile, "--budget", "1MB", "-o", folder.resolve("plan.json"));
        assertEquals(ExitCode.USAGE, r.exitCode());
        assertEquals("ram: " + link + ": cannot be read; give an existing file with --config or RAM_CONFIG", r.sentence());
    }

    @ParameterizedTest
    @ValueSource(strings = {"ram.yaml", "ram.yml", "ram.json"})
    void aFolderIsNotPassedOver(String name) throws IOException {
        Path odd = Files.createDirectory(folder.resolve(name));
        Cli.Result r = run("plan", profile, "--budget", "1MB", "-o", folder.resolve("plan.json"));
        assertEquals(ExitCode.USAGE, r.exitCode());
        assertEquals("ram: " + odd + ": is a folder; give a file of YAML or JSON in its place", r.sentence());
        assertEquals(ExitCode.DONE, run("plan", "--help").exitCode());
        assertEquals(ExitCode.DONE, run("plan", profile, "--budget", "1MB", "--config", write("other.yaml", "quiet: true\n")).exitCode());
    }

    @Test
    void aPlanIsThatOfTheSameOptionsByHand() throws IOException {
        write("ram.yaml", """
                threads: 2
                budget: 1MB          # of all commands that have a budget
                quantize:
                  quantizer: rtn
                  keep: ["layers.0.*q_proj", 'layers.1.*q_proj']
                  set: "layers.1.*q_proj=8:64"
                  formats: [affine, mxfp4]
                  mlx-version: 0.30
                """);
        Path byFile = folder.resolve("by-file");
        Path byHand = folder.resolve("by-hand");
        assertEquals(0, run("quantize", Cli.TINY, "-o", byFile).exitCode());
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--threads", "2", "--quantizer", "rtn", "--keep", "layers.0.*q_proj", "--keep", "layers.1.*q_proj",
                "--set", "layers.1.*q_proj=8:64", "--formats", "affine,mxfp4", "--mlx-version", "0.30", "-o", byHand).exitCode());
        for (String file : List.of("manifest.json", "model.safetensors", "README.md")) {
            assertEquals(-1, Files.mismatch(byFile.resolve(file), byHand.resolve(file)), file);
        }
        assertFalse(Files.readString(byFile.resolve("manifest.json")).contains("ram.yaml"));
        assertTrue(Files.readString(byFile.resolve("manifest.json")).contains("0.30"));
    }

    @Test
    void whatIsNearerToTheCommandCounts() throws IOException {
        write("ram.yaml", "policy: mint\nbudget: 1MB\nthreads: 2\nplan:\n  policy: uniform\n  bits: 4\n  json: true\n  force: false\n");
        assertEquals("--budget=1MB --threads=2 --policy=uniform --bits=4 --json", added("plan", profile));
        assertEquals("--threads=2 --policy=uniform --bits=4 --json", added("plan", profile, "--budget", "2MB"));
        assertEquals("--budget=1MB --bits=4 --json", added("plan", profile, "--policy=budget", "--threads", "1"));
        assertEquals("--budget=1MB --bits=4 --json", added("--threads", "1", "plan", profile, "--policy=budget"));
        assertEquals("--threads=2", added("inspect", Cli.TINY));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            budget: 1MB             | --target knee
            budget: 1MB             | --bpw 5
            target: knee            | --budget 1MB
            target: phone           | --max-kl 0.01
            max-kl: 0.01            | --budget 1MB
            '{target: knee, plan: {budget: 2MB}}' | --bpw 6
            """)
    void aLimitOnTheCommandLineTakesThePlaceOfAnotherOne(String yaml, String options) throws IOException {
        write("ram.yaml", yaml);
        List<Object> args = new ArrayList<>(List.of("plan", profile, "--json"));
        args.addAll(List.of(options.split(" ")));
        Cli.Result byFile = run(args.toArray());
        assertEquals(0, byFile.exitCode(), byFile.err());
        assertEquals(Cli.run(args.toArray()).out(), byFile.out());
    }

    @Test
    void soDoesOneOfADeclaredGroup() throws IOException {
        write("ram.yaml", "eval: {text: nowhere.txt, samples: 1, seq-len: 32, json: true}\n");
        Cli.Result r = run("-v", "eval", Cli.TINY, "--tokens", Cli.TINY.resolve("tokens.i32"));
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.err().contains(": --samples=1 --seq-len=32 --json\n"), r.err());
    }

    @Test
    void theCommandOwnLimitTakesThePlaceOfTheCommonOne() throws IOException {
        write("ram.yaml", "target: knee\nplan:\n  budget: 1MB\n");
        assertEquals("--budget=1MB", added("plan", profile));
    }

    @Test
    void oneFileIsRead() throws IOException {
        write("ram.json", "{\"plan\": {\"budget\": \"1MB\", \"max-kl\": null}}".replace(", \"max-kl\": null", ""));
        assertEquals("--budget=1MB", added("plan", profile));
        write("ram.yml", "plan: {budget: 1.1MB}\n");
        assertEquals("--budget=1.1MB", added("plan", profile));
        write("ram.yaml", "plan: {budget: 1.2MB}\n");
        assertEquals("--budget=1.2MB", added("plan", profile));
        write("other.yaml", "plan: {budget: 1.3MB}\n");
        write("third.json", "{\n\t\"plan\": {\"budget\":\"1.4MB\", \"bits\": 4, \"json\": false, \"keep\": [\"a\", \"b\"]}}\n");
        Map<String, String> variable = Map.of("RAM_CONFIG", "other.yaml");
        assertTrue(run(variable, "-v", "plan", profile).err().contains("other.yaml: --budget=1.3MB\n"));
        assertTrue(run(variable, "-v", "--config", "third.json", "plan", profile).err().contains("third.json: --budget=1.4MB --bits=4 --keep=a --keep=b\n"));
        assertTrue(run(variable, "-v", "plan", profile, "--config=third.json").err().contains("third.json: --budget=1.4MB"));
        write("empty.yaml", "# nothing\n");
        assertEquals(ExitCode.USAGE, run("plan", profile, "--config", "empty.yaml").exitCode());
        assertEquals("", run("plan", profile, "--budget", "1MB").err(), "without -v it is not mentioned");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '"', textBlock = """
            bugdet: 1MB                        | bugdet: there is no such option or command; did you mean 'budget'?
            quantise: {budget: 1MB}            | quantise: there is no such option or command; did you mean 'quantize'?
            plan: {bugdet: 1MB}                | plan.bugdet: the command 'plan' has no option 'bugdet'; did you mean 'budget'?
            eval: {budget: 1MB}                | eval.budget: the command 'eval' has no option 'budget'
            plan: 1MB                          | plan: is a command and takes a map from its options to values
            plan: {config: x}                  | plan.config: the command 'plan' has no option 'config'
            plan: {json: 3}                    | plan.json: takes true or false, not '3'
            plan: {bits: [3, 4]}               | plan.bits: takes one value, not a list
            plan: {bits: {a: b}}               | plan.bits: takes a value, not a map
            plan: {keep: [[a]]}                | plan.keep: takes a list of single values
            plan: {budget: }                   | plan.budget: has no value; give one or leave it out
            plan: {bits: four}                 | plan.bits: Invalid value for option '--bits': 'four' is not an int
            plan: {budget: 16QB}               | plan.budget: Invalid value for option '--budget' (SIZE): '16QB' is not a size; write a number of bytes, or a number wit
            plan: {policy: budgt}              | plan.policy: there is no policy 'budgt'; choose one of budget, mint, uniform, mixed_2_6, mixed_3_4, mixed_3_6, mixed_4_6, v1, v2, v2-opt, v3, v3-opt, v4, auto; did you mean 'budget'?
            {color: nevr, plan: {budget: 1MB}} | color: Invalid value for option '--color': expected one of [auto, always, never] (case-insensitive) but was 'nevr'; did you mean 'never'?
            [1, 2]                             | must be a map from options to values, such as 'threads: 2'
            {plan: {bits: 4, bits: 5}}         | line 1: found duplicate key bits
            {plan: {bits: 4}                   | line 2: expected ',' or '}', but got <stream end>
            """)
    void mistakesNameFileAndKey(String yaml, String sentence) throws IOException {
        Path file = write("ram.yaml", yaml + "\n");
        Cli.Result r = run("plan", profile);
        assertEquals(ExitCode.USAGE, r.exitCode());
        String said = r.err().lines().findFirst().orElseThrow();
        assertTrue(said.startsWith("ram: " + file + ": " + sentence), said);
        assertTrue(r.err().lines().count() <= 2 && r.out().isEmpty(), r.err());
    }

    @Test
    void aFileThatIsNotThereOrNoTextIsRefused() throws IOException {
        assertEquals("ram: " + folder.resolve("none.yaml") + ": cannot be read; give an existing file with --config or RAM_CONFIG", run("plan", profile, "--config", "none.yaml").sentence());
        assertEquals("ram: " + folder + ": is a folder; give a file of YAML or JSON in its place", run("plan", profile, "--config", folder).sentence());
        Path bytes = Files.write(folder.resolve("bytes.yaml"), new byte[] {(byte) 0xff, (byte) 0xfe, 0x41});
        assertEquals("ram: " + bytes + ": is not UTF-8 text", run("plan", profile, "--config", bytes).sentence());
        Path json = write("bad.json", "{\"threads\": 2,\n \"threads\": 3}");
        assertEquals("ram: " + json + ": line 2: Duplicate field 'threads'", run("plan", profile, "--config", json).sentence());
        Files.writeString(json, "{\"threads\": 2");
        assertEquals("ram: " + json + ": line 1: Unexpected end-of-input: expected close marker for Object", run("plan", profile, "--config", json).sentence());
        Path deep = write("deep.yaml", "a: " + "[".repeat(2000) + "]".repeat(2000));
        assertEquals(ExitCode.USAGE, run("plan", profile, "--config", deep).exitCode());
        Path tagged = write("tagged.yaml", "threads: !!java.io.File [x]\n");
        Cli.Result r = run("plan", profile, "--config", tagged);
        assertEquals(ExitCode.USAGE, r.exitCode());
        assertFalse(r.err().contains("internal error"), r.err());
    }

    @Test
    void aFileWithoutAnEndOrANameIsRefused() {
        assumeTrue(Files.exists(Path.of("/dev/zero")));
        assertEquals("ram: /dev/zero: is larger than a configuration can be; give a file of YAML or JSON", run("plan", profile, "--config", "/dev/zero").sentence());
        assertEquals("ram: --config: the name is empty; give that of a file of YAML or JSON", run("plan", profile, "--config=").sentence());
    }

    @Test
    void helpAndMistypedCommandsDoNotNeedIt() throws IOException {
        write("ram.yaml", "nonsense: [\n");
        for (String line : List.of("help", "help plan", "plan --help", "--version", "completion bash")) {
            assertEquals(ExitCode.DONE, run((Object[]) line.split(" ")).exitCode(), line);
        }
        assertEquals("ram plan: unknown option '--bugdet'; did you mean '--budget'?", run("plan", profile, "--bugdet", "1MB").err().lines().findFirst().orElseThrow());
    }

    @Test
    void theExampleIsReal() {
        Cli.Result r = Cli.run("-v", "quantize", Cli.TINY, "--dry-run", "--config", Path.of("examples/ram.yaml"));
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.err().contains("config    examples/ram.yaml: --"), r.err());
    }
}
