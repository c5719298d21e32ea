package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ram.eval.TinyModel;
import ram.safetensors.Checkpoint;

/// Models with latent attention, from the source to the divergence of what is written.
class LatentEvalTest {
    private static final String SIZES = "\"q_lora_rank\": 32, \"kv_lora_rank\": 64, \"qk_nope_head_dim\": 32, \"qk_rope_head_dim\": 16, \"v_head_dim\": 24";
    private static final String MIXTURE = "\"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, "
            + "\"moe_intermediate_size\": 48, \"n_group\": 2, \"topk_group\": 1";

    @TempDir
    Path folder;
    private Path tokens;

    @BeforeEach
    void writeTokens() throws IOException {
        tokens = EvalRuns.tokens(folder, 400);
    }

    @ParameterizedTest
    @ValueSource(strings = {"deepseek_v3", "kimi_vl", "glm4_moe_lite"})
    void whatIsWrittenIsComparedWithItsSource(String type) throws IOException {
        Path source = new TinyModel(type, SIZES + ", " + MIXTURE).write(folder.resolve("source"));
        double eight = divergence(source, 8);
        double three = divergence(source, 3);
        assertTrue(eight > 0 && eight < 0.01 && three > 10 * eight && three < 2, eight + " " + three);
    }

    private double divergence(Path source, int bits) throws IOException {
        Path out = folder.resolve("out" + bits);
        Cli.Result written = Cli.run("quantize", source, "--policy", "uniform", "--bits", bits, "--group", 32, "--quantizer", "rtn", "-o", out, "--no-progress");
        assertEquals(0, written.exitCode(), written.err());
        try (Checkpoint checkpoint = Checkpoint.open(out)) {
            assertTrue(checkpoint.tensors().keySet().stream().anyMatch(name -> name.endsWith("self_attn.embed_q.scales")));
            assertTrue(checkpoint.tensors().keySet().stream().anyMatch(name -> name.endsWith("self_attn.unembed_out.scales")));
            assertFalse(checkpoint.tensors().keySet().stream().anyMatch(name -> name.contains("kv_b_proj")));
        }
        return EvalRuns.divergenceLikeNoise(out, source, tokens);
    }

    @Test
    void itCanBeRefined() throws IOException {
        Path source = new TinyModel("deepseek_v3", SIZES + ", " + MIXTURE).write(folder.resolve("source"));
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", source, "--policy", "uniform", "--bits", 3, "--group", 32, "--refine", "self:sequences=32,length=64", "-o", out, "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
        assertEquals(0, Cli.run("verify", out, "--source", source).exitCode());
        assertTrue(Files.readString(out.resolve("manifest.json")).contains("self_attn.embed_q"));
        Cli.Result evaluated = Cli.run("eval", out, "--reference", source, "--tokens", tokens, "--seq-len", 50, "--samples", 8, "--json", "--no-progress");
        assertEquals(0, evaluated.exitCode(), evaluated.err());
    }

    @Test
    void aTextThatIsTooLongForAnIndexerIsRefusedBeforeAnythingIsDone() throws IOException {
        Path source = new TinyModel("deepseek_v32", SIZES + ", " + MIXTURE + ", \"index_topk\": 40").write(folder.resolve("source"));
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", source, "--policy", "uniform", "--bits", 4, "--group", 32, "--refine", "self:length=41", "-o", out, "--no-progress");
        assertEquals(5, r.exitCode(), r.err());
        String sentence = "ram: " + source.resolve("config.json") + ": describes a model that chooses what it sees of more than 40 tokens, which the evaluation does not know; take shorter windows of text";
        assertEquals(sentence, r.sentence());
        assertFalse(Files.exists(out));
        assertEquals(sentence, Cli.run("eval", source, "--tokens", tokens, "--seq-len", 42, "--samples", 1).sentence());
        assertEquals(0, Cli.run("eval", source, "--tokens", tokens, "--seq-len", 41, "--samples", 1).exitCode());
    }
}
