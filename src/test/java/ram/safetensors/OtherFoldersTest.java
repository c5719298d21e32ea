package ram.safetensors;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.InputException;

/// What is often given for a model is refused by its own name.
class OtherFoldersTest {
    private static final String ADAPTER = "is an adapter (LoRA), not a model; merge it into its model first, and give the merged one";

    @TempDir
    Path folder;

    private void refused(Path given, String what) {
        assertEquals(given + ": " + what, assertThrows(InputException.class, () -> Checkpoint.open(given).close()).getMessage());
    }

    private void write(String file, String... tensors) throws IOException {
        SafetensorsFile out = new SafetensorsFile();
        for (String t : tensors) {
            out.floats(t, Shape.of(1), 1);
        }
        out.write(folder.resolve(file));
    }

    private void empty(String name) throws IOException {
        Files.createFile(folder.resolve(name));
    }

    @Test
    void gguf() throws IOException {
        empty("model-Q4_K_M.GGUF");
        refused(folder, "holds GGUF files, which ram does not read; give the folder of the original Hugging Face model");
        refused(folder.resolve("model-Q4_K_M.GGUF"), "is a GGUF file, which ram does not read; give the folder of the original Hugging Face model");
        refused(folder.resolve("none.gguf"), "does not exist; give the folder that holds config.json and the *.safetensors files");
        write("model.safetensors", "a");
        Checkpoint.open(folder).close();
    }

    @Test
    void rootOfACacheEntry() throws IOException {
        Files.createDirectories(folder.resolve("snapshots/1234abcd"));
        refused(folder, "is the root of a Hugging Face cache entry; give its folder snapshots/1234abcd");
        Files.createDirectories(folder.resolve("snapshots/5678"));
        refused(folder, "is the root of a Hugging Face cache entry; give one of the folders in its folder snapshots");
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void diffusers(boolean weights) throws IOException {
        empty("model_index.json");
        if (weights) {
            write("sd_xl_base_1.0.safetensors", "a");
        }
        refused(folder, "is a diffusers pipeline, not a language model; give the folder of a language model");
    }

    @Test
    void gitLfsPointer() throws IOException {
        Path file = folder.resolve("model.safetensors");
        Files.writeString(file, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n");
        assertEquals(file + ": is a git-LFS pointer, not the weights; run `git lfs pull` in its folder, or download the file",
                assertThrows(InputException.class, () -> Checkpoint.open(folder)).getMessage());
    }

    @ParameterizedTest
    @CsvSource({"adapter_model.safetensors, base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight, base_model.model.lm_head.weight",
        "adapters.safetensors, model.layers.0.self_attn.q_proj.lora_a, model.layers.0.self_attn.q_proj.lora_b",
        "model.safetensors, base_model.model.model.layers.0.mlp.up_proj.lora_B.default.weight, base_model.model.lm_head.weight"})
    void adapter(String file, String first, String second) throws IOException {
        empty("adapter_config.json");
        refused(folder, ADAPTER);
        write(file, first, second);
        refused(folder, ADAPTER);
        empty("config.json");
        refused(folder, ADAPTER);
    }

    /// As models with built-in adapters have them.
    @Test
    void adapterWithinAModel() throws IOException {
        write("model.safetensors", "model.layers.0.self_attn.q_proj.base_layer.weight", "model.layers.0.self_attn.q_proj.lora_A.speech.weight");
        Checkpoint.open(folder).close();
    }

    @Test
    void mistralsOwnFormat() throws IOException {
        write("consolidated-00001-of-00001.safetensors", "layers.0.attention.wq.weight", "tok_embeddings.weight");
        refused(folder, "holds the model in Mistral's own format alone; download the files of the Hugging Face format (model*.safetensors and config.json) too");
        write("model.safetensors", "model.layers.0.self_attn.q_proj.weight");
        Checkpoint.open(folder).close();
    }

    @Test
    void torchCompile() throws IOException {
        write("model.safetensors", "_orig_mod.model.norm.weight", "_orig_mod.lm_head.weight");
        refused(folder, "holds tensors whose names all begin with _orig_mod., as torch.compile has them; save the original module (its _orig_mod) instead");
    }
}
