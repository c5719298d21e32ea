package ram.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.InputException;
import ram.numeric.Workers;
import ram.tensor.Rows;

class EvaluatorTest {
    private static final TokenSet TOKENS = new TokenSet("random", List.of(TinyModel.ids(30, 1), TinyModel.ids(20, 2), TinyModel.ids(25, 3), TinyModel.ids(8, 4)));

    @TempDir
    Path folder;

    private EvalModel tiny() throws IOException {
        return EvalModel.open(new TinyModel("qwen3", "").write(folder.resolve("model")));
    }

    private static EvalModel noisy(EvalModel source, double error) {
        SortedMap<String, Double> errors = new TreeMap<>();
        Noise.modules(source.weights()).forEach(p -> errors.put(p, error));
        return new EvalModel("noisy", Noise.of(source.weights(), errors, 3));
    }

    @Test
    void aFolderThatIsCutWhileItsDigestIsMade() throws IOException {
        new TinyModel("llama", "").write(folder);
        Path shard = folder.resolve("model.safetensors");
        try (EvalModel model = EvalModel.open(folder)) {
            // maps the file
            model.weights().matrix("lm_head").orElseThrow().read(0, 1, new float[TinyModel.HIDDEN]);
            try (FileChannel file = FileChannel.open(shard, StandardOpenOption.WRITE)) {
                file.truncate(1 << 15);
            }
            InputException e = assertThrows(InputException.class, model.weights()::fingerprint);
            assertTrue(e.getMessage().startsWith(shard + ": tensor '") && e.getMessage().contains("' cannot be read; the file was truncated while it was in use"), e.getMessage());
        }
    }

    @Test
    void takesUpAStoppedRunWithTheSameResult() throws IOException {
        Path file = folder.resolve("partial.jsonl");
        EvalOptions small = new EvalOptions(20_000, 2, Optional.of(file), _ -> { });
        try (EvalModel source = tiny()) {
            EvalModel noisy = noisy(source, 0.01);
            var whole = EvalDocuments.json(Evaluator.evaluate(List.of(noisy), Optional.of(source), TOKENS, EvalOptions.defaults()), "1");
            class Stopped extends RuntimeException {
                private static final long serialVersionUID = 1L;
            }
            assertThrows(Stopped.class, () -> Evaluator.evaluate(List.of(noisy), Optional.of(source), TOKENS, new EvalOptions(20_000, 2, Optional.of(file), share -> {
                if (share > 0.6) {
                    throw new Stopped();
                }
            })));
            List<String> lines = Files.readAllLines(file);
            assertTrue(!lines.isEmpty() && lines.size() < 4, lines.size() + " sequences had been finished");
            // as if the run had been killed while it wrote
            Files.writeString(file, String.join("\n", lines) + "\n" + lines.getFirst().substring(0, 200));
            EvalReport resumed = Evaluator.evaluate(List.of(noisy), Optional.of(source), TOKENS, small);
            assertEquals(whole, EvalDocuments.json(resumed, "1"));
            assertTrue(resumed.speed().tokens() < 2 * TOKENS.predictions());
            assertEquals(0, Evaluator.evaluate(List.of(noisy), Optional.of(source), TOKENS, small).speed().tokens());
            // other weights, other sequences
            assertEquals(2 * TOKENS.predictions(), Evaluator.evaluate(List.of(noisy(source, 0.02)), Optional.of(source), TOKENS, small).speed().tokens());
        }
    }

    @Test
    void aModelDoesNotDivergeFromItself() throws IOException {
        try (EvalModel source = tiny()) {
            EvalReport.Divergence d = Evaluator.evaluate(List.of(source), Optional.of(source), TOKENS, EvalOptions.defaults()).models().get(1).divergence().orElseThrow();
            assertEquals(0, d.max(), 1e-12);
            assertEquals(1, d.sameTop());
            assertEquals(0, d.nllDifference());
        }
    }

