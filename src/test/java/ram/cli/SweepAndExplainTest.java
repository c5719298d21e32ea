package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Schemas;

class SweepAndExplainTest {
    @TempDir
    static Path folder;

    private static Path profile;

    @BeforeAll
    static void analyze() {
        profile = Cli.analyzed(folder);
    }

    @Test
    void theFrontierFallsFromTheSmallestSafeSizeToDense() throws IOException {
        Path csv = folder.resolve("sweep.csv");
        Cli.Result r = Cli.run("sweep", profile, "--csv", csv);
        assertEquals(0, r.exitCode(), r.err());
        assertEquals(1, r.out().lines().filter(l -> l.endsWith("knee")).count(), r.out());
        List<String> rows = Files.readAllLines(csv);
        assertEquals(201, rows.size());
        double last = Double.POSITIVE_INFINITY;
        for (String row : rows.subList(1, rows.size())) {
            double damage = Double.parseDouble(row.split(",")[3]);
            assertTrue(damage <= last, row);
            last = damage;
        }
        assertEquals(0, last, "dense does none");
        assertTrue(rows.getFirst().endsWith(",share_2_bit,share_3_bit,share_4_bit,share_5_bit,share_6_bit,share_8_bit,share_dense"), rows.getFirst());
        assertTrue(r.out().contains("8 GiB") && !r.out().contains("16 GiB"), "machines up to the first that needs no quantization: " + r.out());
        assertTrue(r.out().lines().filter(l -> l.matches(".*dense: 100.*")).count() >= 2, r.out());
        assertEquals(2, Cli.run("sweep", profile, "--csv", csv).exitCode(), "an existing file is kept");
    }

    /// `auto` is v4, which nobody asked for.
    @Test
    void aPolicyIsNamedAsItWasGiven() {
        for (String name : List.of("uniform", "auto", "v4", "V4")) {
            Cli.Result r = Cli.run("sweep", profile, "--policy", name);
            assertEquals(2, r.exitCode());
            assertEquals("ram: --policy " + name + " has no frontier; use budget or mint\n", r.err());
        }
        assertEquals("ram: --target knee is a trade of size for damage, which --policy auto does not make; leave out one of them\n",
                Cli.run("plan", profile, "--policy", "auto", "--target", "knee").err());
        assertEquals("ram: --max-kl: only the policy budget can be asked for a divergence; use it, or give another limit\n",
                Cli.run("plan", profile, "--policy", "auto", "--max-kl", "0.1").err());
        Cli.Result bits = Cli.run("plan", profile, "--policy", "auto", "--bits", "3", "--budget", "400kB");
        assertEquals(4, bits.exitCode());
        assertTrue(bits.err().startsWith("ram: --bits applies only to --policy uniform; --policy auto has bits of its own\nram: the policy needs "), bits.err());
    }

    @Test
    void theNumberOfBudgetsIsThatOfAnOption() {
        assertEquals("ram: --budgets must be 2 to 100000, not 1\n", Cli.run("sweep", profile, "--budgets", "1").err());
    }

    /// What mint minimises is no divergence, and is not called one.
    @Test
    void mintHasAScaleOfItsOwn() throws IOException {
        Path manifest = folder.resolve("mint.json");
        Cli.Result plan = Cli.run("plan", profile, "--policy", "mint", "--budget", "900kB", "-o", manifest);
        assertEquals(0, plan.exitCode(), plan.err());
        JsonNode m = new ObjectMapper().readTree(manifest.toFile());
        double damage = 0;
        for (JsonNode module : m.path("modules")) {
            damage += module.path("damage").asDouble();
        }
        assertTrue(damage > 0 && damage < 0.1, "nats: " + damage);
        assertTrue(plan.out().contains(String.format(Locale.ROOT, "policy    mint, predicted damage %.4g; weighted NRMSE %.4g, lower bound", damage, m.path("solver").path("objective").asDouble())), plan.out());
        Cli.Result explained = Cli.run("explain", manifest, "model.layers.0.mlp.down_proj", "--profile", profile);
        assertTrue(explained.out().contains("The policy weighs errors its own way: least weighted NRMSE at the price of a byte.") && !explained.out().contains("a byte more saves"), explained.out());
        assertTrue(Cli.run("sweep", profile, "--policy", "mint").out().contains("The objective has no unit"));
    }

