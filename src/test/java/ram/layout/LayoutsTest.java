package ram.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.InputException;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.LittleEndian;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

class LayoutsTest {
    private static final String QWEN3 = "\"model_type\":\"qwen3\",\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"num_key_value_heads\":1,\"head_dim\":32,\"vocab_size\":32";

    @TempDir
    Path folder;

    private void config(String keys) throws IOException {
        Files.writeString(folder.resolve("config.json"), "{" + keys + "}");
    }

    private static SafetensorsFile zeros(SafetensorsFile file, String name, long... shape) {
        return file.add(name, DType.BF16, Shape.of(shape), new byte[Math.toIntExact(Shape.of(shape).elements() * 2)]);
    }

    private static SafetensorsFile decoder(SafetensorsFile file) {
        return decoder(file, "");
    }

    private static SafetensorsFile decoder(SafetensorsFile file, String prefix) {
        zeros(file, prefix + "model.embed_tokens.weight", 32, 32);
        zeros(file, prefix + "model.norm.weight", 32);
        for (String name : List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj")) {
            zeros(file, prefix + "model.layers.0." + name + ".weight", 32, 32);
        }
        return file;
    }

    private String refusal() {
        String message = assertThrows(InputException.class, () -> Model.open(folder).close()).getMessage();
        assertEquals(1, message.lines().count());
        return message;
    }

    private static Module module(Model model, String path) {
        return model.layout().modules().stream().filter(m -> m.path().equals(path)).findFirst().orElseThrow();
    }

    /// A wrapper's language model is made from `text_config`, and needs keys of its own there, or, in some classes, from the root.
    @Test
    void keysOfALanguageModelInside() throws IOException {
        String qwen2 = "\"hidden_size\":32,\"num_hidden_layers\":1,\"intermediate_size\":32,\"num_attention_heads\":1,\"num_key_value_heads\":1,\"rms_norm_eps\":1e-6,\"vocab_size\":32";
        assertEquals(List.of(), missingKeys("\"model_type\":\"qwen2_vl\"," + qwen2));
        assertEquals(List.of("config.json lacks vocab_size; mlx_lm would not load the folder without it"), missingKeys("\"model_type\":\"qwen2_vl\"," + qwen2.replace("vocab_size", "vocabulary")));
        assertEquals(List.of(), missingKeys("\"model_type\":\"qwen2_vl\",\"text_config\":{\"model_type\":\"qwen2_vl_text\"," + qwen2 + "}"));
        assertEquals(List.of("config.json lacks text_config.model_type; mlx_lm would not load the folder without it"), missingKeys("\"model_type\":\"qwen2_vl\",\"text_config\":{" + qwen2 + "}"));
        assertEquals(List.of("config.json lacks text_config.model_type; mlx_lm would not load the folder without it"), missingKeys("\"model_type\":\"gemma3\",\"text_config\":{}"));
        assertEquals(List.of("config.json lacks text_config; mlx_lm would not load the folder without it"), missingKeys("\"model_type\":\"gemma3\""));
    }

    private List<String> missingKeys(String settings) throws IOException {
        config(settings);
        return ModelClass.missingKeys(ModelConfig.read(folder));
    }