    @Test
    void noiseHasTheErrorThatIsAskedForAndRepeatsItself() throws IOException {
        try (EvalModel source = tiny(); Workers workers = new Workers(2)) {
            EvalModel noisy = noisy(source, 0.02);
            SortedMap<String, Double> measured = Noise.relativeErrors(source.weights(), noisy.weights(), Noise.modules(source.weights()), workers);
            assertEquals(Noise.modules(source.weights()).size(), measured.size());
            measured.forEach((path, error) -> assertEquals(0.02, error, 0.003, path));
            Rows rows = noisy.weights().matrix("lm_head").orElseThrow();
            float[] one = new float[TinyModel.HIDDEN];
            float[] three = new float[3 * TinyModel.HIDDEN];
            rows.read(5, 1, one);
            rows.read(3, 3, three);
            assertArrayEquals(one, Arrays.copyOfRange(three, 2 * TinyModel.HIDDEN, 3 * TinyModel.HIDDEN));
            assertNotEquals(source.weights().fingerprint(), noisy.weights().fingerprint());
        }
    }

    @Test
    void statisticsOfAKnownSample() {
        List<List<SequenceScores>> scores = new ArrayList<>();
        double[] perplexities = {2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
        double[] others = {3, 5, 9, 17, 33, 65, 129, 257, 513, 600};
        for (int s = 0; s < perplexities.length; s++) {
            scores.add(List.of(score(Math.log(perplexities[s])), score(Math.log(others[s]))));
        }
        List<int[]> sequences = Collections.nCopies(10, new int[] {1, 2});
        EvalReport report = EvalReport.of(List.of(named("a"), named("b")), false, new TokenSet("two", sequences), scores, new EvalReport.Speed(1, 1, 1, 1));
        EvalReport.Spread s = report.models().getFirst().sequencePerplexity();
        assertEquals(204.6, s.mean(), 1e-3);
        assertEquals(48, s.median(), 1e-4);
        assertEquals(204.6, s.trimmed5(), 1e-3);
        assertEquals((2046 - 2 - 1024) / 8.0, s.trimmed10(), 1e-3);
        assertEquals(Math.pow(2, 5.5), s.geometricMean(), 1e-4);
        assertEquals(List.of(9, 8, 7, 6, 5), report.models().getFirst().worst());
        assertEquals(List.of("b has the lower mean of the sequences' perplexities and a the lower median; the mean is decided by sequence 9",
                "there are only 10 predictions, too few to tell models apart; 1000 are the least"), report.warnings());
        assertEquals("a,", EvalDocuments.csv(report).lines().skip(1).findFirst().orElseThrow().substring(0, 2));
    }

    /// Standard tables: 2.262 for 9, 2.042 for 30, 3.182 for 3 degrees of freedom.
    @Test
    void confidenceFactors() {
        assertEquals(2.262, Statistics.student(9), 0.001);
        assertEquals(2.042, Statistics.student(30), 0.001);
        assertEquals(3.182, Statistics.student(3), 0.03);
        assertEquals(1.9623, Statistics.student(1000), 0.001);
    }

    @Test
    void theExponentialFunctionIsExactToAFewUnits() {
        float[] x = new float[1003];
        float[] plain = new float[x.length];
        for (int i = 0; i < x.length; i++) {
            x[i] = -86 + i * 0.17f;
            plain[i] = x[i];
        }
        float[] y = x.clone();
        Exp.exp(y, 0, y.length, 0);
        for (int i = 0; i < x.length; i++) {
            assertEquals(1, y[i] / Math.exp(Math.min(x[i], 88)), 3e-7, "at " + x[i]);
            assertEquals(Exp.exp(plain[i]), y[i]);
        }
    }

    @Test
    void documentsHaveTheSameBytesEachTime() throws IOException {
        try (EvalModel source = tiny()) {
            EvalReport a = Evaluator.evaluate(List.of(noisy(source, 0.01)), Optional.of(source), TOKENS, new EvalOptions(10_000, 1, Optional.empty(), _ -> { }));
            EvalReport b = Evaluator.evaluate(List.of(noisy(source, 0.01)), Optional.of(source), TOKENS, new EvalOptions(1 << 30, 3, Optional.empty(), _ -> { }));
            assertEquals(EvalDocuments.json(a, "1"), EvalDocuments.json(b, "1"));
            assertEquals(EvalDocuments.csv(a), EvalDocuments.csv(b));
            JsonNode json = EvalDocuments.json(a, "1");
            assertEquals("ram.evaluation/1", json.path("schema").asText());
            assertEquals(4, json.path("models").path(1).path("divergence").path("sequence_kl").size());
        }
    }

    private static SequenceScores score(double nll) {
        return new SequenceScores(new float[] {(float) nll}, null, null, null);
    }

    private static EvalModel named(String name) {
        return new EvalModel(name, new VectorWeights(name, Map.of()));
    }
}
