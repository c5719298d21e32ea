package ram.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.safetensors.Shape;

/// Which biases the classes of mlx_lm create, as their source has it.
class BiasesTest {
    @TempDir
    Path folder;

    /// The class, a key of its arguments, ends of the paths that have a bias where it is on, and of some that have none all the same.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            seed_oss         | attention_bias     | q_proj k_proj v_proj                          | o_proj gate_proj
            seed_oss         | attention_out_bias | o_proj                                        | q_proj down_proj
            seed_oss         | mlp_bias           | gate_proj up_proj down_proj                   | q_proj o_proj
            cohere           | attention_bias     | q_proj k_proj v_proj o_proj                   | gate_proj input_layernorm
            cohere           | layer_norm_bias    | input_layernorm model.norm                    | q_proj down_proj
            cohere2          | attention_bias     | q_proj k_proj v_proj o_proj                   | gate_proj input_layernorm
            cohere2          | layer_norm_bias    | input_layernorm model.norm                    | q_proj down_proj
            ernie4_5         | use_bias           | q_proj k_proj v_proj o_proj gate_proj up_proj down_proj | input_layernorm lm_head
            glm              | attention_bias     | q_proj k_proj v_proj                          | o_proj gate_up_proj down_proj
            helium           | attention_bias     | q_proj k_proj v_proj                          | o_proj gate_proj
            helium           | mlp_bias           | gate_proj up_proj down_proj                   | q_proj o_proj
            hunyuan_v1_dense | attention_bias     | q_proj k_proj v_proj o_proj                   | gate_proj down_proj
            internlm3        | qkv_bias           | q_proj k_proj v_proj o_proj                   | gate_proj down_proj
            internlm3        | bias               | gate_proj up_proj down_proj                   | q_proj o_proj
            iquestloopcoder  | attention_bias     | q_proj k_proj v_proj o_proj                   | gate_proj down_proj
            iquestloopcoder  | mlp_bias           | gate_proj up_proj down_proj                   | q_proj o_proj
            olmo3            | attention_bias     | q_proj k_proj v_proj o_proj                   | gate_proj down_proj
            telechat3        | attention_bias     | q_proj k_proj v_proj o_proj                   | gate_proj down_proj
            telechat3        | mlp_bias           | gate_proj up_proj down_proj                   | q_proj o_proj
            stablelm         | use_qkv_bias       | q_proj k_proj v_proj                          | o_proj gate_proj lm_head
            glm4_moe         | attention_bias     | q_proj k_proj v_proj                          | o_proj switch_mlp.gate_proj
            solar_open       | attention_bias     | q_proj k_proj v_proj                          | o_proj switch_mlp.gate_proj
            ernie4_5_moe     | use_bias           | q_proj o_proj mlp.gate_proj switch_mlp.up_proj shared_experts.down_proj | mlp.gate
            dots1            | mlp_bias           | mlp.gate_proj shared_experts.up_proj          | mlp.experts.gate_proj q_proj o_proj
            apertus          | mlp_bias           | up_proj down_proj                             | q_proj o_proj
            youtu_llm        | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj kv_b_proj
            youtu_llm        | mlp_bias           | gate_proj up_proj down_proj                   | o_proj
            minicpm3         | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj kv_b_proj gate_proj
            hunyuan          | attention_bias     | q_proj k_proj v_proj o_proj                   | gate.wg switch_mlp.gate_proj
            bailing_moe      | use_qkv_bias       | query_key_value                               | attention.dense
            bailing_moe      | use_bias           | attention.dense mlp.gate_proj switch_mlp.up_proj shared_experts.down_proj | query_key_value gate.gate_proj
            exaone           | attention_bias     | q_proj k_proj v_proj out_proj                 | c_fc_0 c_proj
            exaone           | mlp_bias           | c_fc_0 c_fc_1 c_proj                          | q_proj out_proj
            internlm2        | bias               | wqkv wo                                       | w1 w2 w3
            granitemoe       | attention_bias     | q_proj k_proj v_proj o_proj                   | router.layer switch_mlp.up_proj
            olmoe            | attention_bias     | q_proj k_proj v_proj o_proj                   | mlp.gate switch_mlp.up_proj
            olmoe            | mlp_bias           | switch_mlp.gate_proj switch_mlp.up_proj       | mlp.gate q_proj
            deepseek_v2      | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj kv_b_proj gate_proj
            deepseek_v3      | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj gate_proj
            kimi_vl          | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj gate_proj
            kimi_k25         | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj gate_proj
            Klear            | attention_bias     | q_proj k_proj v_proj o_proj                   | mlp.gate shared_experts.up_proj experts.up_proj
            deepseek         | attention_bias     | q_proj k_proj v_proj o_proj                   | mlp.gate_proj switch_mlp.up_proj
            deepseek_v32     | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj indexer.wk indexer.wq_b
            glm_moe_dsa      | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj indexer.weights_proj
            glm4_moe_lite    | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj mlp.gate_proj
            longcat_flash    | attention_bias     | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj router.classifier
            longcat_flash    | router_bias        | router.classifier                             | o_proj
            longcat_flash_ngram | attention_bias  | q_a_proj kv_a_proj_with_mqa o_proj            | q_b_proj router.classifier
            longcat_flash_ngram | router_bias     | router.classifier                             | o_proj
            qwen3_next       | attention_bias     | q_proj k_proj v_proj o_proj                   | linear_attn.out_proj mlp.gate conv1d
            qwen3_5          | attention_bias     | q_proj k_proj v_proj o_proj                   | linear_attn.out_proj mlp.up_proj
            qwen3_5_moe      | attention_bias     | q_proj k_proj v_proj o_proj                   | linear_attn.in_proj_qkv shared_expert_gate
            llama4           | attention_bias     | q_proj k_proj v_proj o_proj                   | router shared_expert.up_proj
            nemotron         | attention_bias     | q_proj k_proj v_proj o_proj                   | up_proj down_proj
            nemotron         | mlp_bias           | up_proj down_proj                             | q_proj o_proj
            nemotron-nas     | attention_bias     | q_proj k_proj v_proj o_proj self_attn.linear  | gate_proj mlp.linear
            nemotron-nas     | mlp_bias           | gate_proj up_proj down_proj mlp.linear        | q_proj self_attn.linear
            nemotron_h       | attention_bias     | q_proj k_proj v_proj o_proj                   | in_proj mixer.up_proj
            nemotron_h       | mlp_bias           | up_proj down_proj fc1_latent_proj fc2_latent_proj | q_proj switch_mlp.fc1
            nemotron_h       | mamba_proj_bias    | in_proj out_proj                              | o_proj conv1d
            nemotron_h       | use_conv_bias      | conv1d                                        | in_proj out_proj
            falcon_h1        | attention_bias     | q_proj k_proj v_proj o_proj                   | out_proj gate_proj
            falcon_h1        | mlp_bias           | gate_proj up_proj down_proj                   | in_proj q_proj
            falcon_h1        | mamba_proj_bias    | in_proj                                       | out_proj conv1d
            falcon_h1        | projectors_bias    | out_proj                                      | in_proj o_proj
            falcon_h1        | mamba_conv_bias    | conv1d                                        | in_proj out_proj
            granitemoehybrid | attention_bias     | q_proj k_proj v_proj o_proj                   | out_proj router.layer
            granitemoehybrid | mlp_bias           | mlp.gate_proj mlp.up_proj mlp.down_proj       | switch_mlp.gate_proj input_linear
            granitemoehybrid | mamba_proj_bias    | in_proj out_proj                              | o_proj conv1d
            granitemoehybrid | mamba_conv_bias    | conv1d                                        | in_proj
            jamba            | mamba_proj_bias    | in_proj out_proj                              | x_proj conv1d q_proj
            jamba            | mamba_conv_bias    | conv1d                                        | in_proj x_proj
            mamba            | use_bias           | in_proj out_proj                              | x_proj conv1d
            mamba            | use_conv_bias      | conv1d                                        | in_proj x_proj
            mamba2           | use_bias           | in_proj out_proj                              | conv1d
            mamba2           | use_conv_bias      | conv1d                                        | in_proj out_proj
            lfm2             | conv_bias          | conv.in_proj conv.out_proj conv.conv          | self_attn.out_proj w1
            lfm2-vl          | conv_bias          | conv.in_proj conv.out_proj conv.conv          | self_attn.out_proj w1
            lfm2_moe         | conv_bias          | conv.in_proj conv.out_proj conv.conv          | self_attn.out_proj feed_forward.gate
            laguna           | qkv_bias           | q_proj k_proj v_proj                          | o_proj g_proj
            laguna           | attention_bias     | o_proj                                        | q_proj shared_expert.up_proj
            bailing_moe_linear | use_qkv_bias     | query_key_value                               | attention.dense g_proj
            bailing_moe_linear | use_bias         | attention.dense mlp.gate_proj switch_mlp.up_proj shared_experts.down_proj | g_proj gate.gate_proj
            gpt_bigcode      | attention_bias     | attn.c_attn attn.c_proj                       | mlp.c_fc mlp.c_proj
            gpt_bigcode      | mlp_bias           | mlp.c_fc mlp.c_proj                           | attn.c_attn attn.c_proj
            qwen             | not no_bias        | attn.c_proj w1 w2 mlp.c_proj lm_head          | ln_1 wte
            """)
    void aSettingDecides(String type, String key, String with, String without) throws IOException {
        List<String> wanted = biases(type, with);
        List<String> on = all(type, key, true);
        assertEquals(List.of(), problems(type, key, true, on));
        assertEquals(List.of(), problems(type, key, false, all(type, key, false)));
        for (String bias : wanted) {
            assertEquals(List.of("tensor '" + bias + "' is missing; mlx_lm would not load the folder without it"), problems(type, key, true, on.stream().filter(b -> !b.equals(bias)).toList()));
            assertEquals(List.of(refused(type, bias)), problems(type, key, false, also(all(type, key, false), bias)));
        }
        for (String stray : biases(type, without)) {
            assertEquals(List.of(refused(type, stray)), problems(type, key, true, also(on, stray)));
        }
    }

    /// The class, those that have a bias whatever config.json says, and some that never have one.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            qwen2_moe       | q_proj k_proj v_proj                         | o_proj mlp.gate shared_expert.up_proj
            gpt_oss         | q_proj o_proj router experts.gate_proj       | lm_head
            qwen3_moe       |                                              | q_proj mlp.gate switch_mlp.up_proj
            mixtral         |                                              | q_proj block_sparse_moe.gate switch_mlp.up_proj
            mellum          |                                              | q_proj mlp.gate switch_mlp.up_proj
            afmoe           |                                              | q_proj router.gate experts.up_proj
            phi             | q_proj dense fc1 fc2 final_layernorm lm_head | embed_tokens
            starcoder2      | q_proj o_proj c_fc c_proj model.norm         | embed_tokens
            phimoe          | q_proj o_proj model.norm lm_head             | block_sparse_moe.gate switch_mlp.up_proj
            phixtral        | Wqkv out_proj lm_head.linear                 | moe.gate
            gpt_neox        | query_key_value dense dense_h_to_4h          | embed_out
            recurrent_gemma | linear_x o_proj down_proj conv_1d            | q_proj v_proj
            exaone_moe      |                                              | q_proj shared_experts.up_proj
            mimo_v2_flash   |                                              | q_proj switch_mlp.up_proj
            minimax         |                                              | q_proj block_sparse_moe.gate
            step3p5         |                                              | g_proj gate.gate switch_mlp.up_proj
            qwen3_vl_moe    |                                              | q_proj mlp.gate
            gemma3n         |                                              | q_proj per_layer_projection altup.modality_router
            gemma4          |                                              | q_proj per_layer_projection router.proj
            gemma4_text     |                                              | q_proj per_layer_projection router.proj
            kimi_linear     |                                              | q_proj f_b_proj g_b_proj mlp.gate embed_q
            baichuan_m1     |                                              | W_pack o_proj
            dbrx            |                                              | Wqkv router.layer norm_1
            gpt2            | c_attn attn.c_proj c_fc mlp.c_proj ln_1 ln_f | wte
            lille-130m      |                                              | qkv_proj attention.norm
            llama4_text     |                                              | q_proj gate_proj
            nanochat        |                                              | c_q c_proj lm_head
            openelm         |                                              | qkv_proj proj_1 attn_norm
            phi3small       | query_key_value dense up_proj final_layernorm | embed_tokens
            plamo           |                                              | q_proj gate_proj
            plamo2          |                                              | qkv_proj dt_proj bcdt_proj
            rwkv7           | w_lora.lora.2 a_lora.lora.2 ffn_norm         | g_lora.lora.2 r_proj ffn.key
            """)
    void noSettingDecides(String type, String with, String without) throws IOException {
        List<String> on = all(type, "attention_bias", true);
        assertEquals(List.of(), problems(type, "attention_bias", true, on));
        for (String bias : with == null ? List.<String>of() : biases(type, with)) {
            assertEquals(List.of("tensor '" + bias + "' is missing; mlx_lm would not load the folder without it"),
                    problems(type, "attention_bias", true, on.stream().filter(b -> !b.equals(bias)).toList()));
        }
        for (String stray : biases(type, without)) {
            assertEquals(List.of(refused(type, stray)), problems(type, "attention_bias", true, also(on, stray)));
        }
    }

    /// What published models say, and the biases that they have.
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            seed_oss         | "attention_bias":true,"attention_out_bias":false,"mlp_bias":false | q_proj k_proj v_proj
            cohere           | "attention_bias":false                            |
            cohere2          | "attention_bias":false                            |
            ernie4_5         | "use_bias":false                                  |
            ernie4_5_moe     | "use_bias":false                                  |
            glm              | "attention_bias":true                             | q_proj k_proj v_proj
            glm4_moe         | "attention_bias":true                             | q_proj k_proj v_proj
            helium           | "attention_bias":false,"mlp_bias":false           |
            internlm2        | "bias":false                                      |
            internlm3        | "bias":false,"qkv_bias":false                     |
            olmo3            | "attention_bias":false                            |
            stablelm         | "use_qkv_bias":true                               | q_proj k_proj v_proj
            stablelm         | "use_qkv_bias":false                              |
            deepseek_v3      | "attention_bias":false                            |
            qwen2_moe        | "qkv_bias":true                                   | q_proj k_proj v_proj
            falcon_h1        | "mamba_conv_bias":true,"mamba_proj_bias":false,"projectors_bias":false,"attention_bias":false,"mlp_bias":false | conv1d
            granitemoehybrid | "mamba_conv_bias":true,"mamba_proj_bias":false,"attention_bias":false | conv1d
            nemotron_h       | "use_conv_bias":true,"mamba_proj_bias":false,"attention_bias":false,"mlp_bias":false,"use_bias":false | conv1d
            lfm2             | "conv_bias":false                                 |
            nemotron         | "attention_bias":false,"mlp_bias":false           | input_layernorm post_attention_layernorm model.norm
            gpt_bigcode      | "multi_query":true                                | attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj ln_1 ln_2 ln_f
            """)
    void publishedModelsAreTaken(String type, String settings, String with) throws IOException {
        Stream<String> norms = type.equals("stablelm") ? biases(type, "input_layernorm post_attention_layernorm model.norm").stream() : Stream.empty();
        assertEquals(List.of(), problems(type, settings, Stream.concat(norms, with == null ? Stream.empty() : biases(type, with).stream()).toList()));
    }

    private static String refused(String type, String bias) {
        return "tensor '" + bias + "' is no parameter of " + type + "; mlx_lm would refuse it";
    }

    private static List<String> also(List<String> biases, String more) {
        return Stream.concat(biases.stream(), Stream.of(more)).toList();
    }

    /// In layer 0.
    private static List<String> biases(String type, String ends) {
        List<String> out = new ArrayList<>();
        for (String end : ends.split(" ")) {
            List<String> found = paths(type).filter(p -> ("." + p).endsWith("." + end)).map(p -> p + ".bias").toList();
            assertFalse(found.isEmpty(), end);
            out.addAll(found);
        }
        return out;
    }

    private static Stream<String> paths(String type) {
        return Stream.of("modules", "parameters", "raw").flatMap(list -> Family.of(type).orElseThrow().rules().path(list).valueStream()).map(JsonNode::asText)
                .map(p -> p.replace("{N}", "0")).filter(p -> !p.endsWith(".bias")).map(p -> p.replaceFirst("\\.weight$", "")).distinct();
    }

    /// What the class has with this setting, by its lists and its rule: the tests above hold these against the source.
    private static List<String> all(String type, String key, boolean on) {
        JsonNode rules = Family.of(type).orElseThrow().rules();
        Stream<String> always = Stream.of("parameters", "raw").flatMap(list -> rules.path(list).valueStream()).map(p -> p.asText().replace("{N}", "0")).filter(p -> p.endsWith(".bias"));
        String[] ends = on ? rules.path("biases").path(key).valueStream().map(JsonNode::asText).toArray(String[]::new) : new String[0];
        return Stream.concat(always, Arrays.stream(ends).flatMap(e -> biases(type, e).stream())).toList();
    }

    private List<String> problems(String type, String key, boolean on, List<String> biases) throws IOException {
        Stream<String> keys = Stream.concat(Stream.of(key), Family.of(type).orElseThrow().rules().path("biases").propertyStream().map(Map.Entry::getKey)).distinct();
        return problems(type, keys.map(k -> "\"" + k.replaceFirst("^not ", "") + "\":" + ((on && k.equals(key)) != k.startsWith("not "))).collect(Collectors.joining(",")), biases);
    }

    private List<String> problems(String type, String keys, List<String> biases) throws IOException {
        String settings = "\"num_hidden_layers\":1," + keys;
        Files.writeString(folder.resolve("config.json"), "{\"model_type\":\"" + type + "\",\"tie_word_embeddings\":false," + settings + ",\"text_config\":{" + settings + "}}");
        Map<String, Shape> shapes = new TreeMap<>();
        paths(type).forEach(p -> shapes.put(p + ".weight", Shape.of(32)));
        biases.forEach(b -> shapes.put(b, Shape.of(32)));
        return ExpectedTensors.problems(ModelConfig.read(folder), shapes).stream().filter(p -> p.contains(".bias'")).toList();
    }
}
