package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.eval.TinyModel;
import ram.safetensors.Checkpoint;

/// Models some of whose layers do not attend, from the source to the divergence of what is written.
class HybridEvalTest {
    @TempDir
    Path folder;
    private Path tokens;

    @BeforeEach
    void writeTokens() throws IOException {
        tokens = EvalRuns.tokens(folder, 400);
    }

    @ParameterizedTest
    @CsvSource({"lfm2, conv.in_proj", "lfm2-vl, conv.out_proj", "lfm2_moe, conv.in_proj", "qwen3_next, linear_attn.in_proj_qkvz", "qwen3_5, linear_attn.in_proj_z", "qwen3_5_moe, linear_attn.out_proj", "granitemoehybrid, mamba.in_proj",
        "nemotron_h, mixer.in_proj", "nemotron_h, mixer.switch_mlp.fc1", "falcon_h1, mamba.in_proj", "mamba2, mixer.out_proj", "mamba, mixer.in_proj", "jamba, mamba.x_proj"})
    void whatIsWrittenIsComparedWithItsSource(String type, String module) throws IOException {
        Path source = new TinyModel(type, "").write(folder.resolve("source"));
        // as transformers writes it for Mamba
        Path config = source.resolve("config.json");
        Files.writeString(config, Files.readString(config).replaceAll("\"(mamba_d|ssm)_state(_size)?\":6", "$0,\"time_step_limit\":[0.0,Infinity]"));
        double eight = divergence(source, 8, module);
        double three = divergence(source, 3, module);
        assertTrue(eight > 0 && eight < 0.03 && three > 10 * eight && three < 2, eight + " " + three);
    }

    /// What a head is multiplied by, and which layers there are, stands in the config.json of both.
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "mamba      | mixer.dt_proj                      | \"intermediate_size\": 64, \"time_step_rank\": 32, \"tie_word_embeddings\": true",
        "jamba      | mamba.dt_proj                      | \"mamba_dt_rank\": 32, \"num_experts\": 1",
        "falcon_h1  | mamba.out_proj                     | \"tie_word_embeddings\": true, \"mamba_rms_norm\": true",
        "nemotron_h | switch_mlp.fc2                     | \"moe_latent_size\": 64, \"moe_intermediate_size\": 64, \"hybrid_override_pattern\": null, \"layers_block_type\": [\"moe\", \"mamba\", \"attention\"]",
        "nemotron_h | backbone.layers.1.mixer.down_proj  | \"intermediate_size\": 64, \"n_routed_experts\": null, \"hybrid_override_pattern\": \"M-*-\""})
    void otherSettingsAreReadFromBoth(String type, String module, String settings) throws IOException {
        double kl = divergence(new TinyModel(type, settings).write(folder.resolve("source")), 8, module);
        assertTrue(kl > 0 && kl < 0.03, "divergence " + kl);
    }

    private double divergence(Path source, int bits, String module) throws IOException {
        Path out = folder.resolve("out" + bits);
        Cli.Result written = Cli.run("quantize", source, "--policy", "uniform", "--bits", bits, "--group", 32, "--quantizer", "rtn", "-o", out, "--no-progress");
        assertEquals(0, written.exitCode(), written.err());
        try (Checkpoint checkpoint = Checkpoint.open(out)) {
            assertTrue(checkpoint.tensors().keySet().stream().anyMatch(name -> name.endsWith(module + ".scales")));
        }
        return EvalRuns.divergenceLikeNoise(out, source, tokens);
    }

    /// Noise as large as the errors is that of the same network only.
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "lfm2_moe   | ''                        | belongs to a model without the module model.layers.0.linear_attn.in_proj_qkvz, which its reference has",
        "qwen3_next | \"linear_num_value_heads\": 2 | belongs to a model whose module model.layers.0.linear_attn.in_proj_qkvz is 96×32, and 160×32 in its reference"})
    void theNoiseOfAnotherNetworkIsRefused(String type, String settings, String why) throws IOException {
        Path reference = new TinyModel("qwen3_next", "").write(folder.resolve("reference"));
        Path other = new TinyModel(type, settings).write(folder.resolve("other"));
        Cli.Result r = Cli.run("eval", other, "--reference", reference, "--tokens", tokens, "--seq-len", 50, "--samples", 2, "--noise-control", "--no-progress");
        assertEquals(5, r.exitCode(), r.err());
        assertEquals("ram: " + other.resolve("config.json") + ": " + why + "; give the model that it was made from as --reference, or leave out --noise-control", r.sentence());
    }

    /// Beside the modules that read the same, the one that comes after the mixer.
    @ParameterizedTest
    @CsvSource({"lfm2, conv.in_proj, conv.out_proj", "qwen3_next, linear_attn.in_proj_ba, linear_attn.out_proj", "granitemoehybrid, mamba.in_proj, mamba.out_proj"})
    void mixersAreRefined(String type, String reader, String output) throws IOException {
        Path source = new TinyModel(type, "").write(folder.resolve("source"));
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", source, "--policy", "uniform", "--bits", 4, "--group", 32, "--refine", "self:length=64", "-o", out, "--no-progress");
        assertEquals(0, r.exitCode(), r.err());
        JsonNode modules = new ObjectMapper().readTree(out.resolve("manifest.json").toFile()).path("refinement").path("modules");
        for (String module : List.of(reader, output)) {
            double ratio = modules.path("model.layers.0." + module).path("output_error_ratio").asDouble();
            assertTrue(ratio > 0 && ratio < 1, module + " " + ratio);
        }
        EvalRuns.divergenceLikeNoise(out, source, tokens);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"jamba | '' | has the mixer of the first Mamba",
        "nemotron_h | \"moe_latent_size\": 32 | is of a model_type whose layers share keys and values, or do more than attention and a feed-forward part"})
    void whatCannotBeRefinedIsRefusedBeforeAnythingIsDone(String type, String settings, String why) throws IOException {
        Path source = new TinyModel(type, settings).write(folder.resolve("source"));
        Path out = folder.resolve("out");
        Cli.Result r = Cli.run("quantize", source, "--policy", "uniform", "--bits", 4, "--group", 32, "--refine", "self", "-o", out, "--no-progress");
        assertEquals(5, r.exitCode(), r.err());
        assertEquals("ram: " + source.resolve("config.json") + ": " + why + ", which --refine does not know; leave out --refine", r.sentence());
        assertFalse(Files.exists(out));
    }
}
