package ram.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.InputException;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// Checkpoints that are quantized already.
class SourcesTest {
    private static final String QWEN3 = "\"model_type\":\"qwen3\",\"num_hidden_layers\":1,\"tie_word_embeddings\":true";
    private static final String DOWN = "model.layers.0.mlp.down_proj";
    private static final LayoutOptions REQUANTIZE = new LayoutOptions(true);

    @TempDir
    Path folder;

    private final SafetensorsFile file = new SafetensorsFile();

    private void write(String config) throws IOException {
        Files.writeString(folder.resolve("config.json"), "{" + config + "}");
        file.add("model.embed_tokens.weight", DType.BF16, Shape.of(32, 32), new byte[2048]).write(folder.resolve("model.safetensors"));
    }

    private String refusal(LayoutOptions options) {
        String message = assertThrows(InputException.class, () -> Model.open(folder, options).close()).getMessage();
        assertEquals(1, message.lines().count());
        return message;
    }

    private static float[] values(Model model, String path) {
        Module module = model.layout().modules().stream().filter(m -> m.path().equals(path)).findFirst().orElseThrow();
        int n = Math.toIntExact(module.weight().shape().elements());
        MemorySegment data = MemorySegment.ofArray(new byte[n * module.weight().dtype().bytes()]);
        module.weight().read(0, data);
        float[] out = new float[n];
        Decoder.decode(module.weight().dtype(), data, 0, out, 0, n);
        return out;
    }

    private static byte[] ints(int... words) {
        ByteBuffer out = ByteBuffer.allocate(words.length * 4).order(ByteOrder.LITTLE_ENDIAN);
        Arrays.stream(words).forEach(out::putInt);
        return out.array();
    }

    private static byte[] filled(int length, int value) {
        byte[] out = new byte[length];
        Arrays.fill(out, (byte) value);
        return out;
    }

