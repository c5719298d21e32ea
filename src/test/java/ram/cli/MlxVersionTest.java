package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.Schemas;

class MlxVersionTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    @TempDir
    static Path folder;

    @BeforeAll
    static void analyze() {
        assertEquals(0, Cli.run("analyze", Cli.TINY, "-o", folder.resolve("profile.json")).exitCode());
    }

    private static JsonNode plan(Object... options) throws IOException {
        Object[] all = new Object[options.length + 3];
        all[0] = "plan";
        all[1] = folder.resolve("profile.json");
        all[2] = "--json";
        System.arraycopy(options, 0, all, 3, options.length);
        Cli.Result result = Cli.run(all);
        assertEquals(0, result.exitCode(), result.err());
        return MAPPER.readTree(result.out());
    }

    private static Set<Integer> widths(JsonNode manifest) {
        Set<Integer> out = new HashSet<>();
        manifest.path("modules").forEach(m -> out.add(m.path("bits").asInt()));
        return out;
    }

    @Test
    void onlyWhatTheVersionLoadsIsChosen() throws IOException {
        JsonNode free = plan("--budget", "800kB");
        assertTrue(widths(free).contains(5));
        assertEquals("0.29.0", free.path("oldest_mlx").asText());
        assertEquals(List.of(), Schemas.errors(Schemas.schema("manifest"), free));
        JsonNode old = plan("--budget", "800kB", "--mlx-version", "0.25");
        assertFalse(widths(old).contains(5));
        assertEquals("0.18.0", old.path("oldest_mlx").asText());
        assertEquals("0.26.0", plan("--budget", "800kB", "--mlx-version", "0.28").path("oldest_mlx").asText());
    }

    @Test
    void slowGroupsAreWarnedAbout() throws IOException {
        assertTrue(plan("--policy", "uniform", "--group", "32", "--mlx-version", "0.29").path("notes").toString().contains("1.8 to 2.2 times slower in groups of 32, which 29 of 29 modules have"));
        assertFalse(plan("--policy", "uniform", "--group", "32", "--mlx-version", "0.31").path("notes").toString().contains("slower"));
        assertFalse(plan("--policy", "uniform", "--group", "64", "--mlx-version", "0.29").path("notes").toString().contains("slower"));
    }

    @Test
    void theKeyModeIsLeftOutForOldVersions() throws IOException {
        Path out = folder.resolve("old");
        Cli.Result result = Cli.run("quantize", Cli.TINY, "--profile", folder.resolve("profile.json"), "--budget", "800kB", "--mlx-version", "0.28.0", "-o", out);
        assertEquals(0, result.exitCode(), result.err());
        assertFalse(MAPPER.readTree(out.resolve("config.json").toFile()).path("quantization").has("mode"));
        assertEquals(0, Cli.run("verify", out, "--source", Cli.TINY).exitCode());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "--mlx-version new | ram: --mlx-version: 'new' is not a version such as 0.29 or 0.29.4",
        "--mlx-version 0.5 | ram: --mlx-version: nothing is known of versions before 0.18.0; leave the option out or update MLX",
        "--formats affine,nvfp4 --mlx-version 0.29.3 | ram: --formats: MLX 0.29.3 does not load nvfp4; 0.29.4 is the first that does",
        "--set embed=5:64 --mlx-version 0.25 | ram: --set 'embed=5:64': MLX 0.25.0 does not load 5:64; 0.26.0 is the first that does",
        "--policy uniform --bits 5 --mlx-version 0.25 | ram: --bits: MLX 0.25.0 does not load 5 bits; 0.26.0 is the first that does"})
    void whatAVersionDoesNotLoadIsRefused(String options, String sentence) {
        Object[] all = ("plan " + folder.resolve("profile.json") + " --budget 800kB " + options).split(" +");
        Cli.Result result = Cli.run(all);
        assertEquals(2, result.exitCode());
        assertEquals(sentence, result.sentence());
    }
}
