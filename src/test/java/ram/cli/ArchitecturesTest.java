package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ram.layout.CasesTest;

/// A tiny checkpoint of every architecture is quantized, and the output verified against it.
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
        Cli.Result r = Cli.run("quantize", folder, "--policy", "uniform", "--group", "32", "-o", folder.resolve("out"), "--quiet");
        assertEquals(0, r.exitCode(), r.err());
    }

    @Test
    void modulesThatAreStoredQuantizedNeedTheirVersionOfMlx() throws Exception {
        CasesTest.writeModel(cases().stream().filter(c -> c.toString().equals("gpt_oss")).findFirst().orElseThrow().node(), folder);
        Cli.Result r = Cli.run("quantize", folder, "--policy", "uniform", "--group", "32", "--mlx-version", "0.26", "-o", folder.resolve("out"));
        assertEquals(2, r.exitCode(), r.err());
        assertTrue(r.sentence().contains("--mlx-version 0.26.0 does not load mxfp4, in which the source stores "), r.sentence());
    }
}
