package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.Schemas;
import ram.SyntheticModel;

/// What commands print for programs, held against the published schemas.
class JsonOutputTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    static Path dir;

    private static Path profile;
    private static Path out;

    @BeforeAll
    static void quantize() {
        profile = Cli.analyzed(dir);
        out = dir.resolve("out");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--profile", profile, "--budget", "1MB", "-o", out, "--quiet").exitCode());
    }

    private static JsonNode valid(int exitCode, String schema, Object... args) throws IOException {
        Cli.Result r = Cli.run(Stream.concat(Stream.of(args), Stream.of("--json")).toArray());
        assertEquals(exitCode, r.exitCode(), r.err());
        JsonNode document = JSON.readTree(r.out());
        assertEquals("ram." + schema + "/1", document.path("schema").asText());
        assertEquals(List.of(), Schemas.errors(Schemas.schema(schema), document));
        return document;
    }

    @Test
    void everyCommandThatFindsSomethingOutHasIt() {
        List<String> without = Main.commands().stream().filter(c -> Cli.run("help", c).out().lines().noneMatch(l -> l.strip().startsWith("--json "))).toList();
        assertEquals(Set.of("report", "completion", "help"), Set.copyOf(without), "commands without --json");
    }

    @Test
    void everySchemaIsOfADocument() throws IOException {
        try (Stream<Path> files = Files.list(Path.of("docs/schemas"))) {
            for (Path file : files.toList()) {
                String name = file.getFileName().toString().replace(".schema.json", "");
                assertEquals("ram." + name + "/1", Schemas.schema(name).at("/properties/schema/const").asText(), file.toString());
            }
        }
    }

    @Test
    void inspection() throws IOException {
        assertEquals(29, valid(0, "inspection", "inspect", Cli.TINY).path("modules").size());
        SyntheticModel.writeExperts(1, dir.resolve("experts"));
        assertTrue(valid(0, "inspection", "inspect", dir.resolve("experts")).path("modules").valueStream().anyMatch(m -> m.path("experts").asInt() == 8));
        Path model = Folders.copy(Cli.TINY, dir.resolve("deeper"));
        ObjectNode config = (ObjectNode) JSON.readTree(model.resolve("config.json").toFile());
        JSON.writeValue(model.resolve("config.json").toFile(), config.put("intermediate_size", 7));
        assertTrue(valid(5, "inspection", "inspect", model).path("problems").path(0).asText().contains("has the shape"));
    }

    @Test
    void explanations() throws IOException {
        assertEquals(19, valid(0, "explain", "explain", out.resolve("manifest.json"), "model.layers.0.mlp.down_proj", "--profile", profile).path("curve").size());
        assertTrue(valid(0, "explain", "explain", out.resolve("manifest.json"), "--profile", profile).path("modules").size() > 10);
    }

    @Test
    void verification() throws IOException {
        JsonNode sound = valid(0, "verification", "verify", out, "--source", Cli.TINY);
        assertTrue(sound.path("sound").asBoolean() && sound.path("relative_errors").size() == 29, sound.toString());
        Path broken = Folders.copy(out, dir.resolve("broken"));
        Files.delete(broken.resolve("README.md"));
        JsonNode document = valid(5, "verification", "verify", broken);
        assertEquals(1, document.path("problems").size(), document.toString());
    }

    @Test
    void gate() throws IOException {
        assertTrue(valid(0, "gate", "gate", out, "--max-size", "1MB").path("holds").asBoolean());
        JsonNode failed = valid(3, "gate", "gate", out, "--max-size", "900kB", "--min-bits", "2");
        assertEquals(900_000, failed.at("/checks/1/limit").asLong());
        assertEquals(Files.size(out.resolve("model.safetensors")), failed.at("/checks/1/value").asLong());
        assertEquals(List.of("max-size"), failed.path("checks").valueStream().filter(c -> !c.path("holds").asBoolean()).map(c -> c.path("name").asText()).toList());
    }

    @Test
    void sweepAndEvaluation() throws IOException {
        assertEquals(20, valid(0, "sweep", "sweep", profile, "--budgets", 20).path("points").size());
        assertEquals(2, valid(0, "evaluation", "eval", out, "--reference", Cli.TINY, "--tokens", Cli.TINY.resolve("tokens.i32"), "--seq-len", 64, "--samples", 2).path("models").size());
        JsonNode one = valid(0, "evaluation", "eval", out, "--reference", Cli.TINY, "--tokens", Cli.TINY.resolve("tokens.i32"), "--seq-len", 64, "--samples", 1);
        assertFalse(one.toString().contains("standard_error"), "one window says nothing of it");
        Path evaluation = Files.writeString(dir.resolve("evaluation.json"), one.toString());
        assertEquals(3, valid(0, "gate", "gate", evaluation, "--max-kl", 1, "--max-ppl-increase", "50%").path("checks").size());
    }

    @Test
    void diff() throws IOException {
        assertTrue(valid(0, "diff", "diff", out, out.resolve("manifest.json")).path("same").asBoolean());
        Path other = dir.resolve("other.json");
        assertEquals(0, Cli.run("plan", profile, "--budget", "900kB", "-o", other).exitCode());
        JsonNode changed = valid(3, "diff", "diff", out, other, "--exit-code");
        JsonNode plan = JSON.readTree(other.toFile());
        JsonNode was = JSON.readTree(out.resolve("manifest.json").toFile());
        int different = 0;
        long bytes = 0;
        for (int i = 0; i < plan.path("modules").size(); i++) {
            different += plan.path("modules").get(i).path("format").equals(was.path("modules").get(i).path("format")) ? 0 : 1;
            bytes += plan.path("modules").get(i).path("bytes").asLong() - was.path("modules").get(i).path("bytes").asLong();
        }
        assertEquals(different, changed.path("modules").size());
        assertEquals(bytes, changed.path("kinds").valueStream().mapToLong(k -> k.path("bytes").asLong()).sum());
    }
}
