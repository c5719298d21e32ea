package ram.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/// Against likelihoods and divergences that MLX computed in float32.
class ReferenceTest {
    private static final Path MODELS = Path.of(System.getProperty("ram.models", "src/test/resources/ram/eval"));
    private static final Path EXAMPLES = Path.of("examples");

    /// The examples folder has what is shipped anyway.
    static Path file(String model, String name) {
        Path own = MODELS.resolve(model).resolve(name);
        return Files.exists(own) ? own : EXAMPLES.resolve(model).resolve(name);
    }

    static TokenSet tokens(String model, JsonNode reference) {
        int[] offsets = StreamSupport.stream(reference.path("offsets").spliterator(), false).mapToInt(JsonNode::asInt).toArray();
        int[] ids = TokenSet.read(file(model, "tokens.i32"));
        int length = reference.path("seq_len").asInt() + 1;
        return new TokenSet("held-out", Arrays.stream(offsets).mapToObj(o -> Arrays.copyOfRange(ids, o, o + length)).toList());
    }

    static EvalReport check(String name) throws IOException {
        JsonNode expected = new ObjectMapper().readTree(file(name, "reference.json").toFile());
        List<EvalModel> quantized = new ArrayList<>();
        expected.path("quantized").fieldNames().forEachRemaining(q -> quantized.add(EvalModel.open(MODELS.resolve(q))));
        EvalReport report = Evaluator.evaluate(quantized, Optional.of(EvalModel.open(file(name, "model.safetensors").getParent())), tokens(name, expected), EvalOptions.defaults());
        if (System.getProperty("ram.model") != null) {
            System.out.println(name + ": " + report.speed().tokensPerSecond() + " tokens/s, " + report.speed().gflops() + " GFLOP/s");
        }
        compare(expected.path("nll"), report.models().getFirst().sequenceNll(), 1e-4, name + " nll");
        for (EvalReport.ModelScores m : report.models().subList(1, report.models().size())) {
            JsonNode q = expected.path("quantized").path(m.name());
            compare(q.path("nll"), m.sequenceNll(), 1e-4, m.name() + " nll");
            compare(q.path("kl"), m.divergence().orElseThrow().sequenceKl(), 2e-3, m.name() + " kl");
            assertEquals(q.path("mean_kl").asDouble(), m.divergence().orElseThrow().mean(), 1e-5);
        }
        return report;
    }

    private static void compare(JsonNode expected, List<Double> actual, double tolerance, String what) {
        assertEquals(expected.size(), actual.size());
        double worst = 0;
        for (int i = 0; i < actual.size(); i++) {
            worst = Math.max(worst, Math.abs(actual.get(i) / expected.get(i).asDouble() - 1));
        }
        if (System.getProperty("ram.model") != null) {
            System.out.println(what + ": worst relative difference " + worst);
        }
        assertTrue(worst < tolerance, what + ": worst relative difference " + worst);
    }

    @Test
    void tinyQwen3() throws IOException {
        check("tiny-qwen3");
    }

    @Test
    void stories() throws IOException {
        check("stories260k");
    }

    /// Larger models, for runs by hand: `-Dram.models=FOLDER -Dram.model=NAME`.
    @Test
    @EnabledIfSystemProperty(named = "ram.model", matches = ".+")
    void other() throws IOException {
        check(System.getProperty("ram.model"));
    }
}