    /// Fused experts of a published kind: blocks of 128 that end inside each matrix.
    @Test
    void blocksOfStackedMatricesStartAnewInEachMatrix() throws IOException {
        String name = "model.language_model.layers.0.mlp.experts.down_proj";
        file.add(name, DType.F8_E4M3, Shape.of(2, 160, 192), filled(2 * 160 * 192, 0x38)).floats(name + "_scale_inv", Shape.of(2, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8);
        file.add("model.language_model.layers.0.self_attn.k_scale", DType.F32, Shape.of(), new byte[4]);
        write("\"model_type\":\"qwen3_5_moe\",\"text_config\":{\"num_hidden_layers\":1,\"num_experts\":2},\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}");
        try (Model model = Model.open(folder)) {
            float[] found = values(model, "language_model.model.layers.0.mlp.switch_mlp.down_proj");
            for (int i = 0; i < found.length; i++) {
                int expert = i / (160 * 192);
                assertEquals(1 + expert * 4 + i / 192 % 160 / 128 * 2 + i % 192 / 128, found[i], "element " + i);
            }
            assertEquals(List.of("model.language_model.layers.0.self_attn.k_scale"), model.layout().dropped().stream().map(Layout.Dropped::tensor).toList());
        }
    }

    @Test
    void oneScalePerColumnOfEachMatrixOrPerMatrix() throws IOException {
        String experts = "language_model.model.layers.0.feed_forward.experts.";
        float[] columns = new float[2 * 64];
        for (int i = 0; i < columns.length; i++) {
            columns[i] = i;
        }
        file.add(experts + "gate_up_proj", DType.F8_E4M3, Shape.of(2, 32, 64), filled(2 * 32 * 64, 0x38)).floats(experts + "gate_up_proj_scale", Shape.of(2, 1, 64), columns);
        file.add(experts + "down_proj", DType.F8_E4M3, Shape.of(2, 32, 32), filled(2 * 32 * 32, 0x40)).floats(experts + "down_proj_scale", Shape.of(2, 1, 1), 3, 5);
        write("\"model_type\":\"llama4\",\"text_config\":{\"num_hidden_layers\":1,\"num_local_experts\":2},\"quantization_config\":{\"quant_method\":\"fbgemm_fp8\"}");
        try (Model model = Model.open(folder)) {
            float[] up = values(model, experts + "up_proj");
            float[] down = values(model, experts + "down_proj");
            for (int i = 0; i < up.length; i++) {
                assertEquals(i / 1024 * 64 + 32 + i / 32 % 32, up[i], "row " + i / 32);
                assertEquals(i < 1024 ? 6 : 10, down[i]);
            }
        }
    }

    /// Weights under names of a method that nobody here knows.
    @Test
    void anUnknownMethodIsRefusedByItsName() throws IOException {
        file.add(DOWN + ".q_weight", DType.I32, Shape.of(4, 32), new byte[512]);
        write(QWEN3 + ",\"quantization_config\":{\"quant_method\":\"exl2\"}");
        assertTrue(refusal(LayoutOptions.DEFAULT).contains("says the model is quantized with the method 'exl2'"));
    }

    @Test
    void packsOfOtherThanFourBitsOrWithZeroPointsAreRefused() throws IOException {
        file.add(DOWN + ".weight_shape", DType.I64, Shape.of(2), new byte[16]).add(DOWN + ".weight_packed", DType.I32, Shape.of(4, 8), new byte[128]).add(DOWN + ".weight_scale", DType.BF16, Shape.of(4, 1), new byte[8]);
        write("\"model_type\":\"deepseek_v3\",\"num_hidden_layers\":1,\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"group_0\":{\"weights\":{\"num_bits\":8}}}}");
        assertTrue(refusal(LayoutOptions.DEFAULT).contains("compressed-tensors in 8 bits"));
        file.add(DOWN + ".weight_zero_point", DType.I32, Shape.of(1, 8), new byte[32]);
        file.write(folder.resolve("model.safetensors"));
        assertTrue(refusal(LayoutOptions.DEFAULT).contains("compressed-tensors with zero points"));
    }

    @Test
    void piecesThatBelongTogetherAreMissing() throws IOException {
        file.add(DOWN + ".weight_shape", DType.I64, Shape.of(2), new byte[16]);
        write("\"model_type\":\"deepseek_v3\",\"num_hidden_layers\":1");
        assertEquals("tensor '" + DOWN + ".weight_packed' is missing; the checkpoint is incomplete, download it again", refusal(LayoutOptions.DEFAULT).replaceFirst("^.*?: ", ""));
    }

    @Test
    void anEmbeddingThatTheHeadIsCopiedFromIsMissing() throws IOException {
        Files.writeString(folder.resolve("config.json"), "{\"model_type\":\"minicpm\",\"num_hidden_layers\":1}");
        file.add("model.layers.0.mlp.down_proj.weight", DType.BF16, Shape.of(32, 32), new byte[2048]).write(folder.resolve("model.safetensors"));
        assertTrue(refusal(LayoutOptions.DEFAULT).contains("tensor 'model.embed_tokens.weight' is missing"));
    }

    @Test
    void packsThatMlxDoesNotLoad() throws IOException {
        for (int groups : new int[] {2, 0}) {
            SafetensorsFile packed = new SafetensorsFile().add("model.embed_tokens.weight", DType.BF16, Shape.of(32, 32), new byte[2048])
                    .add(DOWN + ".weight", DType.U32, Shape.of(1, 4), new byte[16]).add(DOWN + ".scales", DType.BF16, Shape.of(1, groups), new byte[2 * groups])
                    .add(DOWN + ".biases", DType.BF16, Shape.of(1, groups), new byte[2 * groups]);
            Files.writeString(folder.resolve("config.json"), "{\"model_type\":\"gpt_oss\",\"num_hidden_layers\":1,\"quantization_config\":{\"quant_method\":\"mxfp4\"}}");
            packed.write(folder.resolve("model.safetensors"));
            String message = refusal(LayoutOptions.DEFAULT);
            assertTrue(message.contains(DOWN), message);
        }
    }

    /// A size that only config.json has must not be allocated.
    @Test
    void rowsThatTheConfigurationDoesNotCount() throws IOException {
        String mamba = "model.layers.0.mamba.";
        file.add(mamba + "in_proj.weight", DType.BF16, Shape.of(40, 32), new byte[40 * 64]).add(mamba + "conv1d.weight", DType.BF16, Shape.of(8, 1, 4), new byte[64]);
        for (String inner : List.of("8", "700000000")) {
            write("\"model_type\":\"falcon_h1\",\"num_hidden_layers\":1,\"tie_word_embeddings\":true,\"mamba_d_ssm\":" + inner + ",\"mamba_n_groups\":1,\"mamba_d_state\":4,\"mamba_n_heads\":2");
            assertTrue(refusal(LayoutOptions.DEFAULT).contains("the input projection has the shape [40×32], but by config.json it would have "), inner);
        }
    }

    @Test
    void byteFloatsWithoutScales() throws IOException {
        file.add(DOWN + ".weight", DType.F8_E4M3, Shape.of(32, 32), new byte[32 * 32]);
        write(QWEN3);
        assertTrue(refusal(LayoutOptions.DEFAULT).contains("tensor '" + DOWN + ".weight' is plain F8_E4M3, as no tensor of the checkpoint is a scale; cast the model to bfloat16 first"));
        file.floats("model.layers.1.mlp.down_proj.weight_scale_inv", Shape.of(1, 1), 1);
        write(QWEN3);
        assertTrue(refusal(LayoutOptions.DEFAULT).contains("its scale '" + DOWN + ".weight_scale_inv' is missing; the checkpoint is incomplete"));
    }

    @Test
    void scalesThatDoNotCoverTheCodes() throws IOException {
        file.add(DOWN + ".weight", DType.F8_E4M3, Shape.of(160, 192), new byte[160 * 192]).floats(DOWN + ".weight_scale_inv", Shape.of(3, 2), new float[6]);
        write(QWEN3 + ",\"quantization_config\":{\"quant_method\":\"fp8\"}");
        assertTrue(refusal(REQUANTIZE).contains("tensor '" + DOWN + ".weight' cannot be decoded: scales of shape"));
    }

    /// NVFP4: elements 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives in 4 bits, a scale in E4M3 per 16. MXFP8: E4M3 elements, a power of two per 32.
    @Test
    void allModesOfMlxAreDecodedOnRequest() throws IOException {
        String nv = "model.layers.0.mlp.up_proj";
        String mx = "model.layers.0.mlp.gate_proj";
        file.add(DOWN + ".weight", DType.U32, Shape.of(1, 4), ints(0x76543210, 0xFEDCBA98, 0x76543210, 0)).add(DOWN + ".scales", DType.BF16, Shape.of(1, 1), new byte[] {0, 0x40})
                .add(DOWN + ".biases", DType.BF16, Shape.of(1, 1), new byte[] {(byte) 0x80, (byte) 0xBF});
        file.add(nv + ".weight", DType.U32, Shape.of(1, 4), ints(0x76543210, 0xFEDCBA98, 0x76543210, 0)).add(nv + ".scales", DType.U8, Shape.of(1, 2), new byte[] {0x38, 0x44});
        file.add(mx + ".weight", DType.U32, Shape.of(1, 8), filled(32, 0x39)).add(mx + ".scales", DType.U8, Shape.of(1, 1), new byte[] {(byte) 129});
        write(QWEN3 + ",\"quantization\":{\"group_size\":32,\"bits\":4,\"" + nv + "\":{\"group_size\":16,\"bits\":4,\"mode\":\"nvfp4\"},\"" + mx + "\":{\"group_size\":32,\"bits\":8,\"mode\":\"mxfp8\"}}");
        float[] elements = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
        try (Model model = Model.open(folder, REQUANTIZE)) {
            float[] affine = values(model, DOWN);
            float[] nvfp4 = values(model, nv);
            for (int i = 0; i < 32; i++) {
                int code = i < 16 ? i : i < 24 ? i - 16 : 0;
                assertEquals(2 * code - 1, affine[i]);
                assertEquals(elements[code] * (i < 16 ? 1 : 3), nvfp4[i], "element " + i);
            }
            float[] expected = new float[32];
            Arrays.fill(expected, 1.125f * 4);
            assertEquals(Arrays.toString(expected), Arrays.toString(values(model, mx)));
            assertTrue(model.layout().architecture().assumptions().getFirst().contains("3 quantized modules are decoded and quantized again, which loses quality twice"));
            assertFalse(model.layout().config().has("quantization"));
            assertEquals(DType.BF16, OutputTypes.of(model.layout(), model.config(), Optional.empty()).main());
        }
        assertTrue(refusal(LayoutOptions.DEFAULT).contains("--requantize"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            "x":1                                              | does not say how the quantized module
            "quantization":{"group_size":32,"bits":4,"mode":"mxfp9"} | is not stored as config.json says
            "quantization":{"group_size":32,"bits":7}          | is not stored as config.json says
            "quantization":{"group_size":64,"bits":4}          | is not stored as config.json says
            """)
    void mlxSettingsThatCannotBe(String section, String reason) throws IOException {
        file.add(DOWN + ".weight", DType.U32, Shape.of(1, 4), new byte[16]).add(DOWN + ".scales", DType.BF16, Shape.of(1, 1), new byte[2]).add(DOWN + ".biases", DType.BF16, Shape.of(1, 1), new byte[2]);
        write(QWEN3 + "," + section);
        assertTrue(refusal(REQUANTIZE).contains(reason), refusal(REQUANTIZE));
    }

    @ParameterizedTest
    @CsvSource({
        "weight, I8, compressed-tensors, quantized with compressed-tensors (tensor 'model.layers.0.mlp.down_proj.weight' is I8[32×32])",
        "weight, U8, hqq, quantized with hqq (tensor",
        "weight_scale_2, F32, modelopt, quantized with NVFP4; download the original model",
        "weight_packed, U8, compressed-tensors, quantized with compressed-tensors; download the original model",
        "SCB, F32, '', quantized with bitsandbytes; download the original model",
    })
    void whatCannotBeDecodedIsRefused(String suffix, String type, String method, String reason) throws IOException {
        DType dtype = DType.named(type).orElseThrow();
        file.add(DOWN + "." + suffix, dtype, Shape.of(32, 32), new byte[1024 * dtype.bytes()]);
        write(QWEN3 + ",\"quantization_config\":{\"quant_method\":\"" + method + "\"}");
        assertTrue(refusal(REQUANTIZE).contains(reason), refusal(REQUANTIZE));
    }

    /// A section that is left over from a training run changes nothing when all weights are plain.
    @Test
    void leftOverSectionIsHarmless() throws IOException {
        file.add(DOWN + ".weight", DType.BF16, Shape.of(32, 32), new byte[2048]);
        write(QWEN3 + ",\"quantization_config\":{\"quant_method\":\"torchao\"}");
        try (Model model = Model.open(folder)) {
            assertEquals(2, model.layout().modules().size());
            assertFalse(model.layout().config().has("quantization_config"));
        }
    }
}
