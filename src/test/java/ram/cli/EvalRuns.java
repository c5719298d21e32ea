package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/// Evaluations of tiny models of 600 tokens by the command line.
final class EvalRuns {
    private EvalRuns() {
    }

    /// A file of random tokens.
    static Path tokens(Path folder, int count) throws IOException {
        ByteBuffer ids = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
        new Random(5).ints(count, 0, 600).forEach(ids::putInt);
        return Files.write(folder.resolve("tokens.i32"), ids.array());
    }

    /// Mean divergence of what was written from its source, which is near that of noise as large as the errors.
    static double divergenceLikeNoise(Path written, Path source, Path tokens) throws IOException {
        Cli.Result r = Cli.run("eval", written, "--reference", source, "--tokens", tokens, "--seq-len", 50, "--samples", 8, "--noise-control", "--json", "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
        JsonNode models = new ObjectMapper().readTree(r.out()).path("models");
        double own = models.path(1).path("divergence").path("mean_kl").asDouble();
        double noise = models.path(2).path("divergence").path("mean_kl").asDouble();
        assertTrue(noise > own / 5 && noise < own * 5, "divergence " + own + ", of noise " + noise);
        return own;
    }
}
