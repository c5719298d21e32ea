package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Schemas;

class RefineTest {
    private static final String FEW = "self:sequences=4,length=64";

    @TempDir
    Path folder;

    @Test
    void aRefinedModelVerifiesAndItsManifestSaysWhatWasGained() throws IOException {
        Path out = folder.resolve("out");
        Cli.Result result = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--refine", FEW, "-o", out);
        assertEquals(0, result.exitCode(), result.err());
        assertTrue(result.err().contains("refine    self:sequences=4,length=64,passes=2,seed=42: 0."), result.err());
        JsonNode manifest = new ObjectMapper().readTree(out.resolve("manifest.json").toFile());
        assertEquals(List.of(), Schemas.errors(Schemas.schema("manifest"), manifest));
        assertEquals("self:sequences=4,length=64,passes=2,seed=42", manifest.path("refinement").path("text").asText());
        assertEquals(29, manifest.path("refinement").path("modules").size());
        manifest.path("refinement").path("modules").forEach(m -> assertTrue(m.path("output_error_ratio").asDouble() < 1));
        assertEquals(0, Cli.run("verify", out, "--source", Cli.TINY).exitCode());
        try (var left = Files.list(folder)) {
            assertEquals(1, left.count(), "working files are gone");
        }
        Path again = folder.resolve("again");
        assertTrue(result.out().lines().anyMatch(l -> l.matches("refined   self:.*, \\d+ modules, median of \\d+\\.\\d % of the error in their outputs left; predicted damage is without it")), result.out());
        Cli.Result verbose = Cli.run("-v", "--threads", "1", "quantize", Cli.TINY, "--budget", "700kB", "--refine", FEW, "-o", again);
        assertEquals(0, verbose.exitCode());
        assertTrue(verbose.err().lines().anyMatch(l -> l.matches("refine {4}forward [0-9.]+ s, statistics [0-9.]+ s, factorisation [0-9.]+ s, coding [0-9.]+ s")), verbose.err());
        assertEquals(-1, Files.mismatch(out.resolve("model.safetensors"), again.resolve("model.safetensors")));
        assertEquals(-1, Files.mismatch(out.resolve("manifest.json"), again.resolve("manifest.json")));
        Path profile = folder.resolve("profile.json");
        assertEquals(0, Cli.run("analyze", Cli.TINY, "-o", profile).exitCode());
        String explained = Cli.run("explain", out.resolve("manifest.json"), "model.layers.1.mlp.down_proj", "--profile", profile).out();
        assertTrue(explained.lines().anyMatch(l -> l.matches("refinement left [0-9.]+ % of the error that mse makes in its outputs, from 256 inputs; compensation was closer in [0-9]+ of 128 rows")), explained);
        Path plain = folder.resolve("plain");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "700kB", "-o", plain).exitCode());
        assertFalse(Files.mismatch(out.resolve("model.safetensors"), plain.resolve("model.safetensors")) == -1);
    }

    @Test
    void severalBudgetsAndOwnTokens() {
        Path out = folder.resolve("family");
        Cli.Result result = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--budget", "900kB", "--refine", "tokens:" + Cli.TINY.resolve("tokens.i32") + ":sequences=2,length=64", "-o", out);
        assertEquals(0, result.exitCode(), result.err());
        assertEquals(0, Cli.run("verify", out.resolve("900kB"), "--source", Cli.TINY).exitCode());
    }

    @Test
    void whatCannotBeRefinedIsSaidAtOnce() {
        Path out = folder.resolve("out");
        Cli.Result wrong = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--refine", "mine", "-o", out);
        assertEquals(2, wrong.exitCode());
        assertEquals("ram: --refine knows 'self' and 'tokens:FILE', not 'mine'", wrong.sentence());
        Cli.Result rtn = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--refine", FEW, "--quantizer", "rtn", "-o", out);
        assertEquals(2, rtn.exitCode());
        assertTrue(rtn.sentence().contains("--refine starts from the quantizer mse"), rtn.err());
        Cli.Result missing = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--refine", "tokens:" + folder.resolve("none.i32"), "-o", out);
        assertTrue(missing.exitCode() == 1 || missing.exitCode() == 5, missing.err());
        assertTrue(missing.sentence().contains("none.i32"), missing.err());
        assertFalse(Files.exists(out));
    }

    @Test
    void aDryRunSaysWhatItWillTake() {
        Cli.Result result = Cli.run("quantize", Cli.TINY, "--budget", "700kB", "--refine", "self", "--dry-run");
        assertEquals(0, result.exitCode());
        assertTrue(result.err().lines().anyMatch(l -> l.matches("refine {4}self:sequences=64,length=256,passes=2,seed=42: [0-9.]+ TFLOP, [0-9.]+ MB of statistics beside --memory, [0-9.]+ MB of working files")),
                result.err());
    }
}
