package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.SyntheticModel;

class DiffTest {
    @TempDir
    static Path dir;

    private static Path profile;

    @BeforeAll
    static void analyze() {
        profile = Cli.analyzed(dir);
    }

    private static Path plan(String name, Object... args) {
        Path file = dir.resolve(name);
        Object[] all = new Object[args.length + 4];
        all[0] = "plan";
        all[1] = profile;
        System.arraycopy(args, 0, all, 2, args.length);
        all[all.length - 2] = "-o";
        all[all.length - 1] = file;
        assertEquals(0, Cli.run(all).exitCode());
        return file;
    }

    @Test
    void whatAnOverrideChanges() {
        Path before = plan("before.json", "--policy", "uniform", "--bits", 4, "--group", 64);
        Path after = plan("after.json", "--policy", "uniform", "--bits", 4, "--group", 64, "--set", "layers.1.mlp.down_proj=8:64", "--keep", "layers.0.self_attn.q_proj");
        Cli.Result r = Cli.run("diff", before, after);
        assertEquals(0, r.exitCode(), r.err());
        assertTrue(r.out().contains("model.layers.1.mlp.down_proj     4:64    8:64   +24.576 kB"), r.out());
        assertTrue(r.out().contains("model.layers.0.self_attn.q_proj  4:64    dense  +23.552 kB"), r.out());
        assertEquals(3, Cli.run("diff", before, after, "--exit-code").exitCode());
        assertEquals(0, Cli.run("diff", before, before, "--exit-code").exitCode());
        assertTrue(Cli.run("diff", before, before).out().endsWith("every module has the same format\n"));
    }

    /// The same formats, from the same measurements, written otherwise.
    @Test
    void buildsOfOtherWeightsDiffer() {
        Path mse = dir.resolve("mse");
        Path rtn = dir.resolve("rtn");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--profile", profile, "--budget", "1MB", "-o", mse, "--quiet").exitCode());
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--profile", profile, "--budget", "1MB", "--quantizer", "rtn", "-o", rtn, "--quiet").exitCode());
        assertEquals(0, Cli.run("diff", mse, plan("planned.json", "--budget", "1MB"), "--exit-code").exitCode(), "a plan and its build");
        Cli.Result r = Cli.run("diff", mse, rtn, "--exit-code");
        assertEquals(3, r.exitCode());
        assertTrue(r.out().contains("written file model.safetensors is another one") && r.out().contains("quantizer"), r.out());
    }

    @Test
    void plansOfTwoModelsAndFilesThatAreNone() throws IOException {
        Path before = plan("one.json", "--budget", "1MB");
        SyntheticModel.writeSmall(1, dir.resolve("m"));
        assertEquals(0, Cli.run("quantize", dir.resolve("m"), "--policy", "uniform", "-o", dir.resolve("q"), "--quiet").exitCode());
        Cli.Result r = Cli.run("diff", before, dir.resolve("q"));
        assertEquals(2, r.exitCode());
        assertEquals("ram: the manifests are of different models: their modules differ in name, number or shape; give two plans of one model\n", r.err());
        r = Cli.run("diff", before, dir.resolve("m"));
        assertEquals(5, r.exitCode());
        assertEquals("ram: " + dir.resolve("m") + ": has no manifest.json; give a folder that ram quantize wrote, or a manifest\n", r.err());
        assertEquals(5, Cli.run("diff", before, profile).exitCode());
        assertEquals(5, Cli.run("diff", before, Files.createFile(dir.resolve("empty.json"))).exitCode());
    }
}
