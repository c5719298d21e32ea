package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.layout.CasesTest;

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

    @Test
    void modulesThatAreStoredQuantizedNeedTheirVersionOfMlx() throws Exception {
        CasesTest.writeModel(cases().stream().filter(c -> c.toString().equals("gpt_oss")).findFirst().orElseThrow().node(), folder);
        Cli.Result r = Cli.run("quantize", folder, "--policy", "uniform", "--group", "32", "--quantizer", "rtn", "--mlx-version", "0.26", "-o", folder.resolve("out"));
        assertEquals(2, r.exitCode(), r.err());
        assertTrue(r.sentence().contains("--mlx-version 0.26.0 does not load mxfp4, in which the source stores "), r.sentence());
    }
}
