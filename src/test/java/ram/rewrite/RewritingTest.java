package ram.rewrite;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.eval.ForwardPass;
import ram.eval.WeightSource;
import ram.layout.Model;
import ram.layout.ModelConfig;
import ram.layout.Module;
import ram.numeric.Workers;
import ram.safetensors.DType;
import ram.tensor.Rows;
import ram.tensor.TensorView;

class RewritingTest {
    @TempDir
    Path dir;

    private static Rewriting rewrite(Model model) {
        return Rewriting.of(model, 2, _ -> { });
    }

    private static float[] values(TensorView view) {
        float[] out = new float[(int) view.shape().elements()];
        Rows rows = Rows.of(view);
        rows.read(0, (int) rows.rows(), out);
        return out;
    }

    private static Module module(Model model, String end) {
        return model.layout().modules().stream().filter(m -> m.path().endsWith(end)).findFirst().orElseThrow();
    }

    private record Weights(Model model) implements WeightSource {
        @Override
        public ModelConfig config() {
            return model.config();
        }

        @Override
        public Optional<Rows> matrix(String path) {
            return model.layout().modules().stream().filter(m -> m.path().equals(path)).findFirst().map(m -> Rows.of(m.weight()))
                    .or(() -> model.layout().plain().stream().filter(p -> p.name().equals(path + ".weight")).findFirst().map(p -> Rows.of(p.view())));
        }

        @Override
        public Optional<float[]> vector(String name) {
            return model.layout().plain().stream().filter(p -> p.name().equals(name)).findFirst().map(p -> values(p.view()));
        }

        @Override
        public String fingerprint() {
            return "";
        }
    }

    private static List<float[]> states(Model model) {
        int[] tokens = new Random(3).ints(40, 0, 100).toArray();
        try (Workers workers = new Workers(2)) {
            return new ForwardPass(new Weights(model), workers).run(List.of(tokens), 64, (_, _) -> { });
        }
    }

    private static void assertSameFunction(Model before, Model after) {
        List<float[]> a = states(before);
        List<float[]> b = states(after);
        for (int i = 0; i < a.size(); i++) {
            assertArrayEquals(a.get(i), b.get(i));
        }
        assertTrue(Float.isFinite(a.getFirst()[0]) && a.getFirst()[0] != 0);
    }

    @ParameterizedTest
    @CsvSource({"llama,4", "qwen2,4", "qwen3,4", "mixtral,4", "qwen3_moe,4"})
    void leavesTheFunctionAndUndoesASpread(String type, int changed) throws IOException {
        try (Model spread = new SpreadModel(type, true, DType.F32).open(dir.resolve("s")); Model plain = new SpreadModel(type, false, DType.F32).open(dir.resolve("p"))) {
            Rewriting done = rewrite(spread);
            assertEquals(changed, done.changes().size(), done.model().layout().architecture().assumptions().getLast());
            assertTrue(done.model().layout().architecture().assumptions().getLast().matches("Rewritten exactly: 4 of \\d+ modules, \\d+ channels rescaled by powers of two\\."), done.model().layout().architecture().assumptions().getLast());
            assertSameFunction(spread, done.model());
            assertSameFunction(plain, done.model());
            for (Rewriting.Change c : done.changes()) {
                assertTrue(c.after() < 0.8 * c.before(), c.toString());
            }
            // biases, heads that share values, experts: all are as if nothing had been spread
            for (int i = 0; i < plain.layout().modules().size(); i++) {
                assertArrayEquals(values(plain.layout().modules().get(i).weight()), values(done.model().layout().modules().get(i).weight()));
            }
            for (int i = 0; i < plain.layout().plain().size(); i++) {
                assertArrayEquals(values(plain.layout().plain().get(i).view()), values(done.model().layout().plain().get(i).view()));
            }
        }
    }

    @Test
    void doesNothingWhereItDoesNotHelp() throws IOException {
        try (Model plain = new SpreadModel("llama", false, DType.BF16).open(dir)) {
            Rewriting done = rewrite(plain);
            assertEquals(List.of(), done.changes());
            assertEquals("Nothing was rewritten: rescaling channels lowers the error of no module.", done.model().layout().architecture().assumptions().getLast());
            for (int i = 0; i < plain.layout().modules().size(); i++) {
                assertSame(plain.layout().modules().get(i).weight(), done.model().layout().modules().get(i).weight());
            }
        }
    }

    @Test
    void leavesOtherFamiliesAlone() throws IOException {
        try (Model gemma = new SpreadModel("gemma", true, DType.BF16).open(dir.resolve("g"))) {
            Rewriting done = rewrite(gemma);
            assertEquals(List.of(), done.changes());
            assertEquals("Nothing was rewritten: rescaling is known to be safe only for llama, mistral, mixtral, olmoe, qwen2, qwen2_moe, qwen3, qwen3_moe.", done.model().layout().architecture().assumptions().getLast());
            assertEquals(0, Rewriting.work(gemma));
        }
    }

    @Test
    void clippedValuesAreLeftAlone() throws IOException {
        Path folder = dir.resolve("c");
        new SpreadModel("llama", true, DType.BF16).open(folder).close();
        Files.writeString(folder.resolve("config.json"), Files.readString(folder.resolve("config.json")).replace("\"hidden_size\"", "\"clip_qkv\": 8, \"hidden_size\""));
        try (Model clipped = Model.open(folder)) {
            assertEquals(List.of("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"), rewrite(clipped).changes().stream().map(Rewriting.Change::path).toList());
        }
    }

    @Test
    void halfPrecisionKeepsEveryBit() throws IOException {
        SpreadModel decoder = new SpreadModel("llama", true, DType.F16);
        // channel 4 would be divided by 4 and loses a bit, channel 10 would be multiplied by 4 and overflows, channel 1 is doubled without harm
        float[] up = decoder.tensors.get("model.layers.0.mlp.up_proj.weight");
        up[4 * SpreadModel.SIZE] = 0x1.004p-14f;
        up[SpreadModel.SIZE] = 0x1p-16f;
        up[10 * SpreadModel.SIZE + 3] = 60000;
        try (Model model = decoder.open(dir)) {
            Model done = rewrite(model).model();
            assertSameFunction(model, done);
            float[] before = values(module(model, "0.mlp.up_proj").weight());
            float[] after = values(module(done, "0.mlp.up_proj").weight());
            double[] factors = IntStream.range(0, SpreadModel.SIZE).mapToDouble(c -> after[c * SpreadModel.SIZE + 7] == before[c * SpreadModel.SIZE + 7] ? 1 : after[c * SpreadModel.SIZE + 7] / before[c * SpreadModel.SIZE + 7]).toArray();
            assertEquals(1, factors[4]);
            assertEquals(1, factors[10]);
            // upwards a small value is safe
            assertEquals(2, factors[1]);
            assertTrue(Arrays.stream(factors).filter(f -> f != 1).count() > SpreadModel.SIZE / 2);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 7})
    void doesNotDependOnThreads(int threads) throws IOException {
        try (Model model = new SpreadModel("qwen3_moe", true, DType.BF16).open(dir)) {
            Rewriting two = rewrite(model);
            Rewriting other = Rewriting.of(model, threads, _ -> { });
            assertEquals(two.changes(), other.changes());
            for (int i = 0; i < two.model().layout().modules().size(); i++) {
                assertArrayEquals(values(two.model().layout().modules().get(i).weight()), values(other.model().layout().modules().get(i).weight()));
            }
        }
    }
}
