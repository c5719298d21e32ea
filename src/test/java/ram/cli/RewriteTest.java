package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.eval.TinyModel;
import ram.rewrite.SpreadModel;
import ram.safetensors.DType;

/// `--rewrite` through the whole program.
class RewriteTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    Path dir;

    private Path spread() throws IOException {
        return new SpreadModel("qwen3_moe", true, DType.BF16).write(dir.resolve("model"));
    }

    private static void done(Object... args) {
        Cli.Result r = Cli.run(args);
        assertEquals(0, r.exitCode(), r.err() + r.out());
    }

    private static void refused(String sentence, Object... args) {
        Cli.Result r = Cli.run(args);
        assertEquals(2, r.exitCode());
        assertTrue(r.err().contains(sentence), r.err());
    }

    private static String note(Path manifest) throws IOException {
        JsonNode notes = JSON.readTree(manifest.toFile()).path("notes");
        return StreamSupport.stream(notes.spliterator(), false).map(JsonNode::asText).filter(n -> n.contains("ewritten")).findFirst().orElse("");
    }

    @Test
    void analyzeQuantizeVerify() throws IOException {
        Path model = spread();
        Path profile = dir.resolve("p.json");
        Path out = dir.resolve("out");
        Path direct = dir.resolve("direct");
        done("analyze", model, "--rewrite", "-o", profile, "--quiet", "--threads", 1);
        done("quantize", model, "--rewrite", "--profile", profile, "--bpw", 8, "-o", out, "--quiet", "--threads", 7);
        done("quantize", model, "--rewrite", "--bpw", 8, "-o", direct, "--quiet", "--reproducible-check");
        for (String file : new String[] {"model.safetensors", "config.json", "manifest.json"}) {
            assertEquals(-1, Files.mismatch(out.resolve(file), direct.resolve(file)), file);
        }
        assertEquals("power-of-two", JSON.readTree(out.resolve("manifest.json").toFile()).at("/analysis/rewrite").asText());
        assertTrue(note(out.resolve("manifest.json")).matches("Rewritten exactly: 4 of \\d+ modules, \\d+ channels rescaled by powers of two\\."), note(out.resolve("manifest.json")));
        assertTrue(Cli.run("analyze", model, "--rewrite", "-o", dir.resolve("v.json"), "-v").err().contains("rewrite   model.layers.0.self_attn.o_proj: "));

        done("verify", out, "--source", model);
        Files.delete(out.resolve("manifest.json"));
        Cli.Result r = Cli.run("verify", out, "--source", model);
        assertEquals(5, r.exitCode(), r.out());
        assertTrue(r.out().contains("self_attn.v_proj"), r.out());
    }

    @Test
    void refusesWhatDoesNotGoTogether() throws IOException {
        Path model = spread();
        Path with = dir.resolve("with.json");
        Path without = dir.resolve("without.json");
        done("analyze", model, "--rewrite", "-o", with, "--quiet");
        done("analyze", model, "-o", without, "--quiet");
        assertFalse(Files.readString(without).contains("rewrit"));
        refused("the profile was measured with --rewrite; give --rewrite here too", "quantize", model, "--profile", with, "--bpw", 8, "-o", dir.resolve("a"));
        refused("--rewrite: the profile was measured without it; analyze with --rewrite", "quantize", model, "--rewrite", "--profile", without, "--bpw", 8, "-o", dir.resolve("b"));
        refused("--rewrite changes the inputs of modules that --refine learns from, so it excludes --refine", "quantize", model, "--rewrite", "--refine", "self", "--bpw", 8, "-o", dir.resolve("c"));
        assertFalse(Files.exists(dir.resolve("a")) || Files.exists(dir.resolve("b")) || Files.exists(dir.resolve("c")));
    }

    @Test
    void partsMerge() throws IOException {
        Path model = spread();
        done("analyze", model, "--rewrite", "-o", dir.resolve("whole.json"), "--quiet");
        for (int i = 1; i <= 2; i++) {
            done("analyze", model, "--rewrite", "--part", i + "/2", "-o", dir.resolve("part-" + i + ".json"), "--quiet");
        }
        done("analyze", model, "--part", "2/2", "-o", dir.resolve("other.json"), "--quiet");
        done("merge", dir.resolve("part-1.json"), dir.resolve("part-2.json"), "-o", dir.resolve("merged.json"));
        assertEquals(-1, Files.mismatch(dir.resolve("whole.json"), dir.resolve("merged.json")));
        assertEquals(5, Cli.run("merge", dir.resolve("part-1.json"), dir.resolve("other.json"), "-o", dir.resolve("no.json")).exitCode());
    }

    @Test
    void aFamilyThatIsNotKnownIsWrittenAsWithoutIt() throws IOException {
        Path model = new TinyModel("gemma", "\"tie_word_embeddings\": true").write(dir.resolve("model"));
        done("quantize", model, "--bpw", 20, "-o", dir.resolve("plain"), "--quiet");
        done("quantize", model, "--rewrite", "--bpw", 20, "-o", dir.resolve("rewritten"), "--quiet");
        assertEquals(-1, Files.mismatch(dir.resolve("plain/model.safetensors"), dir.resolve("rewritten/model.safetensors")));
        assertTrue(note(dir.resolve("rewritten/manifest.json")).startsWith("Nothing was rewritten: "));
        done("verify", dir.resolve("rewritten"), "--source", model);
    }
}