    @Test
    void withoutAModuleTheBestAndTheWorstPaid() {
        Path manifest = folder.resolve("all.json");
        assertEquals(0, Cli.run("plan", profile, "--budget", "900kB", "--set", "layers.2.mlp.up_proj=8:32", "-o", manifest).exitCode());
        Cli.Result r = Cli.run("explain", manifest, "--profile", profile);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().contains("best value") && r.out().contains("worst value") && r.out().contains("override: --set"), r.out());
        JsonNode all = json("explain", manifest, "--profile", profile, "--json");
        assertEquals(29, all.path("modules").size() + all.path("at_cheapest").asInt());
        double last = Double.POSITIVE_INFINITY;
        for (JsonNode m : all.path("modules")) {
            assertTrue(m.path("saved_per_byte").asDouble() <= last, m.toString());
            last = m.path("saved_per_byte").asDouble();
        }
    }

    private static JsonNode json(Object... args) {
        try {
            return new ObjectMapper().readTree(Cli.run(args).out());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void theFrontierAsADocument() throws IOException {
        JsonNode sweep = new ObjectMapper().readTree(Cli.run("sweep", profile, "--json").out());
        assertEquals(List.of(), Schemas.errors(Schemas.schema("sweep"), sweep));
        assertEquals(200, sweep.path("points").size());
        assertEquals(9, sweep.path("machines").size());
        for (JsonNode point : sweep.path("points")) {
            assertEquals(1, point.path("share_of_weights").valueStream().mapToDouble(JsonNode::asDouble).sum(), 1e-9);
        }
        assertTrue(sweep.path("points").path(sweep.path("knee").asInt()).path("predicted_damage").asDouble() > 0);
    }

    @Test
    void aModuleIsExplained() {
        Path manifest = folder.resolve("manifest.json");
        assertEquals(0, Cli.run("plan", profile, "--budget", "900kB", "-o", manifest).exitCode());
        Cli.Result r = Cli.run("explain", manifest, "model.layers.1.mlp.down_proj", "--profile", profile);
        assertEquals(0, r.exitCode(), r.err());
        assertEquals(1, r.out().lines().filter(l -> l.endsWith("chosen")).count(), r.out());
        assertTrue(r.out().contains("sensitivity is propagated"), r.out());
        JsonNode one = json("explain", manifest, "model.layers.1.mlp.down_proj", "--profile", profile, "--json");
        assertEquals(1, one.path("curve").valueStream().filter(p -> p.path("chosen").asBoolean()).count());
        assertTrue(one.path("ingredients").size() > 0 && one.path("price_per_byte").asDouble() > 0);
        assertTrue(r.out().contains("to give it more: --set 'model\\.layers\\.1\\.mlp\\.down_proj$="), r.out());
        assertEquals(r.out(), Cli.run("explain", manifest, "layers.1.mlp.down_proj", "--profile", profile).out(), "the end of a path is enough");
        Cli.Result many = Cli.run("explain", manifest, "down_proj", "--profile", profile);
        assertEquals("ram: 4 modules end with 'down_proj', the first of them model.layers.0.mlp.down_proj; give more of the path\n", many.err());
        assertTrue(Cli.run("explain", manifest, "model.norm", "--profile", profile).err().startsWith("ram: model.norm.weight is kept as it is: "));
        Cli.Result unknown = Cli.run("explain", manifest, "model.layers.9.mlp.down_proj", "--profile", profile);
        assertEquals(2, unknown.exitCode());
        assertEquals("ram: there is no module 'model.layers.9.mlp.down_proj'; did you mean 'model.layers.0.mlp.down_proj'?", unknown.sentence());
    }

    /// Without it there would be nothing to explain, and that would be no error.
    @Test
    void aProfileWithoutTheModulesOfThePlanIsRefused(@TempDir Path dir) throws IOException {
        Path plan = dir.resolve("plan.json");
        assertEquals(0, Cli.run("plan", profile, "--budget", "1MB", "-o", plan).exitCode());
        ObjectNode document = (ObjectNode) new ObjectMapper().readTree(profile.toFile());
        document.withArray("modules").removeIf(m -> m.path("path").asText().equals("model.embed_tokens"));
        Path other = Files.writeString(dir.resolve("other.json"), document.toString());
        String sentence = "ram: the profile is not the one that the plan was made from: it has no measurement of model.embed_tokens; analyze the model again or give the right profile\n";
        assertEquals(sentence, Cli.run("explain", plan, "--profile", other).err());
        assertEquals(sentence, Cli.run("report", plan, "--profile", other, "-o", dir.resolve("report.html")).err());
        assertFalse(Files.exists(dir.resolve("report.html")));
    }

    @Test
    void aPlanThatWasChangedIsNotExplained(@TempDir Path dir) throws IOException {
        Path profile = Cli.analyzed(dir);
        Path plan = dir.resolve("plan.json");
        assertEquals(0, Cli.run("plan", profile, "--budget", "1MB", "-o", plan).exitCode());
        Files.writeString(plan, Files.readString(plan).replaceFirst("\"budget_bytes\" *: *1000000", "\"budget_bytes\" : 2600000"));
        for (List<String> module : List.of(List.of("model.embed_tokens"), List.<String>of())) {
            Cli.Result r = Cli.run(Stream.of(Stream.of("explain", plan), module.stream(), Stream.of("--profile", profile)).flatMap(s -> s).toArray());
            assertEquals(2, r.exitCode(), r.out());
            assertTrue(r.sentence().contains("it was changed by hand or made by another version, plan again"), r.sentence());
        }
    }
}
