package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.eval.TinyModel;

/// Whole commands on models with parts of their own: quantized, refined, and held against their sources.
class EvalFamiliesTest {
    private static final String OSS = "\"sliding_window\": 6, \"intermediate_size\": 64";

    @TempDir
    Path folder;

    /// Mean divergence from its source.
    private double divergence(Path model, Path source, Path tokens) throws IOException {
        Cli.Result r = Cli.run("eval", model, "--reference", source, "--tokens", tokens, "--seq-len", 60, "--samples", 20, "--json", "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
        JsonNode kl = new ObjectMapper().readTree(r.out()).path("models").path(1).path("divergence").path("mean_kl");
        assertTrue(kl.isNumber(), r.out());
        return kl.asDouble();
    }

    @ParameterizedTest
    @ValueSource(strings = {"", ", \"quantization_config\": {\"quant_method\": \"mxfp4\"}"})
    void gptOssFromFloatsAndFromBlocks(String stored) throws IOException {
        Path source = new TinyModel("gpt_oss", OSS + stored).write(folder.resolve("source"));
        Path tokens = EvalRuns.tokens(folder, 1200);
        Path eight = quantized(source, "eight", "8");
        Path four = quantized(source, "four", "4");
        double fine = divergence(eight, source, tokens);
        double coarse = divergence(four, source, tokens);
        assertTrue(fine > 0 && fine < 0.01 && coarse > 5 * fine && coarse < 1, fine + " " + coarse);
        double refined = divergence(quantized(source, "refined", "4", "--refine", "self:sequences=16,length=64"), source, tokens);
        assertTrue(refined < 2 * coarse, refined + " " + coarse);
    }

    /// Heads with biases, fused projections and other names of modules go all the way too.
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "phi         | \"partial_rotary_factor\": 0.5",
        "phimoe      | \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 2, 3, 4], \"short_mscale\": 1.2, \"long_mscale\": 1.3}",
        "olmo        | \"num_key_value_heads\": 4",
        "exaone      | \"tie_word_embeddings\": true",
        "internlm3   | \"qkv_bias\": true",
        "glm         | \"tie_word_embeddings\": true",
        "bailing_moe | \"num_shared_experts\": 1, \"first_k_dense_replace\": 1, \"norm_topk_prob\": true"})
    void othersFromFloats(String type, String settings) throws IOException {
        Path source = new TinyModel(type, settings).write(folder.resolve("source"));
        double kl = divergence(quantized(source, "refined", "8", "--refine", "self:sequences=4,length=64"), source, EvalRuns.tokens(folder, 1200));
        assertTrue(kl > 0 && kl < 0.02, "divergence " + kl);
    }

    private Path quantized(Path source, String name, String bits, String... more) {
        Path out = folder.resolve(name);
        Object[] command = {"quantize", source, "--policy", "uniform", "--bits", bits, "--group", "32", "-o", out, "--quiet"};
        Object[] all = new Object[command.length + more.length];
        System.arraycopy(command, 0, all, 0, command.length);
        System.arraycopy(more, 0, all, command.length, more.length);
        Cli.Result r = Cli.run(all);
        assertEquals(0, r.exitCode(), r.err());
        assertEquals(0, Cli.run("verify", out, "--source", source).exitCode());
        return out;
    }
}
