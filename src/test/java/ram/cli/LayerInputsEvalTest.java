package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.eval.TinyModel;
import ram.safetensors.Checkpoint;

/// Gemma 3n and 4 from the source to the divergence of what is written: with inputs of layers and shared keys, with values that are keys, with experts, and with several states per token.
class LayerInputsEvalTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "gemma3n        | \"hidden_size_per_layer_input\": 32 | model.language_model.embed_tokens_per_layer model.language_model.altup_projections.0 model.language_model.layers.4.laurel.linear_left",
        "gemma4_text    | \"hidden_size_per_layer_input\": 32, \"tie_word_embeddings\": true | model.embed_tokens_per_layer model.per_layer_model_projection model.layers.6.per_layer_projection",
        "gemma4         | \"hidden_size_per_layer_input\": 32 | language_model.model.embed_tokens_per_layer language_model.lm_head language_model.model.layers.6.per_layer_input_gate",
        "gemma4_unified | \"hidden_size_per_layer_input\": 0, \"num_kv_shared_layers\": 0, \"attention_k_eq_v\": true, \"num_global_key_value_heads\": 1 | language_model.model.layers.1.self_attn.k_proj",
        "gemma4         | \"hidden_size_per_layer_input\": 0, \"num_kv_shared_layers\": 0, \"enable_moe_block\": true, \"num_experts\": 4, \"top_k_experts\": 2, \"use_double_wide_mlp\": false, \"attention_k_eq_v\": true | language_model.model.layers.0.experts.switch_glu.gate_proj language_model.model.layers.0.mlp.up_proj"})
    void whatIsWrittenIsComparedWithItsSource(String type, String settings, String modules) throws IOException {
        Path source = new TinyModel(type, settings).write(folder.resolve("source"));
        double eight = divergence(source, 8, List.of(modules.split(" ")));
        double three = divergence(source, 3, List.of(modules.split(" ")));
        assertTrue(eight > 0 && eight < 0.02 && three > 10 * eight && three < 2, eight + " " + three);
    }

    private double divergence(Path source, int bits, List<String> modules) throws IOException {
        Path out = folder.resolve("out" + bits);
        Cli.Result written = Cli.run("quantize", source, "--policy", "uniform", "--bits", bits, "--group", 32, "--quantizer", "rtn", "-o", out, "--no-progress");
        assertEquals(0, written.exitCode(), written.err());
        try (Checkpoint checkpoint = Checkpoint.open(out)) {
            Set<String> names = checkpoint.tensors().keySet();
            modules.forEach(module -> assertTrue(names.contains(module + ".scales"), module));
        }
        Cli.Result verified = Cli.run("verify", out, "--source", source);
        assertEquals(0, verified.exitCode(), verified.err());
        return EvalRuns.divergenceLikeNoise(out, source, EvalRuns.tokens(folder, 400));
    }

    @ParameterizedTest
    @ValueSource(strings = {"gemma4", "gemma4_text", "gemma3n"})
    void refinementIsRefusedBeforeAnythingIsDone(String type) throws IOException {
        Path source = new TinyModel(type, "").write(folder.resolve("source"));
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", source, "--policy", "uniform", "--bits", 4, "--group", 32, "--refine", "self", "-o", out, "--no-progress");
        assertEquals(5, r.exitCode(), r.err());
        assertEquals("ram: " + source.resolve("config.json") + ": is of a model_type whose layers share keys and values, or do more than attention and a feed-forward part, which --refine does not know; leave out --refine", r.sentence());
        assertFalse(Files.exists(out));
    }
}
