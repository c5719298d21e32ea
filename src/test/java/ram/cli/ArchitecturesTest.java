package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.layout.CasesTest;
import ram.safetensors.Shape;

/// A tiny checkpoint of every architecture is quantized, and the output verified against it. Rounded to nearest, as no architecture has a quantizer of its own.
class ArchitecturesTest {
    @TempDir
    Path folder;

    static List<CasesTest.Case> cases() throws IOException {
        return CasesTest.cases();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void isQuantizedAndVerified(CasesTest.Case named) throws Exception {
        CasesTest.writeModel(named.node(), folder);
        Cli.Result r = Cli.run("quantize", folder, "--policy", "uniform", "--group", "32", "--quantizer", "rtn", "-o", folder.resolve("out"), "--quiet");
        assertEquals(0, r.exitCode(), r.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"phimoe", "deepseek_v2", "hunyuan", "minicpm3"})
    void aClassThatCannotDoWithoutScalingGetsOneThatChangesNothing(String name) throws Exception {
        JsonNode without = cases().stream().filter(c -> c.toString().equals(name)).findFirst().orElseThrow().node().deepCopy();
        ((ObjectNode) without.path("config")).putNull("rope_scaling");
        CasesTest.writeModel(without, folder);
        Cli.Result r = Cli.run("quantize", folder, "--policy", "uniform", "--group", "32", "--quantizer", "rtn", "-o", folder.resolve("out"));
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().contains("config.json has no rope_scaling, without which mlx_lm's " + name + " cannot be made: one that changes nothing is written"), r.out());
        assertEquals(0, Cli.run("verify", folder.resolve("out"), "--source", folder).exitCode());
    }

    /// Granite 4 without experts: the shared network, whose size stands in another key, becomes the one that the class makes by `intermediate_size`.
    @Test
    void sizesThatTheClassTakesFromAnotherKey() throws Exception {
        JsonNode dense = cases().stream().filter(c -> c.toString().equals("granitemoehybrid.dense")).findFirst().orElseThrow().node().deepCopy();
        ObjectNode config = (ObjectNode) dense.path("config");
        int stored = config.path("intermediate_size").asInt();
        config.put("intermediate_size", 2 * stored).put("shared_intermediate_size", stored);
        CasesTest.writeModel(dense, folder);
        String problem = "tensor 'model.layers.0.mlp.gate_proj.weight' has the shape " + Shape.of(stored, config.path("hidden_size").asInt())
                + ", but by intermediate_size and hidden_size of config.json it would have " + Shape.of(2 * stored, config.path("hidden_size").asInt()) + "; mlx_lm would refuse it";
        Cli.Result r = Cli.run("quantize", folder, "--policy", "uniform", "--group", "32", "--quantizer", "rtn", "-o", folder.resolve("out"));
        assertEquals(5, r.exitCode(), r.err());
        assertTrue(r.sentence().contains(problem), r.sentence());
        ((ObjectNode) dense.path("config")).put("intermediate_size", stored);
        CasesTest.writeModel(dense, folder);
        assertEquals(0, Cli.run("quantize", folder, "--policy", "uniform", "--group", "32", "--quantizer", "rtn", "-o", folder.resolve("out")).exitCode());
        Path written = folder.resolve("out/config.json");
        ObjectMapper json = new ObjectMapper();
        Files.writeString(written, ((ObjectNode) json.readTree(written.toFile())).put("intermediate_size", 2 * stored).toString());
        r = Cli.run("verify", folder.resolve("out"));
        assertEquals(5, r.exitCode(), r.out());
        assertTrue(r.out().contains(problem), r.out());
    }

    @Test
    void modulesThatAreStoredQuantizedNeedTheirVersionOfMlx() throws Exception {
        CasesTest.writeModel(cases().stream().filter(c -> c.toString().equals("gpt_oss")).findFirst().orElseThrow().node(), folder);
        Cli.Result r = Cli.run("quantize", folder, "--policy", "uniform", "--group", "32", "--quantizer", "rtn", "--mlx-version", "0.26", "-o", folder.resolve("out"));
        assertEquals(2, r.exitCode(), r.err());
        assertTrue(r.sentence().contains("--mlx-version 0.26.0 does not load mxfp4, in which the source stores "), r.sentence());
    }
}
