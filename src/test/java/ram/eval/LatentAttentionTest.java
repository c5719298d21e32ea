package ram.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.tensor.Rows;

class LatentAttentionTest {
    @TempDir
    Path folder;

    /// Two heads of 3 rows and 2 columns; any stretch of the turned rows.
    @Test
    void headsAreTurnedOneByOne() {
        float[] stored = {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
        float[] expected = {1, 3, 5, 2, 4, 6, 10, 30, 50, 20, 40, 60};
        Rows turned = LatentAttention.headsTurned(new Rows() {
            @Override
            public long rows() {
                return 6;
            }

            @Override
            public int columns() {
                return 2;
            }

            @Override
            public void read(long firstRow, int count, float[] out) {
                System.arraycopy(stored, (int) firstRow * 2, out, 0, count * 2);
            }
        }, 2);
        assertEquals(4, turned.rows());
        assertEquals(3, turned.columns());
        for (int from = 0; from < 4; from++) {
            for (int count = 1; from + count <= 4; count++) {
                float[] out = new float[count * 3];
                turned.read(from, count, out);
                assertArrayEquals(Arrays.copyOfRange(expected, from * 3, (from + count) * 3), out);
            }
        }
    }

    /// Each class of mlx_lm says the epsilon of these norms in its own way.
    @ParameterizedTest
    @CsvSource({"deepseek_v2, 1e-6", "deepseek_v3, 1e-6", "kimi_k2, 1e-6", "glm4_moe_lite, 1e-5", "youtu_llm, 1e-5", "minicpm3, 1e-5"})
    void normsOfLatentVectorsHaveTheEpsilonOfTheirClass(String type, float eps) throws IOException {
        TinyModel tiny = new TinyModel(type, "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 1.0}, \"dim_model_base\": 8, \"scale_depth\": 1.4, \"scale_emb\": 3, \"n_shared_experts\": 1");
        try (EvalModel model = EvalModel.open(tiny.write(folder))) {
            assertEquals(eps, NetworkShape.of(model.weights().config()).latent().orElseThrow().eps());
        }
    }

    /// The control experiment reaches all that a quantization changes.
    @Test
    void allMatricesOfAModelAreAmongItsModules() throws IOException {
        TinyModel tiny = new TinyModel("deepseek_v3", "\"first_k_dense_replace\": 0, \"n_shared_experts\": 1, \"norm_topk_prob\": true");
        try (EvalModel model = EvalModel.open(tiny.write(folder))) {
            List<String> modules = Noise.modules(model.weights());
            for (String name : List.of("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "embed_q", "unembed_out", "o_proj")) {
                assertTrue(modules.contains("model.layers.1.self_attn." + name), name);
            }
            modules.forEach(path -> assertTrue(model.weights().matrix(path).isPresent(), path));
        }
    }
}