    /// mlx_lm's class for Qwen3 knows nothing of 8-bit sources; ram decodes them for every class.
    @Test
    void eightBitFloatsWithBlocksAreDecodedForAnyFamily() throws IOException {
        config(QWEN3 + ",\"tie_word_embeddings\":true,\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}");
        byte[] codes = new byte[160 * 192];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (byte) (i * 37 % 120);
        }
        float[] scales = {0.5f, 2, 0.25f, 8};
        decoder(new SafetensorsFile()).add("model.layers.0.mlp.down_proj.weight", DType.F8_E4M3, Shape.of(160, 192), codes)
                .floats("model.layers.0.mlp.down_proj.weight_scale_inv", Shape.of(2, 2), scales).write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            Module down = module(model, "model.layers.0.mlp.down_proj");
            assertEquals(DType.BF16, down.weight().dtype());
            MemorySegment read = MemorySegment.ofArray(new byte[160 * 192 * 2]);
            down.weight().read(0, read);
            float[] code = new float[codes.length];
            Decoder.decode(DType.F8_E4M3, MemorySegment.ofArray(codes), 0, code, 0, code.length);
            for (int r = 0; r < 160; r++) {
                for (int c = 0; c < 192; c++) {
                    float expected = Decoder.round(DType.BF16, code[r * 192 + c] * scales[r / 128 * 2 + c / 128]);
                    assertEquals(expected, Decoder.fromBf16(read.get(LittleEndian.SHORT, 2L * (r * 192 + c))), "row " + r + ", column " + c);
                }
            }
            assertFalse(model.layout().config().has("quantization_config"));
        }
    }

    @Test
    void eightBitFloatsWithOneScaleOrOnePerRow() throws IOException {
        config(QWEN3 + ",\"tie_word_embeddings\":false");
        byte[] codes = new byte[32 * 32];
        java.util.Arrays.fill(codes, (byte) 0x38);
        float[] rows = new float[32];
        for (int i = 0; i < 32; i++) {
            rows[i] = i;
        }
        decoder(new SafetensorsFile()).add("model.layers.0.mlp.down_proj.weight", DType.F8_E4M3, Shape.of(32, 32), codes).floats("model.layers.0.mlp.down_proj.weight_scale", Shape.of(32, 1), rows)
                .add("lm_head.weight", DType.F8_E4M3, Shape.of(32, 32), codes).floats("lm_head.weight_scale_inv", Shape.of(), 3)
                .write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            MemorySegment read = MemorySegment.ofArray(new byte[32 * 32 * 2]);
            module(model, "model.layers.0.mlp.down_proj").weight().read(0, read);
            assertEquals(7f, Decoder.fromBf16(read.get(LittleEndian.SHORT, 2 * (7 * 32 + 5))));
            module(model, "lm_head").weight().read(0, read);
            assertEquals(3f, Decoder.fromBf16(read.get(LittleEndian.SHORT, 2 * 99)));
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            "quantization_config":{"quant_method":"awq","bits":4}               | model.layers.0.mlp.down_proj.qweight       | quantized with AWQ; download the original model
            "quantization_config":{"quant_method":"gptq","bits":4}              | model.layers.0.mlp.down_proj.qweight       | quantized with GPTQ; download the original model
            "quantization_config":{"quant_method":"bitsandbytes"}               | model.layers.0.mlp.down_proj.absmax        | quantized with bitsandbytes; download the original model
            "quantization_config":{"quant_method":"compressed-tensors"}         | model.layers.0.mlp.down_proj.weight_packed | quantized with compressed-tensors; download the original model
            "x":1                                                               | model.layers.0.mlp.down_proj.qweight       | quantized with AWQ or GPTQ; download the original model
            """)
    void foreignQuantizationIsRefused(String section, String tensor, String reason) throws IOException {
        config(QWEN3 + "," + section);
        decoder(new SafetensorsFile()).add(tensor, DType.I32, Shape.of(4, 32), new byte[512]).write(folder.resolve("model.safetensors"));
        assertTrue(refusal().contains(reason), refusal());
    }

    @Test
    void onlyTheHeadOfATiedModel() throws IOException {
        config(QWEN3 + ",\"tie_word_embeddings\":true");
        SafetensorsFile file = new SafetensorsFile();
        zeros(file, "lm_head.weight", 32, 32);
        zeros(file, "model.norm.weight", 32);
        zeros(file, "model.layers.0.self_attn.q_proj.weight", 32, 32);
        file.write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            assertEquals(Kind.EMBEDDING, module(model, "model.embed_tokens").kind());
            assertEquals(List.of("lm_head.weight"), module(model, "model.embed_tokens").weight().sources());
            assertTrue(model.layout().architecture().assumptions().getFirst().contains("only lm_head.weight is stored"));
            assertTrue(model.layout().modules().stream().noneMatch(m -> m.kind() == Kind.HEAD));
        }
    }

    /// DeepSeek-V2-Lite: its queries have no low rank, which the usual configurations of the class have.
    @Test
    void projectionsOfUnusualConfigurationsAreModulesAndRawRoutersAreNot() throws IOException {
        config("\"model_type\":\"deepseek_v2\",\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"vocab_size\":32,\"n_routed_experts\":2,\"q_lora_rank\":null");
        SafetensorsFile file = experts(0, 1);
        zeros(file, "lm_head.weight", 32, 32);
        zeros(file, "model.layers.0.mlp.gate.weight", 2, 32);
        file.write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            assertEquals(Kind.Q, module(model, "model.layers.0.self_attn.q_proj").kind());
            assertEquals("mlx_lm cannot quantize it", model.layout().plain().stream().filter(p -> p.name().equals("model.layers.0.mlp.gate.weight")).findFirst().orElseThrow().why());
        }
    }

    /// Such as queries without a low rank in DeepSeek-V2-Lite and Moonlight, layers without experts, and norms that a setting adds.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            Klear              | model.layers.0.mlp.gate_proj.weight model.layers.0.mlp.up_proj.weight model.layers.0.mlp.down_proj.weight
            qwen3_vl_moe       | language_model.model.layers.0.mlp.gate_proj.weight language_model.model.layers.0.mlp.down_proj.weight
            mimo_v2_flash      | model.layers.0.mlp.shared_experts.gate_proj.weight
            deepseek_v2        | model.layers.0.self_attn.q_proj.weight
            deepseek_v3        | model.layers.0.self_attn.q_proj.weight
            glm4_moe_lite      | model.layers.0.self_attn.q_proj.weight
            kimi_vl            | language_model.model.layers.0.self_attn.q_proj.weight
            kimi_k25           | language_model.model.layers.0.self_attn.q_proj.weight
            longcat_flash      | model.layers.0.self_attn.1.q_proj.weight
            longcat_flash_ngram | model.layers.0.self_attn.1.q_proj.weight
            solar_open         | model.layers.0.self_attn.q_norm.weight
            bailing_moe        | model.layers.0.attention.query_layernorm.weight model.layers.0.attention.key_layernorm.weight
            bailing_moe_linear | model.layers.0.attention.query_layernorm.weight model.layers.0.attention.key_layernorm.weight
            gemma4_text        | model.layers.0.router.scale model.layers.0.router.per_expert_scale model.layers.0.pre_feedforward_layernorm_2.weight
            """)
    void tensorsOfUnusualConfigurationsAreKnown(String type, String names) {
        assertEquals(List.of(), ExpectedTensors.unlisted(Family.of(type).orElseThrow(), new ObjectMapper().createObjectNode(), List.of(names.split(" "))));
    }

    /// Qwen3-VL's mixtures and Klear say which layers have none.
    @ParameterizedTest
    @CsvSource({"Klear, model, mlp.experts", "qwen3_vl_moe, language_model.model, mlp.switch_mlp"})
    void aLayerWithoutExpertsIsNotMissed(String type, String prefix, String experts) throws IOException {
        config("\"model_type\":\"" + type + "\",\"text_config\":{}");
        Map<String, Shape> shapes = new TreeMap<>();
        for (int l = 0; l < 2; l++) {
            String layer = prefix + ".layers." + l + ".";
            Stream.of("gate_proj", "up_proj", "down_proj").map(p -> layer + (layer.contains(".0.") ? "mlp." : experts + ".") + p + ".weight").forEach(n -> shapes.put(n, Shape.of(32, 32)));
            shapes.put(layer + "self_attn.q_proj.weight", Shape.of(32, 32));
        }
        shapes.put(prefix + ".layers.1.mlp.gate.weight", Shape.of(2, 32));
        assertEquals(List.of(), ExpectedTensors.problems(ModelConfig.read(folder), shapes).stream().filter(p -> p.contains("feed-forward")).toList());
    }

    @Test
    void unknownTensorsAreReportedAndLeftOutWhereTheListOfParametersIsComplete() throws IOException {
        String strange = "model.layers.0.self_attn.strange.weight";
        zeros(decoder(new SafetensorsFile()), strange, 32, 32).write(folder.resolve("model.safetensors"));
        config(QWEN3 + ",\"tie_word_embeddings\":true");
        try (Model model = Model.open(folder)) {
            assertEquals(List.of(new Layout.Dropped(strange, "no parameter of mlx_lm's qwen3")), model.layout().dropped());
            assertEquals(List.of(strange + " left out: mlx_lm's qwen3 has no such parameter"), model.layout().architecture().assumptions());
        }
        config("\"model_type\":\"qwen3_moe\",\"num_hidden_layers\":1,\"norm_topk_prob\":true,\"tie_word_embeddings\":true,\"vocab_size\":32");
        try (Model model = Model.open(folder)) {
            assertEquals("unknown to mlx_lm's qwen3_moe, kept as it is", model.layout().plain().stream().filter(p -> p.name().equals(strange)).findFirst().orElseThrow().why());
        }
    }

    private SafetensorsFile experts(int... present) {
        SafetensorsFile file = decoder(new SafetensorsFile());
        for (int e : present) {
            for (String name : List.of("gate_proj", "up_proj", "down_proj")) {
                zeros(file, "model.layers.0.mlp.experts." + e + "." + name + ".weight", 32, 32);
            }
        }
        return file;
    }

    private void moe(int experts) throws IOException {
        config(QWEN3.replace("qwen3", "qwen3_moe") + ",\"tie_word_embeddings\":true,\"num_experts\":" + experts + ",\"moe_intermediate_size\":32");
    }

    @Test
    void expertMissingInTheMiddle() throws IOException {
        moe(4);
        experts(0, 1, 3).write(folder.resolve("model.safetensors"));
        assertTrue(refusal().contains("expert 2 of 4 is missing for model.layers.0.mlp.switch_mlp."), refusal());
    }

    @Test
    void moreExpertsThanTheConfigSays() throws IOException {
        moe(2);
        experts(0, 1, 2).write(folder.resolve("model.safetensors"));
        assertTrue(refusal().contains("has 3 experts, but config.json says 2 (num_experts)"), refusal());
    }

    @Test
    void expertsOfDifferentShapesOrTypes() throws IOException {
        moe(3);
        SafetensorsFile file = experts(0, 1);
        zeros(file, "model.layers.0.mlp.experts.2.gate_proj.weight", 32, 64);
        zeros(file, "model.layers.0.mlp.experts.2.up_proj.weight", 32, 32);
        zeros(file, "model.layers.0.mlp.experts.2.down_proj.weight", 32, 32);
        file.write(folder.resolve("model.safetensors"));
        assertTrue(refusal().contains("tensor 'model.layers.0.mlp.experts.2.gate_proj.weight' is BF16[32×64], but its neighbours"), refusal());
        file = experts(0, 1);
        file.floats("model.layers.0.mlp.experts.2.gate_proj.weight", Shape.of(32, 32), new float[1024]);
        zeros(file, "model.layers.0.mlp.experts.2.up_proj.weight", 32, 32);
        zeros(file, "model.layers.0.mlp.experts.2.down_proj.weight", 32, 32);
        file.write(folder.resolve("model.safetensors"));
        assertTrue(refusal().contains("is F32[32×32], but its neighbours"), refusal());
    }

    /// mlx_lm itself looks for experts in layer 0 only, and leaves rotary tables and further layers in for most classes, which it then refuses.
    @Test
    void whatMlxLmWouldStumbleOver() throws IOException {
        config(QWEN3.replace("qwen3", "qwen3_moe").replace("\"num_hidden_layers\":1", "\"num_hidden_layers\":2") + ",\"tie_word_embeddings\":true,\"num_experts\":2,\"moe_intermediate_size\":32");
        SafetensorsFile file = decoder(new SafetensorsFile());
        zeros(file, "model.layers.0.mlp.down_proj.weight", 32, 32);
        zeros(file, "model.layers.0.self_attn.rotary_emb.inv_freq", 16);
        zeros(file, "model.layers.2.self_attn.q_proj.weight", 32, 32);
        zeros(file, "lm_head.weight", 32, 32);
        for (int e = 0; e < 2; e++) {
            for (String name : List.of("gate_proj", "up_proj", "down_proj")) {
                zeros(file, "model.layers.1.mlp.experts." + e + "." + name + ".weight", 32, 32);
            }
        }
        file.write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            assertEquals(2, module(model, "model.layers.1.mlp.switch_mlp.up_proj").parts().size());
            assertEquals(List.of("lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.2.self_attn.q_proj.weight"),
                    model.layout().dropped().stream().map(Layout.Dropped::tensor).sorted().toList());
            assertTrue(model.layout().plain().stream().noneMatch(p -> p.why().contains("unknown")));
        }
    }

    private ObjectNode output(String config, SafetensorsFile tensors) throws IOException {
        config(config + ",\"hidden_size\":64,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"vocab_size\":32");
        tensors.write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            return model.layout().config();
        }
    }

    /// Classes that read single keys would take their defaults for what newer configs keep together.
    @Test
    void rotarySettingsAreUnrolled() throws IOException {
        String llama3 = "{\"rope_type\":\"llama3\",\"rope_theta\":500000.0,\"factor\":8.0}";
        for (String type : List.of("llama", "qwen3", "qwen2", "mixtral", "smollm3")) {
            ObjectNode out = output("\"model_type\":\"" + type + "\",\"rope_parameters\":" + llama3, decoder(new SafetensorsFile()));
            assertEquals(5e5, out.path("rope_theta").asDouble(), type);
            assertEquals("llama3 llama3 8.0", out.at("/rope_scaling/type").asText() + " " + out.at("/rope_scaling/rope_type").asText() + " " + out.at("/rope_scaling/factor").asText(), type);
        }
        ObjectNode plain = output("\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":7.0}", decoder(new SafetensorsFile()));
        assertEquals(7, plain.path("rope_theta").asDouble());
        assertFalse(plain.has("rope_scaling"));
        ObjectNode said = output("\"model_type\":\"llama\",\"rope_theta\":9.0,\"rope_parameters\":" + llama3, decoder(new SafetensorsFile()));
        assertEquals(9, said.path("rope_theta").asDouble(), "what the source says itself stays");
        ObjectNode nested = output("\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"rope_theta\":3.0,\"factor\":8.0},"
                + "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":2.0}}", decoder(new SafetensorsFile()));
        assertEquals(List.of(3.0, 2.0, 8.0), List.of(nested.path("rope_theta").asDouble(), nested.path("rope_local_base_freq").asDouble(), nested.at("/rope_scaling/factor").asDouble()));
        assertFalse(output("\"model_type\":\"lfm2\",\"rope_parameters\":" + llama3, decoder(new SafetensorsFile())).has("rope_theta"), "this class reads rope_parameters itself");
    }

    @Test
    void theWrapperOfGemma3HasTheVocabularyOfItsText() throws IOException {
        config("\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\",\"num_hidden_layers\":1,\"vocab_size\":32}");
        decoder(new SafetensorsFile(), "language_model.").write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            assertEquals(32, model.layout().config().path("vocab_size").asInt());
            assertEquals("8 heads, 4 of keys", ModelClass.settings(model.layout()).path("num_attention_heads") + " heads, " + ModelClass.settings(model.layout()).path("num_key_value_heads") + " of keys",
                    "the wrapper's defaults, which are not those of its text class");
        }
    }

    @Test
    void tensorsThatTheClassIsNotKnownToHaveAreNamed() throws IOException {
        config("\"model_type\":\"qwen2_moe\",\"num_hidden_layers\":1,\"vocab_size\":32,\"tie_word_embeddings\":true");
        decoder(new SafetensorsFile()).write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            assertTrue(model.layout().architecture().assumptions().contains("model.layers.0.mlp.gate_proj.weight and 1 more are not among the known parameters of mlx_lm's qwen2_moe; "
                    + "it refuses the folder if it does not know them"), model.layout().architecture().assumptions().toString());
        }
    }

    /// Settings that only the tensors, or the defaults of transformers' class, tell.
    @Test
    void whatConfigLeavesOutIsReadFromTheTensors() throws IOException {
        SafetensorsFile file = decoder(new SafetensorsFile());
        zeros(file, "model.layers.0.self_attn.q_proj.bias", 32);
        String glm = "\"model_type\":\"glm4_moe\",\"num_hidden_layers\":1,\"hidden_size\":32,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":32,\"tie_word_embeddings\":true";
        config(glm);
        file.write(folder.resolve("model.safetensors"));
        ObjectNode out;
        try (Model model = Model.open(folder)) {
            out = model.layout().config();
        }
        assertTrue(out.path("attention_bias").asBoolean() && out.path("norm_topk_prob").asBoolean() && !out.path("use_qk_norm").asBoolean(), out.toString());
        assertEquals(16, out.path("head_dim").asInt());
        config("\"model_type\":\"dots1\",\"num_hidden_layers\":1,\"vocab_size\":32,\"tie_word_embeddings\":true");
        decoder(new SafetensorsFile()).write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            assertTrue(model.layout().architecture().assumptions().stream().anyMatch(a -> a.startsWith("config.json does not say norm_topk_prob: false is written")));
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            olmo2 | true  | q_proj k_proj v_proj        | self_attn.o_proj.bias' is missing
            olmo2 | false | o_proj                      | self_attn.o_proj.bias' is no parameter of olmo2
            glm4  | true  | q_proj k_proj               | self_attn.v_proj.bias' is missing
            glm4  | true  | q_proj k_proj v_proj o_proj | self_attn.o_proj.bias' is no parameter of glm4
            phi3  | true  | qkv_proj                    | self_attn.qkv_proj.bias' is no parameter of phi3
            """)
    void biasesAreThoseThatTheSettingsAskFor(String type, boolean asked, String biased, String why) throws IOException {
        String[] biases = Arrays.stream(biased.split(" ")).map(m -> m + ".bias").toArray(String[]::new);
        List<String> found = problems(type, ",\"attention_bias\":" + asked, biases).stream().filter(p -> p.contains(".bias'")).toList();
        assertEquals(1, found.size(), found.toString());
        assertTrue(found.getFirst().contains(why), found.toString());
    }

    private List<String> problems(String type, String settings, String... more) throws IOException {
        config("\"model_type\":\"" + type + "\"," + (settings.contains("num_hidden_layers") ? "" : "\"num_hidden_layers\":1,") + "\"hidden_size\":32,\"intermediate_size\":32,\"num_attention_heads\":1,\"vocab_size\":32,\"tie_word_embeddings\":true" + settings);
        Map<String, Shape> shapes = new TreeMap<>();
        for (String name : List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")) {
            shapes.put("model.layers.0." + name + ".weight", Shape.of(32, 32));
        }
        shapes.put("model.embed_tokens.weight", Shape.of(32, 32));
        for (String name : List.of("layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm")) {
            shapes.put("model." + name + ".weight", Shape.of(32));
        }
        for (String name : more) {
            shapes.put("model.layers.0.self_attn." + name, Shape.of(32));
        }
        return ExpectedTensors.problems(ModelConfig.read(folder), shapes);
    }

    @Test
    void biasesAndNormsOfQueriesAreThereWhereTheClassHasThemAndOnlyThere() throws IOException {
        assertEquals(List.of(), problems("llama", ""));
        assertEquals(List.of(), problems("llama", ",\"attention_bias\":true", "q_proj.bias", "k_proj.bias", "v_proj.bias", "o_proj.bias"));
        assertEquals(List.of(missing("self_attn.o_proj.bias")), problems("llama", ",\"attention_bias\":true", "q_proj.bias", "k_proj.bias", "v_proj.bias"));
        assertEquals(Stream.of("mlp.down_proj.bias", "mlp.gate_proj.bias", "mlp.up_proj.bias").map(LayoutsTest::missing).toList(), problems("llama", ",\"mlp_bias\":true"));
        assertEquals("tensor 'model.layers.0.self_attn.q_proj.bias' is no parameter of llama; mlx_lm would refuse it", problems("llama", ",\"mlp_bias\":true", "q_proj.bias").getLast());
        assertEquals(List.of("tensor 'model.layers.0.self_attn.q_proj.bias' is no parameter of llama; mlx_lm would refuse it"), problems("llama", "", "q_proj.bias"));
        assertEquals(List.of(), problems("qwen2", "", "q_proj.bias", "k_proj.bias", "v_proj.bias"));
        assertEquals(List.of("tensor 'model.layers.0.self_attn.q_proj.bias' is missing; mlx_lm would not load the folder without it"), problems("qwen2", "", "k_proj.bias", "v_proj.bias"));
        assertEquals(List.of(), problems("qwen3", "", "q_norm.weight", "k_norm.weight"));
        assertEquals(List.of("tensor 'model.layers.0.self_attn.q_norm.weight' is missing; mlx_lm would not load the folder without it"), problems("qwen3", "", "k_norm.weight"));
        assertEquals(List.of(), problems("hunyuan_v1_dense", ",\"use_qk_norm\":false"));
        assertEquals(2, problems("hunyuan_v1_dense", ",\"use_qk_norm\":true").size());
    }

    /// StableLM 2 12B has one norm a layer, and its smaller siblings have two.
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aNormThatASettingTakesAwayIsNotMissed(boolean parallel) throws IOException {
        config("\"model_type\":\"stablelm\",\"num_hidden_layers\":1,\"hidden_size\":32,\"vocab_size\":32,\"use_qkv_bias\":false,\"use_parallel_residual\":" + parallel);
        List<String> missing = ExpectedTensors.problems(ModelConfig.read(folder), Map.of()).stream().filter(p -> p.contains("post_attention_layernorm")).toList();
        assertEquals(parallel ? List.of() : List.of(missing("post_attention_layernorm.bias"), missing("post_attention_layernorm.weight")), missing);
    }

    private static String missing(String name) {
        return "tensor 'model.layers.0." + name + "' is missing; mlx_lm would not load the folder without it";
    }

    /// A million layers are as many problems, of which the first few will do.
    @Test
    void countsOfLayersThatCannotBeAreRefused() throws IOException {
        assertTrue(problems("llama", ",\"num_hidden_layers\":1000000000").size() <= 20);
        for (String count : List.of("4294967297.5", "\"1\"", "1e300")) {
            assertEquals(List.of("config.json has no number of layers as num_hidden_layers; mlx_lm would not load the folder"), problems("llama", ",\"num_hidden_layers\":" + count), count);
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"w3 | block_sparse_moe.switch_mlp.up_proj.weight", "gate | block_sparse_moe.gate.weight"})
    void anExpertsProjectionAndTheRouterAreMissed(String without, String tensor) throws IOException {
        assertEquals(List.of(missing(tensor)), mixtralProblems(n -> n.contains("layers.0.") && n.contains("." + without + ".")));
    }

    @Test
    void aLayerWithoutItsExpertsIsMissed() throws IOException {
        assertEquals(List.of(), mixtralProblems(_ -> false));
        assertEquals(List.of("layer 1 has attention, but no feed-forward network such as model.layers.1.block_sparse_moe.switch_mlp; mlx_lm would not load the folder without it"),
                mixtralProblems(n -> n.contains("layers.1.block")).stream().filter(p -> !p.startsWith("tensor")).toList());
    }

    private List<String> mixtralProblems(Predicate<String> missing) throws IOException {
        config("\"model_type\":\"mixtral\",\"num_hidden_layers\":2,\"hidden_size\":32,\"intermediate_size\":32,\"num_attention_heads\":1,\"num_key_value_heads\":1,\"vocab_size\":32,"
                + "\"num_local_experts\":2,\"num_experts_per_tok\":1,\"tie_word_embeddings\":true");
        SafetensorsFile file = new SafetensorsFile();
        List<String> names = new ArrayList<>(List.of("model.embed_tokens.weight"));
        for (int l = 0; l < 2; l++) {
            String layer = "model.layers." + l + ".";
            Stream.of("q_proj", "k_proj", "v_proj", "o_proj").forEach(p -> names.add(layer + "self_attn." + p + ".weight"));
            names.add(layer + "block_sparse_moe.gate.weight");
            for (int e = 0; e < 2; e++) {
                String expert = layer + "block_sparse_moe.experts." + e + ".";
                Stream.of("w1", "w2", "w3").forEach(p -> names.add(expert + p + ".weight"));
            }
        }
        for (String name : names) {
            if (!missing.test(name)) {
                zeros(file, name, 32, 32);
            }
        }
        Stream.of("norm", "layers.0.input_layernorm", "layers.0.post_attention_layernorm", "layers.1.input_layernorm", "layers.1.post_attention_layernorm").forEach(n -> zeros(file, "model." + n + ".weight", 32));
        file.write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            return ExpectedTensors.problems(model.layout(), model.config());
        }
    }

    /// mlx_lm makes the rotary embeddings before it reads a tensor, and stops at what it does not know.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            llama     | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic', and mlx_lm's llama knows only default, linear, llama3, yarn
            mistral   | {"type":"su","rope_type":"linear","factor":2.0}  | of the type 'su'
            qwen3     | {"type":"","rope_type":"dynamic"}                | of the type 'dynamic', and mlx_lm's qwen3
            smollm3   | {"rope_type":null}                               | of the type 'null'
            qwen2     | {"type":"linear"}                                | of the type 'linear' without factor, which mlx_lm's qwen2 needs
            olmo2     | {"rope_type":"llama3","factor":null}             | of the type 'llama3' without factor
            granite   | {"rope_type":"longrope","short_factor":[1.0],"original_max_position_embeddings":8} | of the type 'longrope' without long_factor
            olmoe     | {"rope_type":"mrope","mrope_section":[1,2]}      | of the type 'mrope' without mrope_section[3]
            phi3      | {"rope_type":"longrope","long_factor":[1.0],"short_factor":[1.0]} | rope_scaling without type, which mlx_lm's phi3 needs
            phi3      | {"type":"su","long_factor":[1.0]}                | of the type 'su' without short_factor
            phi3      | {"type":"yarn","factor":2.0}                     | of the type 'yarn' without long_factor
            phi3      | {"type":"linear","long_factor":[1.0],"factor":2} | of the type 'linear' without float(factor), which mlx_lm's phi3 needs
            internlm2 | {"type":"yarn","factor":2.0}                     | of the type 'yarn', and mlx_lm's internlm2 knows only linear, dynamic
            internlm2 | {"rope_type":"linear","factor":2.0}              | rope_scaling without type, which mlx_lm's internlm2 needs
            internlm3 | {"rope_type":"dynamic"}                          | of the type 'dynamic' without factor
            hunyuan_v1_dense | {"type":"dynamic","factor":1.0}           | of the type 'dynamic' without alpha, which mlx_lm's hunyuan_v1_dense needs
            hunyuan   | {"type":"dynamic","alpha":1000.0}                | of the type 'dynamic' without factor
            telechat3 | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic', and mlx_lm's telechat3 knows only default
            iquestloopcoder | {"rope_type":"dynamic","factor":2.0}       | of the type 'dynamic'
            mimo      | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            minicpm   | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            exaone4   | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            olmo3     | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            dots1     | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            apertus   | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            youtu_llm | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            bailing_moe | {"rope_type":"dynamic","factor":2.0}           | of the type 'dynamic'
            gpt_oss   | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            deepseek_v3 | {"rope_type":"dynamic","factor":2.0}           | of the type 'dynamic'
            qwen2_vl  | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            qwen2_moe | {"rope_type":"linear","factor":2.0}              | rope_scaling without type, which mlx_lm's qwen2_moe needs
            qwen2_moe | {"type":"yarn","factor":2.0}                     | of the type 'yarn', and mlx_lm's qwen2_moe knows only linear
            qwen2_moe | {"type":"linear"}                                | of the type 'linear' without factor
            llama     | [1.0]                                            | rope_scaling that is no object, which mlx_lm's llama cannot read
            deepseek  | {"type":"linear","factor":2}                     | of the type 'linear' without float(factor), which mlx_lm's deepseek needs
            deepseek  | {"rope_type":"yarn","factor":2.0}                | rope_scaling without type, which mlx_lm's deepseek needs
            nemotron  | {"type":"yarn","factor":2.0}                     | of the type 'yarn', and mlx_lm's nemotron knows only linear
            nemotron  | {"rope_type":"linear","factor":2.0}              | rope_scaling without type, which mlx_lm's nemotron needs
            nemotron-nas | {"type":"llama3","factor":8.0}                | of the type 'llama3' without rope_type, which mlx_lm's nemotron-nas needs
            nemotron-nas | {"rope_type":"default"}                       | of the type 'default' without factor
            deepseek_v2 | {"type":"yarn"}                                | of the type 'yarn' without factor, which mlx_lm's deepseek_v2 needs
            deepseek_v2 | {}                                             | of the type 'yarn' without factor
            phimoe    | {"type":"longrope","short_factor":[1.0],"long_factor":[1.0]} | of the type 'longrope' without short_mscale, which mlx_lm's phimoe needs
            afmoe     | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic', and mlx_lm's afmoe knows only default
            bailing_moe_linear | {"rope_type":"dynamic","factor":2.0}    | of the type 'dynamic'
            exaone_moe | {"rope_type":"dynamic","factor":2.0}            | of the type 'dynamic'
            falcon_h1 | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            step3p5   | {"rope_type":"dynamic","factor":2.0}             | of the type 'dynamic'
            deepseek_v32 | {"rope_type":"dynamic","factor":2.0}          | of the type 'dynamic'
            glm4_moe_lite | {"rope_type":"dynamic","factor":2.0}         | of the type 'dynamic'
            gemma3_text | {"rope_type":"dynamic","factor":2.0}           | of the type 'dynamic'
            minicpm3  | [1.0]                                            | rope_scaling that is no object
            """)
    void rotaryEmbeddingsThatTheClassCannotMakeAreRefused(String type, String scaling, String why) throws IOException {
        String remedy = "; correct it, or remove it, which leaves the model the context length it was first trained with";
        List<String> found = problems(type, ",\"rope_scaling\":" + scaling).stream().filter(p -> p.contains("rope_scaling")).toList();
        assertEquals(1, found.size(), found.toString());
        String problem = found.getFirst();
        assertTrue(problem.startsWith("config.json has rope_scaling") && problem.contains(why) && problem.endsWith(remedy + "; mlx_lm would not load the folder"), problem);
        config("\"model_type\":\"" + type + "\",\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"vocab_size\":32,"
                + "\"num_experts\":2,\"tie_word_embeddings\":true,\"rope_scaling\":" + scaling);
        decoder(new SafetensorsFile()).write(folder.resolve("model.safetensors"));
        String message = refusal();
        assertTrue(message.startsWith(folder.resolve("config.json") + ": has rope_scaling") && message.contains(why) && message.endsWith(remedy), message);
    }

    /// Their tensors have other names, or they read text_config.
    @ParameterizedTest
    @ValueSource(strings = {"exaone", "pixtral", "gemma3", "kimi_k25", "kimi_vl", "llama4", "longcat_flash", "longcat_flash_ngram", "qwen3_vl"})
    void rotaryEmbeddingsOfAnOutputThatTheClassCannotMakeAreFound(String type) throws IOException {
        String scaling = "\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2.0}";
        assertEquals(1, problems(type, "," + scaling + ",\"text_config\":{" + scaling + "}").stream().filter(p -> p.contains("of the type 'dynamic', and mlx_lm's " + type + " knows only default")).count());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            llama     | null
            llama     | {}
            llama     | {"factor":2.0}
            qwen2     | {"type":"mrope","mrope_section":[1,2,3]}
            qwen3     | {"type":null,"rope_type":"yarn","factor":2.0}
            granite   | {"type":"linear","rope_type":"dynamic","factor":2.0}
            olmo2     | {"rope_type":"longrope","short_factor":[1.0],"long_factor":[1.0],"original_max_position_embeddings":8}
            qwen2_moe | {"type":"linear","factor":2.0}
            qwen2_moe | {}
            mixtral   | {"rope_type":"dynamic"}
            phi3      | {"type":"linear","long_factor":[1.0],"factor":2.0}
            internlm2 | {"type":"dynamic","factor":2.0}
            internlm3 | {"rope_type":"dynamic","factor":6.0}
            hunyuan_v1_dense | {"alpha":1000.0,"beta_fast":32,"beta_slow":1,"factor":1.0,"mscale":1.0,"mscale_all_dim":1.0,"type":"dynamic"}
            hunyuan   | {"alpha":1000.0,"factor":1.0,"type":"dynamic"}
            exaone    | {"factor":8.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"}
            exaone4   | {"factor":16.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"}
            apertus   | {"factor":8.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"}
            olmo3     | {"attention_factor":1.2079441541679836,"beta_fast":32.0,"beta_slow":1.0,"factor":8.0,"original_max_position_embeddings":8192,"rope_type":"yarn"}
            gpt_oss   | {"beta_fast":32.0,"beta_slow":1.0,"factor":32.0,"original_max_position_embeddings":4096,"rope_type":"yarn","truncate":false}
            deepseek_v3 | {"beta_fast":32,"beta_slow":1,"factor":40,"mscale":1.0,"mscale_all_dim":1.0,"original_max_position_embeddings":4096,"type":"yarn"}
            qwen2_vl  | {"type":"mrope","mrope_section":[16,24,24]}
            minicpm   | {"rope_type":"longrope","long_factor":[1.0],"short_factor":[1.0],"original_max_position_embeddings":32768}
            minicpm3  | {"type":"longrope","long_factor":[1.0],"short_factor":[1.0],"original_max_position_embeddings":32768}
            minicpm3  | {}
            deepseek  | {"type":"yarn","factor":2}
            deepseek_v2 | {"beta_fast":32,"beta_slow":1,"factor":40,"mscale":0.707,"mscale_all_dim":0.707,"original_max_position_embeddings":4096,"type":"yarn"}
            phimoe    | {"long_factor":[1.0],"long_mscale":1.243163121016122,"original_max_position_embeddings":4096,"short_factor":[1.0],"short_mscale":1.243163121016122,"type":"longrope"}
            nemotron  | null
            nemotron-nas | {"factor":8.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"}
            falcon_h1 | null
            gemma3_text | {"factor":8.0,"rope_type":"linear"}
            glm4_moe  | {"rope_type":"dynamic"}
            hunyuan_v1_dense | null
            """)
    void rotaryEmbeddingsThatItCanMakeAreNot(String type, String scaling) throws IOException {
        assertEquals(List.of(), problems(type, ",\"rope_scaling\":" + scaling).stream().filter(p -> p.contains("rope_scaling")).toList());
    }

    /// Some classes read it whatever it is. Phi-mini-MoE is published without.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            phimoe      | {"type":"longrope","short_factor":1.0,"long_factor":1.0,"short_mscale":1.0,"long_mscale":1.0}
            deepseek_v2 | {"type":"yarn","factor":1.0}
            hunyuan     | {"type":"dynamic","alpha":1.0,"factor":1.0}
            minicpm3    | {"type":"longrope","original_max_position_embeddings":512,"short_factor":1.0,"long_factor":1.0}
            """)
    void rotaryEmbeddingsThatAClassCannotBeMadeWithout(String type, String unscaled) throws IOException {
        String none = "has no rope_scaling, without which mlx_lm's " + type + " cannot be made";
        assertEquals(1, problems(type, ",\"rope_scaling\":null").stream().filter(p -> p.startsWith("config.json " + none)).count());
        config("\"model_type\":\"" + type + "\",\"num_hidden_layers\":1,\"vocab_size\":32,\"num_local_experts\":2,\"max_position_embeddings\":512,\"tie_word_embeddings\":true,\"rope_scaling\":null");
        decoder(new SafetensorsFile()).write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            assertEquals(new ObjectMapper().readTree(unscaled), model.layout().config().path("rope_scaling"));
            assertTrue(model.layout().architecture().assumptions().contains("config.json " + none + ": one that changes nothing is written"));
        }
    }

    /// Some classes read rope_parameters and nothing else.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            ministral3  | {"rope_type":"yarn","rope_theta":1000000.0,"factor":16.0,"llama_4_scaling_beta":0.1,"original_max_position_embeddings":16384,"type":"yarn"} |
            mistral3    | {"rope_type":"yarn","rope_theta":1000000.0,"factor":16.0,"llama_4_scaling_beta":0.1,"original_max_position_embeddings":16384,"type":"yarn"} |
            ministral3  | {"rope_type":"yarn","factor":16.0,"original_max_position_embeddings":16384} | has rope_parameters of the type 'yarn' without rope_theta, which mlx_lm's ministral3 needs
            mistral3    | {"rope_type":"yarn","factor":16.0,"original_max_position_embeddings":16384} | has rope_parameters of the type 'yarn' without rope_theta
            ministral3  | {"rope_type":"dynamic","rope_theta":1000000.0,"factor":16.0} | has rope_parameters of the type 'dynamic', and mlx_lm's ministral3 knows only default
            ministral3  | null                                              | has no rope_parameters, without which mlx_lm's ministral3 cannot be made
            mistral3    | null                                              | has no rope_parameters, without which mlx_lm's mistral3 cannot be made
            ministral3  | {"rope_type":"default","rope_theta":1000000.0,"original_max_position_embeddings":16384} | has no llama_4_scaling_beta in its rope_parameters that is a number, and mlx_lm's ministral3 computes with it; it would stop at the first token
            ministral3  | {"rope_type":"default","rope_theta":1000000.0,"original_max_position_embeddings":16384,"llama_4_scaling_beta":null} | has no llama_4_scaling_beta in its rope_parameters that is a number
            ministral3  | {"rope_type":"default","rope_theta":1000000.0,"llama_4_scaling_beta":0.1} | has no original_max_position_embeddings in its rope_parameters that is a number
            mistral3    | {"rope_type":"default","rope_theta":1000000.0,"original_max_position_embeddings":16384} | has no llama_4_scaling_beta in its rope_parameters that is a number, and mlx_lm's mistral3 computes with it
            ministral3  | {"rope_type":"default","rope_theta":1000000.0,"original_max_position_embeddings":16384,"llama_4_scaling_beta":0} |
            glm_moe_dsa | {"rope_theta":1000000.0,"rope_type":"default"}    |
            glm_moe_dsa | {"rope_type":"default"}                           | has rope_parameters of the type 'default' without rope_theta
            glm_moe_dsa | null                                              | has no rope_parameters
            qwen3_5     | {"mrope_interleaved":true,"mrope_section":[11,11,10],"rope_type":"default","rope_theta":10000000,"partial_rotary_factor":0.25} |
            qwen3_5     | {"rope_type":"dynamic","rope_theta":10000000}     | has rope_parameters of the type 'dynamic', and mlx_lm's qwen3_5 knows only default
            qwen3_5_moe | {"rope_type":"yarn","rope_theta":10000000}        | has rope_parameters of the type 'yarn' without factor
            qwen3_5     | null                                              |
            """)
    void rotaryParametersAreThoseThatTheClassCanBeMadeWith(String type, String parameters, String why) throws IOException {
        String settings = "\"model_type\":\"" + (type.equals("mistral3") ? "ministral3" : type) + "\",\"rope_parameters\":" + parameters;
        List<String> found = problems(type, ",\"rope_parameters\":" + parameters + ",\"text_config\":{" + settings + "}").stream().filter(p -> p.contains("rope_parameters")).toList();
        assertEquals(why == null ? 0 : 1, found.size(), found.toString());
        assertTrue(why == null || found.getFirst().startsWith("config.json " + why), found.toString());
    }

    /// Around Llama its wrapper reads rope_scaling.
    @Test
    void theRotarySettingsOfAWrapperAreThoseOfItsLanguageModel() throws IOException {
        String text = ",\"text_config\":{\"model_type\":\"mistral\",\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2.0}}";
        assertEquals(1, problems("mistral3", text).stream().filter(p -> p.startsWith("config.json has rope_scaling of the type 'dynamic', and mlx_lm's mistral3 knows only default")).count());
    }

    /// A class that reads rope_parameters alone would take its own default for what older configs say in single keys.
    @Test
    void rotarySettingsAreRolledUp() throws IOException {
        ObjectNode out = output("\"model_type\":\"qwen3_5\",\"rope_theta\":7000000.0,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0},\"partial_rotary_factor\":0.5", decoder(new SafetensorsFile()));
        assertEquals(new ObjectMapper().readTree("{\"rope_type\":\"yarn\",\"type\":\"yarn\",\"factor\":4.0,\"rope_theta\":7000000.0,\"partial_rotary_factor\":0.5}"), out.path("rope_parameters"));
        assertFalse(output("\"model_type\":\"qwen3_5\"", decoder(new SafetensorsFile())).has("rope_parameters"), "without any, the class's own");
    }

    /// Most look up the first layer of a type when they are made; the others make a layer of each entry, or one for each that config.json counts.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            llama      | ["sliding_attention"]                   | no full_attention among its layer_types
            mistral    | ["sliding_attention"]                   | no full_attention among its layer_types
            smollm3    | ["sliding_attention"]                   | no full_attention among its layer_types
            mistral3   | ["sliding_attention"]                   | no full_attention among its layer_types
            pixtral    | ["sliding_attention"]                   | no full_attention among its layer_types
            ministral3 | ["sliding_attention"]                   | no full_attention among its layer_types
            afmoe      | ["sliding_attention"]                   | no full_attention among its layer_types
            mellum     | ["sliding_attention"]                   | no full_attention among its layer_types
            olmo3      | ["full_attention"]                      | no sliding_attention among its layer_types
            gpt_oss    | ["sliding_attention"]                   | no full_attention among its layer_types
            llama      | ["full_attention","full_attention"]     | 2 layer_types, but counts 1 layers; mlx_lm's llama would make one of each type, and not load the folder
            smollm3    | ["full_attention","full_attention"]     | 2 layer_types, but counts 1 layers
            mistral3   | ["full_attention","full_attention"]     | 2 layer_types, but counts 1 layers
            pixtral    | ["full_attention","full_attention"]     | 2 layer_types, but counts 1 layers
            ministral3 | ["full_attention","full_attention"]     | 2 layer_types, but counts 1 layers
            afmoe      | ["full_attention","full_attention"]     | 2 layer_types, but counts 1 layers
            lfm2       | ["conv"]                                | no full_attention among its layer_types
            lfm2-vl    | ["conv"]                                | no full_attention among its layer_types
            lfm2_moe   | ["conv"]                                | no full_attention among its layer_types
            laguna     | ["sliding_attention"]                   | no full_attention among its layer_types
            granitemoehybrid | ["mamba","attention"]             | 2 layer_types, but counts 1 layers
            granitemoehybrid | ["full_attention"]                | 'full_attention' among its layer_types, and mlx_lm's granitemoehybrid knows only mamba, attention
            granitemoehybrid | ["mamba"]                         |
            llama      | ["full_attention"]                      |
            llama      | null                                    |
            qwen3      | ["sliding_attention"]                   |
            olmo3      | ["sliding_attention","full_attention"]  |
            gpt_oss    | ["sliding_attention","full_attention"]  |
            mellum     | ["sliding_attention","full_attention"]  |
            """)
    void typesOfLayersAreThoseThatTheClassLooksFor(String type, String types, String why) throws IOException {
        String settings = "\"num_hidden_layers\":1,\"layer_types\":" + types;
        List<String> found = problems(type, "," + settings + ",\"text_config\":{" + settings + "}").stream().filter(p -> p.contains("layer_types")).toList();
        assertEquals(why == null ? 0 : 1, found.size(), found.toString());
        assertTrue(why == null || found.getFirst().startsWith("config.json has " + why), found.toString());
    }

    /// Some lists have other names.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            jamba         | "layers_block_type":["mamba","mamba"]           | no attention among its layers_block_type
            jamba         | "layers_block_type":["mamba","attention"]       |
            jamba         | "layers_block_type":["mamba","attention","mamba"] | 3 layers_block_type, but counts 2 layers
            jamba         | "layers_block_type":null                        |
            nemotron_h    | "layers_block_type":["mamba","linear_attention"] | 'linear_attention' among its layers_block_type, and mlx_lm's nemotron_h knows only mamba, attention, moe, mlp
            nemotron_h    | "layers_block_type":["mamba","moe"]             |
            nemotron_h    | "hybrid_override_pattern":"M*"                  |
            nemotron_h    | "layers_block_type":null                        | neither hybrid_override_pattern nor layers_block_type, and mlx_lm's nemotron_h needs one of them
            mimo_v2_flash | "hybrid_layer_pattern":[0,0]                    | no 1 among its hybrid_layer_pattern
            mimo_v2_flash | "hybrid_layer_pattern":[0,1]                    |
            kimi_linear   | "linear_attn_config":null                       | linear_attn_config without kda_layers, which mlx_lm's kimi_linear needs
            kimi_linear   | "linear_attn_config":{"kda_layers":[],"num_heads":32,"head_dim":128} | linear_attn_config without kda_layers
            kimi_linear   | "linear_attn_config":{"kda_layers":[1],"head_dim":128} | linear_attn_config without num_heads
            kimi_linear   | "linear_attn_config":{"full_attn_layers":[2],"kda_layers":[1],"num_heads":32,"head_dim":128,"short_conv_kernel_size":4} |
            dbrx          | "ffn_config":{"ffn_hidden_size":32,"moe_num_experts":2} | ffn_config without moe_top_k
            dbrx          | "ffn_config":{"ffn_hidden_size":32,"moe_num_experts":2,"moe_top_k":1},"attn_config":{"kv_n_heads":1,"clip_qkv":8,"rope_theta":500000} |
            """)
    void layersAreThoseThatTheClassCanMake(String type, String setting, String why) throws IOException {
        List<String> found = problems(type, ",\"num_hidden_layers\":2," + setting).stream().filter(p -> p.startsWith("config.json has")).toList();
        assertEquals(why == null ? 0 : 1, found.size(), found.toString());
        assertTrue(why == null || found.getFirst().startsWith("config.json has " + why) && found.getFirst().contains("not load the folder"), found.toString());
    }

    /// What a class checks when it is made. EXAONE 4 is published with a text, or none, and transformers has a number for it.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            smollm3       | "no_rope_layers":[1,0]                  | 2 no_rope_layers, but num_hidden_layers = 1, and mlx_lm's smollm3 needs one of each layer
            smollm3       | "no_rope_layers":[1]                    |
            smollm3       | "no_rope_layers":null                   |
            llama4_text   | "no_rope_layers":[]                     | 0 no_rope_layers, but num_hidden_layers = 1, and mlx_lm's llama4_text looks one up for each layer
            llama4_text   | "no_rope_layers":null                   | no_rope_layers = null, but num_hidden_layers = 1
            llama4_text   | "no_rope_layers":[1]                    |
            llama4_text   | "no_rope_layers":[1,0]                  |
            gemma4_text   | "layer_types":[],"num_hidden_layers":1  | 0 layer_types, but num_hidden_layers = 1, and mlx_lm's gemma4_text looks one up for each layer
            gemma4_text   | "layer_types":null                      |
            gemma4_text   | "num_hidden_layers":2                   |
            gemma4_text   | "layer_types":["sliding_attention","full_attention"],"num_hidden_layers":2 |
            gemma4        | "layer_types":["full_attention"],"num_hidden_layers":2 | 1 layer_types, but num_hidden_layers = 2, and mlx_lm's gemma4 looks one up for each layer
            gemma4        | "layer_types":["full_attention"],"num_hidden_layers":1 |
            mimo_v2_flash | "moe_layer_freq":[]                     | 0 moe_layer_freq, but num_hidden_layers = 1, and mlx_lm's mimo_v2_flash looks one up for each layer
            mimo_v2_flash | "moe_layer_freq":1                      | moe_layer_freq = 1, but num_hidden_layers = 1
            mimo_v2_flash | "moe_layer_freq":[1,1]                  |
            mimo_v2_flash | "num_hidden_layers":3,"hybrid_layer_pattern":[0,1] | 2 hybrid_layer_pattern, but num_hidden_layers = 3
            nemotron-nas  | "block_configs":[]                      | 0 block_configs, but num_hidden_layers = 1, and mlx_lm's nemotron-nas needs one of each layer
            nemotron-nas  | "block_configs":[{}]                    |
            nemotron-nas  | "mlp_bias":false                        | 0 block_configs
            cohere2       | "head_dim":64                           | hidden_size = 32, and mlx_lm's cohere2 needs it to be head_dim × num_attention_heads
            cohere2       | "head_dim":32                           |
            exaone4       | "sliding_window_pattern":4              | sliding_window_pattern = 4, which mlx_lm's exaone4 reads as text, such as LLLG
            exaone4       | "sliding_window_pattern":null           |
            exaone4       | "sliding_window_pattern":"LLLG"         |
            llama4        | "num_experts_per_tok":2                 | num_experts_per_tok = 2, and mlx_lm's llama4 knows only 1
            llama4        | "num_experts_per_tok":1                 |
            deepseek_v3   | "topk_method":"greedy"                  | topk_method = "greedy", and mlx_lm's deepseek_v3 knows only noaux_tc
            deepseek_v3   | "topk_method":null                      | topk_method = null
            deepseek_v3   | "norm_topk_prob":true                   |
            deepseek_v2   | "topk_method":"greedy"                  |
            kimi_k2       | "topk_method":"greedy"                  | topk_method = "greedy"
            kimi_k25      | "topk_method":"greedy"                  | topk_method = "greedy"
            kimi_vl       | "topk_method":"greedy"                  | topk_method = "greedy"
            deepseek_v32  | "topk_method":"greedy"                  | topk_method = "greedy"
            glm_moe_dsa   | "topk_method":"greedy"                  | topk_method = "greedy"
            glm4_moe_lite | "topk_method":"greedy"                  | topk_method = "greedy"
            glm4_moe      | "topk_method":"greedy"                  | topk_method = "greedy"
            solar_open    | "topk_method":"greedy"                  | topk_method = "greedy"
            exaone_moe    | "topk_method":"greedy"                  | topk_method = "greedy"
            mimo_v2_flash | "topk_method":"greedy"                  | topk_method = "greedy"
            """)
    void settingsThatAClassStopsAt(String type, String setting, String why) throws IOException {
        List<String> found = problems(type, "," + setting + ",\"text_config\":{" + setting + "}").stream().filter(p -> p.startsWith("config.json has") && !p.contains("rope_scaling")).toList();
        assertEquals(why == null ? 0 : 1, found.size(), found.toString());
        assertTrue(why == null || found.getFirst().startsWith("config.json has " + why) && found.getFirst().endsWith("; mlx_lm would not load the folder"), found.toString());
    }

    /// The default of a class does not stand in for null.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            qwen3         | rms_norm_eps       | "1e-6"  | qwen3
            qwen3         | rms_norm_eps       | null    | qwen3
            qwen3         | rms_norm_eps       | -1e-6   | qwen3
            qwen3         | rms_norm_eps       | true    | qwen3
            qwen3         | rms_norm_eps       | NaN     | qwen3
            qwen3         | rms_norm_eps       | 1e300   | qwen3
            qwen3         | rms_norm_eps       | 0       |
            qwen3         | rms_norm_eps       | 1e-6    |
            qwen3         | layer_norm_eps     | null    |
            mixtral       | rms_norm_eps       | null    | mixtral
            gemma3        | rms_norm_eps       | null    | gemma3
            qwen3_vl_moe  | rms_norm_eps       | "x"     | qwen3_vl_moe
            stablelm      | layer_norm_eps     | null    | stablelm
            cohere        | layer_norm_eps     | null    | cohere
            gpt2          | layer_norm_epsilon | -1      | gpt2
            lfm2          | norm_eps           | []      | lfm2
            starcoder2    | norm_epsilon       | null    | starcoder2
            mimo_v2_flash | layernorm_epsilon  | null    | mimo_v2_flash
            falcon_mamba  | mixer_rms_eps      | "x"     | mamba
            falcon_mamba  | mixer_rms_eps      | null    | mamba
            falcon_mamba  | mixer_rms_eps      | 1e-6    |
            """)
    void epsilonsAreNumbers(String type, String key, String value, String name) throws IOException {
        String setting = "\"" + key + "\":" + value;
        List<String> found = problems(type, "," + setting + ",\"text_config\":{" + setting + "}").stream().filter(p -> p.contains(key)).toList();
        assertEquals(name == null ? List.of() : List.of("config.json has " + key + " = " + (value.equals("NaN") ? "\"NaN\"" : value.replace("1e300", "1.0E300").replace("-1e-6", "-1.0E-6")) + ", and mlx_lm's " + name
                + " needs a number of 0 or more there, the one that the model was trained with; it would fail at the first token, or compute nonsense"), found);
    }

    /// Every fourth layer of EXAONE 4 has full attention, as transformers may say.
    @Test
    void thePatternOfLayersIsWrittenAsTheClassReadsIt() throws IOException {
        String exaone = "\"model_type\":\"exaone4\",\"tie_word_embeddings\":true,\"sliding_window\":512,\"sliding_window_pattern\":";
        assertEquals("LLLG", output(exaone + "4", decoder(new SafetensorsFile())).path("sliding_window_pattern").asText());
        assertEquals("LLG", output(exaone + "\"LLG\"", decoder(new SafetensorsFile())).path("sliding_window_pattern").asText());
        assertTrue(output(exaone + "null", decoder(new SafetensorsFile())).path("sliding_window_pattern").isNull());
        assertEquals(4, output(exaone.replace("exaone4", "gemma3_text") + "4", decoder(new SafetensorsFile())).path("sliding_window_pattern").asInt(), "this class reads a number");
    }

    /// Transformers 5 keeps them in rope_parameters, from where the output's rope_scaling comes.
    @Test
    void rotaryParametersThatTheClassCannotMakeAreRefused() throws IOException {
        config(QWEN3 + ",\"tie_word_embeddings\":true,\"rope_parameters\":{\"rope_type\":\"dynamic\",\"rope_theta\":7.0,\"factor\":2.0}");
        decoder(new SafetensorsFile()).write(folder.resolve("model.safetensors"));
        assertTrue(refusal().startsWith(folder.resolve("config.json") + ": has rope_parameters of the type 'dynamic', and mlx_lm's qwen3 knows only default"), refusal());
        assertTrue(refusal().endsWith("; correct it, or set its rope_type to default, which leaves the model the context length it was first trained with"), refusal());
    }

    /// What transformers computes of other keys, or has under another name.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            lfm2   | "intermediate_size":96           | block_dim         | 64
            lfm2   | "intermediate_size":96           | block_ff_dim      | 96
            lfm2   | "block_dim":128                  | block_dim         | 128
            mamba2 | "expand":2                       | intermediate_size | 128
            minimax_m2 | "head_dim":128,"partial_rotary_factor":0.5 | rotary_dim | 64
            minimax_m2 | "head_dim":128,"rope_parameters":{"partial_rotary_factor":0.25,"rope_theta":5000000.0} | rotary_dim | 32
            minimax_m2 | "head_dim":128               | shared_intermediate_size | 0
            mamba2 | "expand":2,"intermediate_size":9 | intermediate_size | 9
            """)
    void sizesThatAClassNeedsUnderItsOwnName(String type, String settings, String key, int value) throws IOException {
        SafetensorsFile file = zeros(decoder(new SafetensorsFile()), "backbone.embeddings.weight", 32, 32);
        assertEquals(value, output("\"model_type\":\"" + type + "\"," + settings, file).path(key).asInt());
    }

    /// Most of their models share the embedding, so that the usual configurations have no head.
    @ParameterizedTest
    @ValueSource(strings = {"smollm3", "granite", "granitemoe", "exaone", "starcoder2", "bitnet", "jamba", "gpt_bigcode"})
    void aHeadOfItsOwnIsAModuleOfEveryClass(String type) throws IOException {
        config("\"model_type\":\"" + type + "\",\"num_hidden_layers\":1,\"num_layers\":1,\"vocab_size\":32,\"tie_word_embeddings\":false");
        SafetensorsFile file = decoder(new SafetensorsFile());
        zeros(file, "lm_head.weight", 32, 32);
        file.write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            assertEquals(Kind.HEAD, module(model, "lm_head").kind());
            assertTrue(model.layout().architecture().assumptions().stream().noneMatch(a -> a.contains("lm_head")), model.layout().architecture().assumptions().toString());
        }
    }

    @Test
    void aLayerTooManyIsRefused() throws IOException {
        config("\"model_type\":\"llama\",\"num_hidden_layers\":1,\"vocab_size\":32,\"tie_word_embeddings\":true");
        SafetensorsFile file = decoder(new SafetensorsFile());
        zeros(file, "model.layers.1.self_attn.q_proj.weight", 32, 32);
        file.write(folder.resolve("model.safetensors"));
        assertTrue(refusal().contains("counts 1 layers, but the model has the tensor model.layers.1.self_attn.q_proj.weight"), this::refusal);
    }

    @Test
    void aHeadOfItsOwnThatIsLostIsToldOf() throws IOException {
        config("\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"vocab_size\":32,\"tie_word_embeddings\":true");
        for (byte value : new byte[] {0, 1}) {
            SafetensorsFile file = decoder(new SafetensorsFile());
            byte[] head = new byte[32 * 32 * 2];
            head[31 * 32 * 2] = value;
            file.add("lm_head.weight", DType.BF16, Shape.of(32, 32), head).write(folder.resolve("model.safetensors"));
            try (Model model = Model.open(folder)) {
                assertEquals(value != 0, model.layout().architecture().assumptions().stream().anyMatch(a -> a.startsWith("the stored lm_head.weight differs from the embedding")));
            }
        }
    }

    /// OLMo is published in two formats, and mlx_lm's class reads the older one.
    @Test
    void aModelWithoutATensorOfItsClassIsRefused() throws IOException {
        config("\"model_type\":\"olmo\",\"num_hidden_layers\":1,\"vocab_size\":32");
        decoder(new SafetensorsFile()).write(folder.resolve("model.safetensors"));
        assertTrue(refusal().contains("has no tensor that mlx_lm's olmo would load, but others, such as model.embed_tokens.weight"), this::refusal);
    }

    /// A config as transformers 5 saves it: rotary settings in an object of their own, defaults left out.
    @Test
    void keysThatTheLoaderRequiresAreFilledIn() throws IOException {
        config("\"model_type\":\"qwen3\",\"_name_or_path\":\"x/y\",\"hidden_size\":64,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"vocab_size\":32,"
                + "\"rope_parameters\":{\"rope_theta\":1000000.0,\"rope_type\":\"default\"},\"dtype\":\"bfloat16\"");
        decoder(new SafetensorsFile()).write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            var out = model.layout().config();
            assertEquals(1e6, out.path("rope_theta").asDouble());
            assertEquals(16, out.path("head_dim").asInt(), "as the projection of the keys has it");
            assertEquals(2, out.path("num_key_value_heads").asInt());
            assertTrue(out.path("tie_word_embeddings").asBoolean(), "no head is stored");
            assertFalse(out.has("_name_or_path"));
            assertEquals(DType.BF16, OutputTypes.of(model.layout(), model.config(), Optional.empty()).main());
        }
    }
}
