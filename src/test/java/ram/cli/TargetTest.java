package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TargetTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    @TempDir
    static Path folder;

    private static Path profile;

    @BeforeAll
    static void analyze() {
        profile = Cli.analyzed(folder);
    }

    @Test
    void theKneeIsThatOfTheSweep() throws IOException {
        JsonNode sweep = MAPPER.readTree(Cli.run("sweep", profile, "--json").out());
        JsonNode knee = sweep.path("points").path(sweep.path("knee").asInt());
        Path manifest = folder.resolve("knee.json");
        Cli.Result r = Cli.run("plan", profile, "--target", "knee", "-o", manifest);
        assertEquals(0, r.exitCode(), r.err());
        JsonNode plan = MAPPER.readTree(manifest.toFile());
        assertEquals(knee.path("file_bytes").asLong(), plan.at("/sizes/file_bytes").asLong());
        assertEquals(knee.path("budget_bytes").asLong(), plan.at("/limit/budget_bytes").asLong());
        assertEquals("knee", plan.at("/planning/target").asText());
        assertTrue(r.out().contains("note      Target knee: of 200 sizes"), r.out());
        assertEquals(0, Cli.run("explain", manifest, "model.layers.1.mlp.down_proj", "--profile", profile).exitCode());
    }

    @Test
    void machines() throws IOException {
        for (String target : List.of("16GB", "16gb mac", "16 GiB", "laptop")) {
            JsonNode plan = MAPPER.readTree(Cli.run("plan", profile, "--target", target, "--json").out());
            assertEquals(10_307_921_512L, plan.at("/limit/budget_bytes").asLong(), 5, target);
            assertTrue(plan.at("/notes/0").asText().contains("on a machine of 16 GiB"), plan.at("/notes/0").asText());
        }
        assertEquals(3L << 30, MAPPER.readTree(Cli.run("plan", profile, "--target", "phone", "--json").out()).at("/limit/budget_bytes").asLong());
    }

    @Test
    void quantizeTakesOneToo() throws IOException {
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--profile", profile, "--target", "knee", "-o", out);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().contains("Target knee"), r.out());
        assertTrue(Files.readString(out.resolve("manifest.json")).contains("\"target\" : \"knee\""));
    }

    @Test
    void whatIsNoTarget() {
        Cli.Result r = Cli.run("plan", profile, "--target", "toaster");
        assertEquals(2, r.exitCode());
        assertTrue(r.sentence().contains("'toaster'; choose from knee") && r.sentence().contains("laptop"), r.err());
        assertEquals(2, Cli.run("plan", profile, "--target", "1GB").exitCode());
        assertEquals(2, Cli.run("plan", profile, "--target", "knee", "--budget", "1MB").exitCode());
        assertEquals(2, Cli.run("plan", profile, "--target", "knee", "--policy", "uniform").exitCode());
    }
}
