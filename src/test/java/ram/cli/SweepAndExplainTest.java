package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SweepAndExplainTest {
    @TempDir
    static Path folder;

    private static Path profile;

    @BeforeAll
    static void analyze() {
        profile = folder.resolve("profile.json");
        assertEquals(0, Cli.run("analyze", Cli.TINY, "-o", profile, "--quiet").exitCode());
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
        assertEquals(2, Cli.run("sweep", profile, "--policy", "uniform").exitCode());
        assertEquals(2, Cli.run("sweep", profile, "--csv", csv).exitCode(), "an existing file is kept");
    }

    @Test
    void aModuleIsExplained() {
        Path manifest = folder.resolve("manifest.json");
        assertEquals(0, Cli.run("plan", profile, "--budget", "900kB", "-o", manifest).exitCode());
        Cli.Result r = Cli.run("explain", manifest, "model.layers.1.mlp.down_proj", "--profile", profile);
        assertEquals(0, r.exitCode(), r.err());
        assertEquals(1, r.out().lines().filter(l -> l.endsWith("chosen")).count(), r.out());
        assertTrue(r.out().contains("sensitivity is propagated"), r.out());
        Cli.Result unknown = Cli.run("explain", manifest, "model.layers.9.mlp.down_proj", "--profile", profile);
        assertEquals(2, unknown.exitCode());
        assertEquals("ram: there is no module 'model.layers.9.mlp.down_proj'; `ram inspect` lists them", unknown.sentence());
    }
}
