package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalTest {
    private static final Path RESOURCES = Path.of("src/test/resources/ram/eval");

    @TempDir
    Path folder;

    @Test
    void comparesModelsWithTheirReference() throws IOException {
        Path csv = folder.resolve("out.csv");
        Cli.Result r = Cli.run("eval", RESOURCES.resolve("tiny-qwen3-mlx-4bit"), RESOURCES.resolve("tiny-qwen3-mlx-mixed_3_6"), "--reference", Cli.TINY,
                "--text", RESOURCES.resolve("held-out.txt"), "--seq-len", 200, "--samples", 6, "--noise-control", "--json", "--csv", csv, "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
        JsonNode json = new ObjectMapper().readTree(r.out());
        assertEquals(6, json.path("sequences").asInt());
        assertEquals(5, json.path("models").size());
        double four = json.path("models").path(1).path("divergence").path("mean_kl").asDouble();
        double noise = json.path("models").path(2).path("divergence").path("mean_kl").asDouble();
        assertTrue(four > 0.001 && four < 0.1, "divergence " + four);
        assertTrue(noise > four / 3 && noise < four * 3, "divergence of noise " + noise);
        assertEquals(6, Files.readAllLines(csv).size());
    }

    @Test
    void printsATable() {
        Cli.Result r = Cli.run("eval", Cli.TINY, "--tokens", RESOURCES.resolve("held-out.i32"), "--seq-len", 128, "--samples", 2, "-v");
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().contains("2 sequences of held-out.i32, 254 predictions"), r.out());
        assertTrue(r.out().contains("tokens/s"), r.out());
    }

    @Test
    void refusesWhatMakesNoSense() {
        assertEquals(2, Cli.run("eval", Cli.TINY).exitCode());
        assertEquals(2, Cli.run("eval", Cli.TINY, "--tokens", RESOURCES.resolve("held-out.i32"), "--noise-control").exitCode());
        assertEquals(5, Cli.run("eval", RESOURCES, "--tokens", RESOURCES.resolve("held-out.i32")).exitCode());
        assertEquals(5, Cli.run("eval", RESOURCES.resolve("tiny-qwen3-mlx-4bit"), "--text", RESOURCES.resolve("held-out.txt")).exitCode());
    }
}
