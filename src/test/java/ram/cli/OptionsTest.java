package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Jvm;
import ram.Schemas;

/// Options that cannot hold together, or not with the documents that are given, are refused before any work is done.
class OptionsTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    static Path folder;

    private static Path profile;

    @BeforeAll
    static void analyze() {
        profile = Cli.analyzed(folder);
    }

    private static void refused(String sentence, Object... args) {
        Cli.Result r = Cli.run(args);
        assertEquals(2, r.exitCode(), r.err());
        assertTrue(r.err().startsWith("ram") && r.err().contains(sentence), r.err());
    }

    @Test
    void limitsOfTheMachine() {
        refused("--threads must be 1 or more, not 0", "analyze", Cli.TINY, "--threads", "0", "-o", folder.resolve("x"));
        refused("--threads must be 1 or more, not -3", "inspect", Cli.TINY, "--threads", "-3");
        refused("--memory must be 64MB or more, not 1kB", "plan", profile, "--budget", "1MB", "--memory", "1kB");
    }

    @Test
    void formatsThatWereNotMeasured() {
        refused("--formats: the profile holds no measurement of mxfp4; analyze with --formats affine,mxfp4", "plan", profile, "--budget", "1MB", "--formats", "affine,mxfp4");
        refused("--formats: the profile holds no measurement of mxfp4; analyze with --formats mxfp4", "quantize", Cli.TINY, "--profile", profile, "--budget", "3MB", "--formats", "mxfp4",
                "-o", folder.resolve("x"));
    }

    /// Such as `--formats "$FIRST,$SECOND"` with variables that are not set.
    @Test
    void formatsThatAreNone() {
        refused("--formats: names no format; choose from affine, mxfp4, nvfp4, mxfp8", "plan", profile, "--budget", "3MB", "--formats", ",");
        refused("--formats: names no format; choose from affine, mxfp4, nvfp4, mxfp8", "analyze", Cli.TINY, "--formats", ",", "-o", folder.resolve("x"));
    }

    @Test
    void everyRowWhereOnlySomeWereMeasured() throws IOException {
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--profile", profile, "--budget", "1MB", "--exact", "--dry-run").exitCode(), "a small matrix is always measured whole");
        ObjectNode document = (ObjectNode) JSON.readTree(profile.toFile());
        ((ArrayNode) document.at("/modules/3/sampling_errors")).set(0, 0.004);
        Path sampled = Files.writeString(folder.resolve("sampled.json"), document.toString());
        refused("--exact: the profile was measured on samples of rows", "quantize", Cli.TINY, "--profile", sampled, "--budget", "1MB", "--exact", "-o", folder.resolve("x"));
    }

    @Test
    void whatARuleNeedsIsMeasuredWithoutAskingForIt() throws IOException {
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "--set", "layers.1.mlp.down=mxfp4", "--dry-run", "--json");
        assertEquals(0, r.exitCode(), r.err());
        for (JsonNode m : JSON.readTree(r.out()).path("modules")) {
            assertEquals(m.path("path").asText().equals("model.layers.1.mlp.down_proj"), m.path("format").asText().equals("mxfp4"), m.toString());
        }
    }

    @Test
    void bitsForAPolicyThatChoosesThem() {
        Cli.Result r = Cli.run("plan", profile, "--budget", "1MB", "--bits", "3");
        assertEquals(0, r.exitCode());
        assertEquals("--bits and --group apply only to policies without a budget; --policy budget chooses both for every module", r.err().strip().replaceFirst("^ram: ", ""));
        assertEquals("", Cli.run("plan", profile, "--policy", "uniform", "--bits", "3").err());
        refused("--budget and --bpw exclude each other; give one of them", "plan", profile, "--budget", "1MB", "--bpw", "4");
        refused("--max-kl and --target exclude each other; give one of them", "plan", profile, "--target", "knee", "--max-kl", "0.1");
    }

    /// With --quiet only results and errors are printed, so no command tells of options without effect.
    @Test
    void quietLeavesOutWhatIsSaidOfOptionsWithoutEffect() {
        List<List<Object>> commands = List.of(
                List.of("plan", profile, "--budget", "1MB", "--bits", "3"),
                List.of("plan", Cli.TINY, "--dry-run", "--max-kl", "0.1"),
                List.of("quantize", Cli.TINY, "--profile", profile, "--budget", "1MB", "--dry-run", "--eval-samples", "3"),
                List.of("analyze", Cli.TINY, "--json", "-o", folder.resolve("nowhere.json"), "--no-progress"));
        for (List<Object> command : commands) {
            String said = Cli.run(command.toArray()).err();
            assertTrue(said.startsWith("ram: ") && said.lines().count() == 1, command + ": " + said);
            assertEquals("", Cli.run(Stream.concat(command.stream(), Stream.of("--quiet")).toArray()).err(), command.toString());
        }
    }

    @Test
    void rulesInAFileOfArguments() throws IOException {
        Path arguments = Files.writeString(folder.resolve("arguments"), "--keep q_proj\n--set\nv_proj=8:64\n");
        Cli.Result r = Cli.run("plan", profile, "--budget", "1MB", "@" + arguments, "--set=v_proj=6:64", "--json");
        JsonNode planning = JSON.readTree(r.out()).path("planning");
        assertEquals("[--keep 'q_proj', --set 'v_proj=8:64', --set 'v_proj=6:64']", IntStream.rangeClosed(1, 3).mapToObj(i -> planning.path("rule_00" + i).asText()).toList().toString());
    }

    @Test
    void whatStandsAfterTwoDashesIsNoOption() {
        refused("the option --budget stands after '--', where everything is an argument; put it before", "plan", "--", profile, "--budget", "1MB");
        assertEquals(5, Cli.run("plan", "--budget", "2MB", "--", "--keep").exitCode(), "a file of that name does not exist");
    }

    /// picocli takes no word for a value that begins like an option, be it behind an equals sign.
    @Test
    void aValueThatReadsAsAnOption() {
        for (List<String> output : List.of(List.of("-o=-out.json"), List.of("-o", "-out.json"), List.of("--output=-out.json"))) {
            Cli.Result r = Cli.run(Stream.concat(Stream.of("plan", profile, "--budget", "1MB"), output.stream()).toArray());
            assertEquals(2, r.exitCode());
            assertEquals("ram: --output needs a value, but '-out.json' reads as an option; write ./-out.json if that is the name of a file\nTry 'ram plan --help'.\n", r.err());
        }
        refused("ram: --output needs a value, but --force follows; give one", "plan", profile, "--budget", "1MB", "-o", "--force");
        refused("ram: --keep needs a value, but '-o_proj' reads as an option", "plan", profile, "--budget", "1MB", "--keep", "-o_proj");
        refused("ram: --keep needs a value, but -- follows; give one", "plan", profile, "--budget", "1MB", "--keep", "--");
        refused("ram: --config needs a value, but 'plan' is a command; write ./plan if that is the name of a file", "--config", "plan", profile, "--budget", "1MB");
    }

    @Test
    void anOutputBelowAFile() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "");
        for (Cli.Result r : List.of(Cli.run("plan", profile, "--budget", "1MB", "-o", file.resolve("plan.json")), Cli.run("sweep", profile, "--csv", file.resolve("plan.json")))) {
            assertEquals(1, r.exitCode());
            assertEquals("ram: " + file.resolve("plan.json") + ": cannot be written: " + file + " is there already and no folder\n", r.err());
        }
    }

    @Test
    void outputsThatAreNoFiles() throws Exception {
        Path real = Files.writeString(folder.resolve("real.json"), "old");
        Path link = Files.createSymbolicLink(folder.resolve("link.json"), real);
        assertEquals(0, Cli.run("plan", profile, "--budget", "1MB", "-o", link, "--force").exitCode());
        assertTrue(Files.isSymbolicLink(link) && Files.readString(real).startsWith("{"), "a link stays one");
        refused("dangling.json is a link to a file that does not exist; choose another name", "plan", profile, "--budget", "1MB", "-o",
                Files.createSymbolicLink(folder.resolve("dangling.json"), folder.resolve("nowhere")));
        Path pipe = folder.resolve("pipe");
        assumeTrue(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor() == 0);
        Process reader = new ProcessBuilder("cat", pipe.toString()).redirectOutput(folder.resolve("read.json").toFile()).start();
        assertEquals(0, Cli.run("plan", profile, "--budget", "1MB", "-o", pipe).exitCode());
        assertEquals(0, reader.waitFor());
        assertEquals(Files.readString(real), Files.readString(folder.resolve("read.json")));
        assertFalse(Files.isRegularFile(pipe));
    }

    @Test
    void onlyOutputsAreReplaced() throws IOException {
        Path project = Files.createDirectories(folder.resolve("project/src"));
        Files.writeString(project.resolveSibling("config.json"), "{\"name\":\"app\"}");
        Files.writeString(project.resolve("a.js"), "precious");
        refused("holds something other than an output of ram, so --force does not replace it", "quantize", Cli.TINY, "--budget", "1MB", "-o", project.getParent(), "--force");
        assertEquals("precious", Files.readString(project.resolve("a.js")));
    }

    @Test
    void limitsThatDoNotApply() {
        refused("--target knee is a trade", "quantize", Cli.TINY, "--target", "knee", "--policy", "uniform", "-o", folder.resolve("x"));
        refused("the name of the output is empty", "plan", profile, "--budget", "1MB", "-o", "");
        assertFalse(Files.exists(folder.resolve("x")));
    }

    @Test
    void aProfileOfAnotherModelExplainsNothing() throws IOException {
        Path manifest = folder.resolve("plan.json");
        assertEquals(0, Cli.run("plan", profile, "--max-kl", "0.01", "-o", manifest).exitCode());
        Path other = folder.resolve("rtn.json");
        assertEquals(0, Cli.run("analyze", Cli.TINY, "--quantizer", "rtn", "-o", other, "--quiet").exitCode());
        refused("the profile is not the one that the plan was made from: it was measured with other options", "explain", manifest, "model.embed_tokens", "--profile", other);
        refused("the profile is not the one that the plan was made from: it was measured with other options", "report", manifest, "--profile", other, "-o", folder.resolve("x.html"));
        Cli.Result r = Cli.run("explain", manifest, "model.embed_tokens", "--profile", profile);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().contains("with 5 % less budget: "), r.out());
        Path uniform = folder.resolve("uniform.json");
        assertEquals(0, Cli.run("plan", profile, "--policy", "uniform", "-o", uniform).exitCode());
        assertFalse(Cli.run("explain", uniform, "model.embed_tokens", "--profile", profile).out().contains("budget:"), "this policy knows no budget");
    }

    @Test
    void aPlanIsOfTheVersionThatMakesIt() throws IOException {
        ObjectNode older = (ObjectNode) JSON.readTree(profile.toFile());
        older.put("tool_version", "9.9.9");
        Path file = Files.writeString(folder.resolve("older.json"), older.toString());
        Cli.Result r = Cli.run("plan", file, "--budget", "1MB", "--json");
        JsonNode manifest = JSON.readTree(r.out());
        assertEquals(BuildInfo.read().version(), manifest.path("tool_version").asText());
        assertTrue(manifest.path("notes").toString().contains("The profile was made by ram 9.9.9."), manifest.path("notes").toString());
    }

    @Test
    void boundsFromHeadersAlone() throws IOException {
        Cli.Result r = Cli.run("plan", Cli.TINY, "--dry-run", "--json");
        assertEquals(0, r.exitCode(), r.err());
        JsonNode bounds = JSON.readTree(r.out());
        assertEquals(List.of(), Schemas.errors(Schemas.schema("bounds"), bounds));
        assertEquals(16, bounds.path("largest_bits_per_weight").asDouble(), "every tensor is bfloat16");
    }

    @Test
    void aFullDiskBehindStdoutIsAFailure() throws IOException, InterruptedException {
        assumeTrue(Files.exists(Path.of("/dev/full")), "nothing is always full here");
        List<String> command = new ArrayList<>(List.of("/bin/sh", "-c", "exec \"$@\" >/dev/full", "sh"));
        command.addAll(Jvm.command(List.of(), Main.class, "plan", profile, "--budget", "1MB", "--json"));
        Process process = new ProcessBuilder(command).start();
        String said = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        assertEquals(1, process.exitValue(), said);
        assertTrue(said.startsWith("ram: stdout: cannot be written: "), said);
    }
}
