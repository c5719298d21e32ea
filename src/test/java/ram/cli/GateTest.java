package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import javax.xml.parsers.DocumentBuilderFactory;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.Folders;
import ram.SyntheticModel;

class GateTest {
    @TempDir
    static Path folder;

    private static Path manifest;

    @BeforeAll
    static void quantize() {
        manifest = folder.resolve("out/manifest.json");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve("out"), "--eval-tokens", Cli.TINY.resolve("tokens.i32"), "--eval-seq-len", "128",
                "--eval-samples", "4", "--quiet").exitCode());
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "700kB", "-o", folder.resolve("small"), "--quiet").exitCode());
    }

    @Test
    void limitsThatHold() {
        Cli.Result r = Cli.run("gate", manifest, "--max-kl", "0.01", "--max-ppl-increase", "2%", "--min-bits", "4", "--max-size", "1MB");
        assertEquals(0, r.exitCode(), r.out() + r.err());
        assertEquals(5, r.out().lines().filter(l -> l.startsWith("ok      ")).count(), r.out());
    }

    @Test
    void limitsThatDoNot() throws Exception {
        Path xml = folder.resolve("gate.xml");
        Cli.Result r = Cli.run("gate", manifest, "--max-kl", "0.0001", "--min-bits", "8", "--max-size", "1MB", "--junit", xml);
        assertEquals(3, r.exitCode());
        assertTrue(r.out().lines().anyMatch(l -> l.matches("FAILED  max-kl: measured mean KL divergence of quantized is 0\\.\\d+ nats, at most 0\\.000100000 nats is allowed")), r.out());
        assertTrue(r.out().contains("FAILED  min-bits: "), r.out());
        var suite = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(xml.toFile()).getDocumentElement();
        assertEquals("3", suite.getAttribute("tests"));
        assertEquals("2", suite.getAttribute("failures"));
    }

    @Test
    void withoutAnEvaluationThePredictionCounts() {
        Cli.Result r = Cli.run("gate", folder.resolve("small/manifest.json"), "--max-kl", "0.001");
        assertEquals(3, r.exitCode());
        assertTrue(r.out().startsWith("FAILED  max-kl: predicted mean KL divergence is 0."), r.out());
        Cli.Result ppl = Cli.run("gate", folder.resolve("small/manifest.json"), "--max-ppl-increase", "1%");
        assertEquals(2, ppl.exitCode());
        assertTrue(ppl.sentence().contains("the manifest has no evaluation"), ppl.err());
    }

    /// Rounded, both are the same.
    @Test
    void sizesAreToldToTheByte(@TempDir Path own) {
        Path plan = own.resolve("plan.json");
        assertEquals(0, Cli.run("plan", Cli.analyzed(own), "--budget", "3MB", "-o", plan).exitCode());
        assertEquals("FAILED  max-size: size is 2.630 MB (2629592 bytes), at most 2.630 MB (2629591 bytes) is allowed\n", Cli.run("gate", plan, "--max-size", "2629591").out());
        Cli.Result r = Cli.run("gate", plan, "--baseline", manifest);
        assertTrue(r.out().contains("FAILED  baseline-size: size is 2.630 MB (2629592 bytes), was 999.784 kB (999784 bytes)\n"), r.out());
    }

    @Test
    void aLimitThatIsNoneIsRefused() {
        for (String limit : List.of("Infinity", "1e999", "NaN", "-0.1")) {
            Cli.Result r = Cli.run("gate", manifest, "--max-kl=" + limit);
            assertEquals(2, r.exitCode(), r.out());
            assertTrue(r.sentence().startsWith("ram: --max-kl must be a number of nats, 0 or more, not "), r.err());
        }
    }

    @Test
    void regressionsAgainstABaseline() {
        assertEquals(0, Cli.run("gate", manifest, "--baseline", manifest).exitCode());
        Cli.Result r = Cli.run("gate", folder.resolve("small/manifest.json"), "--baseline", manifest);
        assertEquals(3, r.exitCode());
        assertTrue(r.out().contains("ok      baseline-size") && r.out().contains("FAILED  baseline-predicted-damage"), r.out());
        assertTrue(r.out().contains("FAILED  baseline-measured-mean-KL-divergence: the measured mean KL divergence was not measured, was 0."), r.out());
    }

    /// A newer plan may be worse by a share of each figure. The limits are computed here from the two manifests.
    @Test
    void aToleranceIsAShareOfTheBaseline(@TempDir Path own) throws IOException {
        Path profile = Cli.analyzed(own);
        Path larger = own.resolve("larger.json");
        Path smaller = own.resolve("smaller.json");
        assertEquals(0, Cli.run("plan", profile, "--budget", "1MB", "-o", larger).exitCode());
        assertEquals(0, Cli.run("plan", profile, "--budget", "980kB", "-o", smaller).exitCode());
        ObjectMapper json = new ObjectMapper();
        double more = json.readTree(larger.toFile()).at("/sizes/file_bytes").asDouble() / json.readTree(smaller.toFile()).at("/sizes/file_bytes").asDouble() - 1;
        double worse = damage(smaller) / damage(larger) - 1;
        assertTrue(more > 0.001 && worse > 0.002, more + " " + worse);
        for (double share : new double[] {0, more * 0.99, more * 1.01}) {
            Cli.Result r = Cli.run("gate", larger, "--baseline", smaller, "--tolerance", share, "--json");
            assertEquals(share > more ? 0 : 3, r.exitCode(), r.out());
            assertEquals(Math.floor(json.readTree(smaller.toFile()).at("/sizes/file_bytes").asLong() * (1 + share)), json.readTree(r.out()).at("/checks/0/limit").asDouble());
        }
        assertEquals(3, Cli.run("gate", smaller, "--baseline", larger).exitCode());
        assertEquals(3, Cli.run("gate", smaller, "--baseline", larger, "--tolerance", 99 * worse + "%").exitCode());
        Cli.Result r = Cli.run("gate", smaller, "--baseline", larger, "--tolerance", 101 * worse + "%");
        assertEquals(0, r.exitCode(), r.out());
        assertTrue(r.out().lines().allMatch(l -> l.endsWith(" % is allowed")), r.out());
        assertEquals(0, Cli.run("gate", larger, "--baseline", larger, "--tolerance", 0).exitCode());
    }

    /// As many bytes as the share of the baseline comes to are still allowed, however the share is written.
    @ParameterizedTest
    @CsvSource({"0.1%, 1000", "0.001, 1000", "0.7%, 7000", "29%, 290000"})
    void aToleranceOfWholeBytes(String share, int more) throws IOException {
        assertEquals(0, Cli.run("gate", sized(1_000_000 + more), "--baseline", sized(1_000_000), "--tolerance", share).exitCode());
        assertEquals(3, Cli.run("gate", sized(1_000_001 + more), "--baseline", sized(1_000_000), "--tolerance", share).exitCode());
    }

    private Path sized(int bytes) throws IOException {
        ObjectNode document = (ObjectNode) new ObjectMapper().readTree(manifest.toFile());
        ((ObjectNode) document.path("sizes")).put("file_bytes", bytes);
        document.remove("budget_bytes");
        return Files.writeString(folder.resolve(bytes + ".json"), document.toString());
    }

    private static double damage(Path manifest) throws IOException {
        return new ObjectMapper().readTree(manifest.toFile()).path("modules").valueStream().mapToDouble(m -> m.path("damage").asDouble()).sum();
    }

    @Test
    void aToleranceThatIsNone() {
        for (String share : List.of("5", "-1%", "101%")) {
            assertEquals("ram: --tolerance must be from 0 to 100 %, such as 1% or 0.01, not " + share, Cli.run("gate", manifest, "--baseline", manifest, "--tolerance=" + share).sentence());
        }
        for (String share : List.of("much", "NaN", "%", "1e400", "1e-2147483647%")) {
            assertEquals("ram: --tolerance: '" + share + "' is not a share; write 2% or 0.02", Cli.run("gate", manifest, "--baseline", manifest, "--tolerance", share).sentence());
        }
        Cli.Result r = Cli.run("gate", manifest, "--max-size", "1MB", "--tolerance", "1%");
        assertEquals(0, r.exitCode());
        assertEquals("ram: --tolerance is about what --baseline names, and changes nothing without it", r.sentence());
    }

    @Test
    void aBaselineThatDoesNotCompare() throws IOException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode document = (ObjectNode) json.readTree(manifest.toFile());
        ((ObjectNode) document.path("evaluation")).put("tokens_sha256", "0".repeat(64));
        Path other = Files.writeString(folder.resolve("other-tokens.json"), document.toString());
        Cli.Result r = Cli.run("gate", manifest, "--baseline", other);
        assertEquals(3, r.exitCode());
        assertTrue(r.out().contains("measured mean KL divergence was measured on other tokens, was 0."), r.out());
        assertTrue(!Cli.run("diff", manifest, other).out().contains("measured"), "figures of different texts do not compare");
        SyntheticModel.writeSmall(1, folder.resolve("another"));
        assertEquals(0, Cli.run("quantize", folder.resolve("another"), "--policy", "uniform", "-o", folder.resolve("another-out"), "--quiet").exitCode());
        r = Cli.run("gate", manifest, "--baseline", folder.resolve("another-out"));
        assertEquals(2, r.exitCode());
        assertTrue(r.sentence().contains("--baseline is a manifest of another model"), r.err());
    }

    @Test
    void anEvaluationOfItsOwn() throws IOException {
        Cli.Result eval = Cli.run("eval", folder.resolve("small"), "--reference", Cli.TINY, "--tokens", Cli.TINY.resolve("tokens.i32"), "--seq-len", "128", "--samples", "4", "--json");
        Path file = Files.writeString(folder.resolve("eval.json"), eval.out());
        assertEquals(0, Cli.run("gate", file, "--max-kl", "1", "--max-ppl-increase", "0.5").exitCode());
        assertEquals(3, Cli.run("gate", file, "--max-kl", "0.001").exitCode());
        assertEquals(2, Cli.run("gate", file, "--max-size", "1GB").exitCode());
    }

    @Test
    void inAWorkflowFailuresAreAnnotated() {
        Surroundings workflow = new Surroundings(Path.of(""), Map.of("GITHUB_ACTIONS", "true"));
        Cli.Result r = Cli.run(workflow, "gate", folder.resolve("small"), "--min-bits", "8", "--max-size", "700kB");
        assertEquals(3, r.exitCode());
        assertEquals(1, r.out().lines().filter(l -> l.startsWith("::error title=ram gate min-bits::")).count(), r.out());
        assertTrue(r.out().lines().noneMatch(l -> l.contains("::error") && l.contains("max-size")), r.out());
        assertTrue(Cli.run("gate", folder.resolve("small"), "--min-bits", "8").out().lines().noneMatch(l -> l.startsWith("::")));
    }

    @Test
    void filesThatAreNotWhatIsAskedFor() throws IOException {
        Path profile = Cli.analyzed(folder);
        for (Path wrong : List.of(profile, Files.createFile(folder.resolve("empty.json")), Cli.TINY, Files.writeString(folder.resolve("list.json"), "[1]"))) {
            Cli.Result r = Cli.run("gate", wrong, "--max-kl", "1");
            assertEquals(5, r.exitCode(), wrong.toString());
            assertTrue(r.err().lines().count() == 1 && r.err().startsWith("ram: " + wrong), r.err());
        }
    }

    /// JSON has no such number.
    @Test
    void aNumberThatIsNone() throws IOException {
        Path file = Files.writeString(folder.resolve("infinite.json"), "{\"schema\": \"ram.manifest/1\", \"layers\": NaN}");
        Cli.Result r = Cli.run("gate", file, "--max-kl", "1");
        assertEquals(5, r.exitCode());
        assertEquals("ram: " + file + ": is not valid JSON (line 1, column 43: Non-standard token 'NaN'); create the file again\n", r.err());
    }

    @Test
    void nothingDemandedOrNothingThere() throws IOException {
        assertEquals(2, Cli.run("gate", manifest).exitCode());
        assertEquals(2, Cli.run("gate", manifest, "--max-ppl-increase", "two").exitCode());
        assertEquals(5, Cli.run("gate", folder.resolve("nowhere.json"), "--max-kl", "1").exitCode());
        assertEquals(5, Cli.run("gate", Files.writeString(folder.resolve("bad.json"), "{"), "--max-kl", "1").exitCode());
    }

    /// An evaluation as it was printed, with something changed.
    private static Path evaluation(Consumer<ObjectNode> change) throws IOException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode document = (ObjectNode) json.readTree(manifest.toFile()).path("evaluation");
        change.accept(document);
        return Files.writeString(folder.resolve("evaluation.json"), document.toString());
    }

    @Test
    void anEvaluationThatCannotBeIsRefused() throws IOException {
        assertEquals(0, Cli.run("gate", evaluation(_ -> { }), "--max-kl", "1").exitCode());
        Path negative = evaluation(e -> ((ObjectNode) e.at("/models/1/divergence")).put("mean_kl", -1));
        assertEquals(5, Cli.run("gate", negative, "--max-kl", "1").exitCode());
        Path perplexity = evaluation(e -> ((ObjectNode) e.at("/models/1")).put("perplexity", -1e9));
        assertEquals(5, Cli.run("gate", perplexity, "--max-ppl-increase", "1%").exitCode());
        ObjectNode document = (ObjectNode) new ObjectMapper().readTree(manifest.toFile());
        ((ArrayNode) document.at("/evaluation/models")).remove(1);
        Cli.Result unjudged = Cli.run("gate", Files.writeString(folder.resolve("unjudged.json"), document.toString()), "--max-kl", "1", "--min-bits", "2");
        assertEquals(2, unjudged.exitCode(), "a limit that holds does not stand for one that cannot be judged");
        assertTrue(unjudged.sentence().contains("has no model to judge"), unjudged.err());
        String text = Files.readString(evaluation(_ -> { }));
        assertEquals(5, Cli.run("gate", Files.writeString(folder.resolve("twice.json"), text + text), "--max-kl", "1").exitCode());
        assertEquals(5, Cli.run("gate", Files.writeString(folder.resolve("twice.json"), text.replace("\"mean_kl\":", "\"mean_kl\":0,\"mean_kl\":")), "--max-kl", "1").exitCode());
    }

    @Test
    void anEvaluationWithoutModelsIsRefused() throws IOException {
        for (String[] wrong : new String[][] {{"\"x\"", "models is not a list"}, {"[]", "models is empty"}, {"[{}]", "models[0].name is missing"}, {"[{\"name\": 5}]", "models[0].name is not text"}}) {
            Path file = Files.writeString(folder.resolve("wrong.json"), "{\"schema\": \"ram.evaluation/1\", \"reference\": \"a\", \"models\": " + wrong[0] + "}");
            for (Cli.Result r : List.of(Cli.run("gate", file, "--max-kl", "1"), Cli.run("report", manifest, "--eval", file, "-o", folder.resolve("wrong.html")))) {
                assertEquals(5, r.exitCode(), r.out());
                assertEquals("ram: " + file + ": " + wrong[1] + "; create the file again\n", r.err());
            }
        }
        Cli.Result r = Cli.run("gate", evaluation(e -> ((ObjectNode) e.at("/models/1")).remove("perplexity")), "--max-ppl-increase", "1%");
        assertEquals(3, r.exitCode());
        assertTrue(r.out().startsWith("FAILED  max-ppl-increase: perplexity of quantized or of the reference was not measured, at most +1.00 % is allowed\n"), r.out());
    }

    @Test
    void aModelThatWasNotComparedHoldsNoLimit() throws IOException {
        Cli.Result r = Cli.run("gate", evaluation(e -> ((ArrayNode) e.path("models")).addObject().put("name", "other")), "--max-kl", "1");
        assertEquals(3, r.exitCode());
        assertTrue(r.out().contains("FAILED  max-kl: measured mean KL divergence of other was not measured, at most 1.00000 nats is allowed"), r.out());
        Cli.Result nothing = Cli.run("gate", evaluation(e -> ((ObjectNode) e.at("/models/1")).put("name", "out as noise")), "--max-kl", "1");
        assertEquals(2, nothing.exitCode(), "there is nothing to judge");
    }

    /// Sizes are compared exactly, figures to a thousandth, as they are rounded sums.
    @Test
    void aBaselineAllowsAThousandth() throws IOException {
        for (double factor : new double[] {1.0009, 1.0011}) {
            ObjectNode document = (ObjectNode) new ObjectMapper().readTree(manifest.toFile());
            ((ObjectNode) document.at("/evaluation/models/1/divergence")).put("mean_kl", document.at("/evaluation/models/1/divergence/mean_kl").asDouble() * factor);
            Path worse = Files.writeString(folder.resolve("worse.json"), document.toString());
            assertEquals(factor < 1.001 ? 0 : 3, Cli.run("gate", worse, "--baseline", manifest).exitCode(), "grown to " + factor);
        }
    }

    @Test
    void aPlanWhoseDamageDoesNotAddUpIsRefused() throws IOException {
        ObjectNode document = (ObjectNode) new ObjectMapper().readTree(manifest.toFile());
        document.path("modules").forEach(m -> ((ObjectNode) m).put("damage", 0));
        Cli.Result r = Cli.run("gate", Files.writeString(folder.resolve("zero.json"), document.toString()), "--max-kl", "1e-9");
        assertEquals(5, r.exitCode());
        assertTrue(r.sentence().contains("but the damage of the modules comes to 0.0"), r.err());
    }

    @Test
    void aMeasurementThatIsNoNumberHoldsNoLimit() throws IOException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode document = (ObjectNode) json.readTree(manifest.toFile());
        document.putObject("evaluation").put("schema", "ram.evaluation/1").put("reference", "source").putArray("models").add(json.createObjectNode().put("name", "source"))
                .add(json.createObjectNode().put("name", "quantized").set("divergence", json.createObjectNode().put("mean_kl", "NaN")));
        Path file = Files.writeString(folder.resolve("nan.json"), document.toString());
        Cli.Result r = Cli.run("gate", file, "--max-kl", "1");
        assertEquals(3, r.exitCode(), r.err());
        assertTrue(r.out().contains("FAILED  max-kl: measured mean KL divergence of quantized was not measured"), r.out());
        assertEquals(3, Cli.run("gate", file, "--baseline", file).exitCode());
        assertEquals(3, Cli.run("gate", file, "--max-ppl-increase", "50%").exitCode(), "there is no perplexity in it");
    }

    /// Noise that a quantization is compared with is not what is judged, and each model has a test case of its own.
    @Test
    void everyModelOfAnEvaluationIsJudgedAndNoControl() throws IOException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode document = json.createObjectNode().put("schema", "ram.evaluation/1").put("reference", "source");
        ArrayNode models = document.putArray("models");
        models.addObject().put("name", "source").put("perplexity", 10);
        for (String name : List.of("a", "b", "a as noise")) {
            models.addObject().put("name", name).put("perplexity", 10.1).set("divergence", json.createObjectNode().put("mean_kl", name.length() > 1 ? 9 : 0.1));
        }
        Path file = Files.writeString(folder.resolve("several.json"), document.toString());
        Path junit = folder.resolve("several.xml");
        Cli.Result r = Cli.run("gate", file, "--max-kl", "0.5", "--json", "--junit", junit);
        assertEquals(0, r.exitCode(), r.err());
        assertEquals("a b", json.readTree(r.out()).path("checks").valueStream().map(c -> c.path("model").asText()).collect(Collectors.joining(" ")));
        assertTrue(Files.readString(junit).contains("name=\"max-kl of a\"") && Files.readString(junit).contains("name=\"max-kl of b\""));
        assertEquals(2, Cli.run("gate", file, "--min-bits", "4", "--junit", junit).exitCode());
        assertFalse(Files.exists(junit), "an earlier outcome is not that of a gate that could not judge");
    }

    /// Otherwise a name could hide a model from the gate.
    @Test
    void aFolderWithTheNameOfAControlIsJudged() throws IOException {
        Path model = Folders.copy(folder.resolve("small"), folder.resolve("small as noise"));
        Cli.Result eval = Cli.run("eval", model, "--reference", Cli.TINY, "--noise-control", "--tokens", Cli.TINY.resolve("tokens.i32"), "--seq-len", "16", "--samples", "1", "--json");
        List<String> names = new ObjectMapper().readTree(eval.out()).path("models").valueStream().map(m -> m.path("name").asText()).toList();
        assertEquals(List.of("tiny-qwen3", "small as noise/", "small as noise/ as noise"), names);
        Cli.Result r = Cli.run("gate", Files.writeString(folder.resolve("named.json"), eval.out()), "--max-kl", "1e-9", "--json");
        assertEquals(3, r.exitCode(), r.err());
        assertEquals(List.of("small as noise/"), new ObjectMapper().readTree(r.out()).path("checks").valueStream().map(c -> c.path("model").asText()).toList());
    }

    @Test
    void onlyAnEarlierOutcomeIsReplaced() throws IOException {
        Path junit = folder.resolve("earlier.xml");
        String others = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"my tests\"><testcase name=\"ram gate\"/></testsuite>\n";
        for (String foreign : List.of("mine", others, "<testsuites><testsuite name=\"ram gate\"/></testsuites>", "see <testsuite name=\"ram gate\">")) {
            Files.writeString(junit, foreign);
            Cli.Result r = Cli.run("gate", manifest, "--max-kl", "1", "--junit", junit);
            assertEquals(2, r.exitCode(), foreign);
            assertEquals("", r.out(), "nothing is judged");
            assertEquals("ram: " + junit + " is not an earlier outcome of ram gate, so it was not touched; choose another name or remove it", r.sentence());
            assertEquals(foreign, Files.readString(junit));
        }
        Files.writeString(junit, "");
        for (int i = 0; i < 2; i++) {
            assertEquals(0, Cli.run("gate", manifest, "--max-kl", "1", "--junit", junit).exitCode(), "a new file, and the outcome in it");
            assertTrue(Files.size(junit) > 0);
        }
    }

    @Test
    void theOutcomeGoesWhereALinkLeads() throws IOException {
        Path real = folder.resolve("real.xml");
        assertEquals(0, Cli.run("gate", manifest, "--max-kl", "1", "--junit", real).exitCode());
        String outcome = Files.readString(real);
        Path link = Files.createSymbolicLink(folder.resolve("link.xml"), Path.of("real.xml"));
        assertEquals(2, Cli.run("gate", folder.resolve("small"), "--max-ppl-increase", "1%", "--junit", link).exitCode());
        assertEquals("", Files.readString(real), "an earlier outcome is not that of a gate that could not judge");
        assertEquals(0, Cli.run("gate", manifest, "--max-kl", "1", "--junit", link).exitCode());
        assertTrue(Files.isSymbolicLink(link), "a link stays one");
        assertEquals(outcome, Files.readString(real));
    }

    @Test
    void namesThatXmlCannotHold() throws Exception {
        ObjectMapper json = new ObjectMapper();
        ObjectNode document = json.createObjectNode().put("schema", "ram.evaluation/1").put("reference", "source");
        ArrayNode models = document.putArray("models");
        for (String name : List.of("source", "a\u0001b\u001b[1m<&\uFFFE\uD800\uD83D\uDE00")) {
            models.addObject().put("name", name).put("perplexity", 10.1).set("divergence", json.createObjectNode().put("mean_kl", 0.1));
        }
        Path file = folder.resolve("control.json");
        json.writer().with(JsonWriteFeature.ESCAPE_NON_ASCII).writeValue(file.toFile(), document);
        Path junit = folder.resolve("control.xml");
        for (String limit : List.of("0.5", "0.05")) {
            Cli.Result r = Cli.run("gate", file, "--max-kl", limit, "--junit", junit);
            assertTrue(r.exitCode() == 0 || r.exitCode() == 3, r.err());
            var cases = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(junit.toFile()).getElementsByTagName("testcase");
            assertEquals("max-kl of a\uFFFDb\uFFFD[1m<&\uFFFD\uFFFD\uD83D\uDE00", cases.item(0).getAttributes().getNamedItem("name").getNodeValue());
        }
    }

    @Test
    void thePredictionOfAnotherQuantizerHoldsNoLimit() throws IOException {
        Path measured = folder.resolve("mse.json");
        assertEquals(0, Cli.run("analyze", Cli.TINY, "-o", measured, "--quiet").exitCode());
        Path out = folder.resolve("rtn-of-mse");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--profile", measured, "--budget", "1MB", "--quantizer", "rtn", "-o", out, "--quiet", "--set", "it's|layers.0.*k_proj=6:32").exitCode());
        Cli.Result r = Cli.run("gate", out, "--max-kl", "1");
        assertEquals(2, r.exitCode());
        assertTrue(r.sentence().contains("the predicted damage is that of the quantizer mse, which did not write the weights"), r.sentence());
        String card = Files.readString(out.resolve("README.md"));
        assertTrue(card.contains("ram analyze MODEL -o PROFILE --quantizer mse") && card.contains("ram quantize MODEL -o OUT --profile PROFILE --budget 1000000 --quantizer rtn")
                && card.contains("--set 'it'\\''s|layers.0.*k_proj=6:32'"), card);
    }

    @Test
    void theOutcomeReplacesNoInput() throws IOException {
        byte[] before = Files.readAllBytes(manifest);
        for (Path junit : List.of(manifest, manifest.resolveSibling("model.safetensors"))) {
            assertEquals(2, Cli.run("gate", manifest, "--max-kl", "1", "--junit", junit).exitCode());
        }
        assertEquals(2, Cli.run("gate", folder.resolve("small"), "--baseline", manifest.getParent(), "--junit", manifest).exitCode());
        assertArrayEquals(before, Files.readAllBytes(manifest));
    }
}
