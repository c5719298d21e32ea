package ram.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ram.layout.Layout;
import ram.layout.Layouts;
import ram.layout.ModelConfig;
import ram.layout.Module;
import ram.numeric.Workers;
import ram.safetensors.Checkpoint;

/// Models some of whose layers do not attend.
class HybridTest {
    @TempDir
    Path folder;

    /// Two channels with three taps, the last of which belongs to the token itself; the second sequence does not see the first.
    @Test
    void aConvolutionSeesTheTokensBefore() {
        Linears linears = new Linears(new VectorWeights("", Map.of("conv.weight", new float[] {1, 10, 100, 2, 3, 4}, "conv.bias", new float[] {0.5f, 0})), null);
        float[] x = {1, 1, 2, 0, 3, 0, 4, 0, 5, 1, 6, 0};
        float[] expected = {100.5f, 4, 210.5f, 3, 321.5f, 2, 432.5f, 0, 500.5f, 4, 650.5f, 3};
        try (Workers workers = new Workers(2)) {
            assertArrayEquals(expected, new CausalConvolution(2, 3, workers).apply(linears, "conv", x, List.of(4, 2)));
        }
    }

    /// Two of four experts whose scores are all the same, and hardly more than what is added to their sum.
    @Test
    void sharesOfSmallScoresAddUpToLessThanOne() throws IOException {
        try (EvalModel model = EvalModel.open(new TinyModel("lfm2_moe", "\"use_expert_bias\": false").write(folder)); Workers workers = new Workers(1)) {
            WeightSource even = new ReplacedWeights(model.weights(), "even", (path, rows) -> path.endsWith(".gate") ? rows.changed((_, count, out) -> Arrays.fill(out, 0, count * 32, -1)) : rows);
            float[] x = new float[32];
            Arrays.fill(x, 14f / 32);
            float[] out = new float[32];
            float[] ones = new float[32];
            Arrays.fill(ones, 1);
            Routes routes = new ForwardPass(even, workers).route(1, x);
            for (int e = 0; e < 2; e++) {
                assertEquals(1, routes.count(e));
                routes.scatter(e, ones, 0, out);
            }
            double score = 1 / (1 + Math.exp(14));
            assertEquals(2 * score / (2 * score + 1e-6), out[0], 1e-6);
        }
    }

    /// Longer than what mlx_lm works on at a time, which is 256 tokens.
    @ParameterizedTest
    @ValueSource(strings = {"granitemoehybrid", "nemotron_h", "falcon_h1", "mamba2", "jamba"})
    void statesLastForLongSequences(String type) throws IOException {
        TinyModel tiny = new TinyModel(type, "");
        int[] ids = TinyModel.ids(600, 8);
        double[][] logits = new ReferenceDecoder(tiny.config, tiny.tensors).logits(Arrays.copyOf(ids, ids.length - 1));
        double nll = 0;
        for (int t = 0; t < logits.length; t++) {
            nll += Math.log(Arrays.stream(logits[t]).map(Math::exp).sum()) - logits[t][ids[t + 1]];
        }
        try (EvalModel model = EvalModel.open(tiny.write(folder))) {
            EvalReport report = Evaluator.evaluate(List.of(model), Optional.empty(), new TokenSet("random", List.of(ids)), EvalOptions.defaults());
            assertEquals(nll / logits.length, report.models().getFirst().nll(), 2e-5);
        }
    }

    /// The control experiment and refinement reach all that a quantization changes: every matrix that is a module.
    @ParameterizedTest
    @ValueSource(strings = {"lfm2", "lfm2-vl", "lfm2_moe", "qwen3_next", "qwen3_5", "qwen3_5_moe", "granitemoehybrid", "nemotron_h", "falcon_h1", "mamba2", "mamba", "jamba", "gemma4", "gemma4_text", "gemma3n",
        "llama", "phi", "phi3", "olmo", "exaone", "gpt_oss", "qwen2_moe", "nemotron", "starcoder2", "youtu_llm"})
    void allMatricesOfAModelAreAmongItsModules(String type) throws IOException {
        new TinyModel(type, "").write(folder);
        try (EvalModel model = EvalModel.open(folder); Checkpoint checkpoint = Checkpoint.open(folder)) {
            Layout layout = Layouts.of(checkpoint, ModelConfig.read(folder));
            Set<String> modules = layout.modules().stream().map(Module::path).collect(Collectors.toSet());
            // this class has them in layers that attend to the keys and values of others
            modules.removeIf(path -> type.equals("gemma3n") && path.matches(".*layers\\.[34]\\.self_attn\\.[kv]_proj"));
            // a matrix that mlx_lm never loads as codes
            Set<String> plain = layout.plain().stream().map(Layout.Plain::name).filter(name -> name.endsWith(".mixer.gate.weight")).map(name -> name.replace(".weight", "")).collect(Collectors.toSet());
            assertEquals(type.equals("nemotron_h") ? 1 : 0, plain.size());
            modules.addAll(plain);
            assertEquals(modules, Set.copyOf(Noise.modules(model.weights())));
        }
    }
}
