package ram.eval;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// A random decoder of a few thousand weights, written as a Hugging Face folder.
public final class TinyModel {
    /// Types of models with a language model inside, and the type of that.
    private static final Map<String, String> WRAPPED = Map.ofEntries(Map.entry("gemma3", "gemma3_text"), Map.entry("mistral3", "mistral"), Map.entry("pixtral", "mistral"),
            Map.entry("llava/ministral3", "ministral3"), Map.entry("mistral3/ministral3", "ministral3"), Map.entry("qwen2_vl", "qwen2"), Map.entry("qwen2_5_vl", "qwen2"),
            Map.entry("qwen3_vl", "qwen3"), Map.entry("qwen3_vl_moe", "qwen3_moe"), Map.entry("kimi_vl", "deepseek_v3"), Map.entry("kimi_k25", "kimi_k2"));
    /// Types with latent attention, and their sizes where settings do not say others.
    private static final Set<String> LATENT = Set.of("deepseek_v2", "deepseek_v3", "kimi_k2", "joyai_llm_flash", "glm4_moe_lite", "youtu_llm", "minicpm3", "deepseek_v32", "glm_moe_dsa");
    private static final String LATENT_SIZES = ", \"q_lora_rank\": 24, \"kv_lora_rank\": 20, \"qk_nope_head_dim\": 12, \"qk_rope_head_dim\": 6, \"v_head_dim\": 10, \"attention_bias\": false, \"index_n_heads\": 2, \"index_head_dim\": 16, \"index_topk\": 100";
    /// Types whose norms take the mean away and add a bias.
    private static final Set<String> CENTERED = Set.of("stablelm", "starcoder2", "nemotron");
    private static final Set<String> WITHOUT_HEAD = Set.of("gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2");
    static final int HIDDEN = 32;
    static final int VOCABULARY = 600;
    private static final int WIDTH = 48;
    private static final int EXPERTS = 4;

    /// Of the language model.
    final ObjectNode config;
    private final String type;
    /// The same of the language model.
    private final String text;
    /// What the names of tensors in the file begin with.
    private final String prefix;
    final Map<String, double[]> tensors = new TreeMap<>();
    private final SafetensorsFile file = new SafetensorsFile();
    private final Random random = new Random(7);

    /// @param type a model_type; of some models with a language model inside that, a slash and the type of it
    /// @param settings JSON members that are added to the configuration
    public TinyModel(String type, String settings) throws IOException {
        this.type = type;
        text = WRAPPED.getOrDefault(type, type);
        prefix = WRAPPED.containsKey(type) ? "language_model." : "";
        config = (ObjectNode) new ObjectMapper().readTree("""
                {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48,
                 "vocab_size": 600, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "max_position_embeddings": 64,
                 "layer_norm_eps": 1e-5, "norm_epsilon": 1e-5, "norm_eps": 1e-5, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
                 "moe_num_experts": 4, "num_experts_per_tok": 2, "moe_k": 2, "moe_intermediate_size": 48, "shared_expert_intermediate_size": 64, "model_type": "%s" %s}"""
                .formatted(text, (LATENT.contains(text) ? LATENT_SIZES : "") + (settings.isEmpty() ? "" : ", " + settings)));
        if (config.has("rope_parameters") && !text.equals("ministral3")) {
            config.remove("rope_theta");
        }
        if (!config.has("tie_word_embeddings")) {
            config.put("tie_word_embeddings", false);
        }
        if (type.startsWith("gemma")) {
            config.put("hidden_act", "gelu_pytorch_tanh");
        }
        if (type.equals("starcoder2") || type.equals("nemotron")) {
            config.put("hidden_act", type.equals("nemotron") ? "relu2" : "gelu_pytorch_tanh");
        }
        boolean everywhere = config.path("attention_bias").asBoolean() || config.path("use_bias").asBoolean() || type.equals("starcoder2");
        boolean bias = everywhere || text.startsWith("qwen2") || type.equals("mimo") || config.path("use_qkv_bias").asBoolean();
        add("model.embed_tokens.weight", VOCABULARY, HIDDEN);
        for (int l = 0; l < config.path("num_hidden_layers").asInt(); l++) {
            String p = "model.layers." + l + ".";
            for (String norm : norms()) {
                norm(p + norm + ".weight", HIDDEN);
            }
            if (LATENT.contains(text)) {
                latent(p + "self_attn.");
            } else if (type.equals("phi3")) {
                linear(p + "self_attn.qkv_proj", 64, HIDDEN, false);
            } else {
                linear(p + "self_attn.q_proj", 32, HIDDEN, bias);
                linear(p + "self_attn.k_proj", 16, HIDDEN, bias);
                linear(p + "self_attn.v_proj", 16, HIDDEN, bias);
            }
            linear(p + "self_attn.o_proj", HIDDEN, LATENT.contains(text) ? size("num_attention_heads") * valueDim() : 32, everywhere
                    && !type.startsWith("glm4") && !type.equals("helium") && !type.equals("seed_oss") || config.path("attention_out_bias").asBoolean());
            boolean whole = type.startsWith("olmo") || type.startsWith("minimax");
            if (text.startsWith("qwen3") || type.startsWith("gemma3") || whole || type.startsWith("exaone")
                    || type.equals("dots1") || config.path("use_qk_norm").asBoolean()) {
                boolean hunyuan = type.equals("hunyuan_v1_dense");
                norm(p + "self_attn." + (hunyuan ? "query_layernorm" : "q_norm") + ".weight", whole ? 32 : 8);
                norm(p + "self_attn." + (hunyuan ? "key_layernorm" : "k_norm") + ".weight", whole ? 16 : 8);
            }
            boolean flagged = config.has("is_moe_layer") && !config.path("is_moe_layer").path(l).asBoolean();
            boolean skipped = (type.equals("deepseek") || LATENT.contains(text)) && l % config.path("moe_layer_freq").asInt(1) != 0;
            boolean dense = flagged || skipped || config.path("mlp_only_layers").path(0).asInt(-1) == l
                    || l < Math.max(config.path("first_k_dense_replace").asInt(), config.path("moe_layer_start_index").asInt());
            switch (dense ? "llama" : LATENT.contains(text) ? text : type) {
                case "mixtral" -> experts(p + "block_sparse_moe.", "w1", "w3", "w2");
                case "qwen3_moe", "olmoe" -> experts(p + "mlp.", "gate_proj", "up_proj", "down_proj");
                case "minimax", "minimax_m2" -> {
                    experts(p + "block_sparse_moe.", "w1", "w3", "w2");
                    add(p + "block_sparse_moe.e_score_correction_bias", EXPERTS);
                }
                case "glm4_moe", "solar_open", "dots1", "deepseek", "ernie4_5_moe", "exaone_moe", "deepseek_v2", "deepseek_v3", "kimi_k2", "joyai_llm_flash", "glm4_moe_lite", "deepseek_v32", "glm_moe_dsa" -> {
                    experts(p + "mlp.", "gate_proj", "up_proj", "down_proj");
                    if (!type.equals("deepseek") && !type.equals("deepseek_v2") && !type.equals("ernie4_5_moe")) {
                        add(p + "mlp.gate.e_score_correction_bias", EXPERTS);
                    }
                    if (config.path("n_shared_experts").asInt() + config.path("moe_num_shared_experts").asInt() + config.path("num_shared_experts").asInt() > 0) {
                        gated(p + "mlp.shared_experts.", "gate_proj", "up_proj", "down_proj", 64, config.path("mlp_bias").asBoolean());
                    }
                }
                case "granitemoe" -> fused(p + "block_sparse_moe.", "router.layer", "input_linear.weight", "output_linear.weight", false);
                case "qwen3_vl_moe" -> fused(p + "mlp.", "gate", "experts.gate_up_proj", "experts.down_proj", true);
                case "starcoder2", "nemotron" -> {
                    boolean starcoder = type.equals("starcoder2");
                    linear(p + "mlp." + (starcoder ? "c_fc" : "up_proj"), WIDTH, HIDDEN, starcoder);
                    linear(p + "mlp." + (starcoder ? "c_proj" : "down_proj"), HIDDEN, WIDTH, starcoder);
                }
                case "qwen2_moe" -> {
                    experts(p + "mlp.", "gate_proj", "up_proj", "down_proj");
                    gated(p + "mlp.shared_expert.", "gate_proj", "up_proj", "down_proj", 64, false);
                    linear(p + "mlp.shared_expert_gate", 1, HIDDEN, false);
                }
                case "phi3", "glm4" -> {
                    linear(p + "mlp.gate_up_proj", 2 * WIDTH, HIDDEN, false);
                    linear(p + "mlp.down_proj", HIDDEN, WIDTH, false);
                }
                default -> gated(p + "mlp.", "gate_proj", "up_proj", "down_proj", WIDTH, config.path("mlp_bias").asBoolean() || config.path("use_bias").asBoolean());
            }
        }
        norm("model.norm.weight", HIDDEN);
        if (!config.path("tie_word_embeddings").asBoolean() && !WITHOUT_HEAD.contains(type)) {
            linear("lm_head", VOCABULARY, HIDDEN, false);
        }
    }

    private int size(String key) {
        return config.path(key).asInt();
    }

    private int valueDim() {
        return text.equals("minicpm3") ? HIDDEN / size("num_attention_heads") : size("v_head_dim");
    }

    /// Queries, and what keys and values are made of, as Hugging Face stores them.
    private void latent(String p) {
        boolean bias = config.path("attention_bias").asBoolean();
        int heads = size("num_attention_heads");
        int width = heads * (size("qk_nope_head_dim") + size("qk_rope_head_dim"));
        if (config.path("q_lora_rank").isNull()) {
            linear(p + "q_proj", width, HIDDEN, false);
        } else {
            linear(p + "q_a_proj", size("q_lora_rank"), HIDDEN, bias);
            norm(p + "q_a_layernorm.weight", size("q_lora_rank"));
            linear(p + "q_b_proj", width, size("q_lora_rank"), false);
        }
        linear(p + "kv_a_proj_with_mqa", size("kv_lora_rank") + size("qk_rope_head_dim"), HIDDEN, bias);
        norm(p + "kv_a_layernorm.weight", size("kv_lora_rank"));
        if (text.equals("deepseek_v32") || text.equals("glm_moe_dsa")) {
            linear(p + "indexer.wq_b", size("index_n_heads") * size("index_head_dim"), size("q_lora_rank"), false);
            linear(p + "indexer.wk", size("index_head_dim"), HIDDEN, false);
            linear(p + "indexer.weights_proj", size("index_n_heads"), HIDDEN, false);
            norm(p + "indexer.k_norm.weight", size("index_head_dim"));
            add(p + "indexer.k_norm.bias", size("index_head_dim"));
        }
        linear(p + "kv_b_proj", heads * (size("qk_nope_head_dim") + valueDim()), size("kv_lora_rank"), false);
    }

    private List<String> norms() {
        return switch (type) {
            case "gemma2", "gemma3", "gemma3_text" -> List.of("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm");
            case "glm4" -> List.of("input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm");
            case "cohere", "cohere2" -> List.of("input_layernorm");
            case "stablelm" -> config.path("use_parallel_residual").asBoolean() ? List.of("input_layernorm") : List.of("input_layernorm", "post_attention_layernorm");
            case "olmo2", "olmo3", "exaone4" -> List.of("post_attention_layernorm", "post_feedforward_layernorm");
            default -> List.of("input_layernorm", "post_attention_layernorm");
        };
    }

    private void experts(String p, String gate, String up, String down) {
        linear(p + "gate", EXPERTS, HIDDEN, false);
        for (int e = 0; e < EXPERTS; e++) {
            gated(p + "experts." + e + ".", gate, up, down, WIDTH, false);
        }
    }

    /// Experts that the file has together, and the decoder one by one.
    ///
    /// @param turned whether their matrices are stored the other way round
    private void fused(String p, String router, String first, String second, boolean turned) {
        linear(p + router, EXPERTS, HIDDEN, false);
        float[] both = new float[EXPERTS * 2 * WIDTH * HIDDEN];
        float[] down = new float[EXPERTS * HIDDEN * WIDTH];
        for (int e = 0; e < EXPERTS; e++) {
            String x = p + "experts." + e + ".";
            fill(x + "gate_proj.weight", WIDTH, HIDDEN, both, e * 2 * WIDTH * HIDDEN, turned ? 2 * WIDTH : 0);
            fill(x + "up_proj.weight", WIDTH, HIDDEN, both, e * 2 * WIDTH * HIDDEN + (turned ? WIDTH : WIDTH * HIDDEN), turned ? 2 * WIDTH : 0);
            fill(x + "down_proj.weight", HIDDEN, WIDTH, down, e * HIDDEN * WIDTH, turned ? HIDDEN : 0);
        }
        file.floats(prefix + p + first, turned ? Shape.of(EXPERTS, HIDDEN, 2 * WIDTH) : Shape.of(EXPERTS, 2 * WIDTH, HIDDEN), both);
        file.floats(prefix + p + second, turned ? Shape.of(EXPERTS, WIDTH, HIDDEN) : Shape.of(EXPERTS, HIDDEN, WIDTH), down);
    }

    /// @param stride between two columns of the matrix where it is stored by columns; else 0
    private void fill(String name, int rows, int columns, float[] stored, int from, int stride) {
        double[] values = new double[rows * columns];
        for (int i = 0; i < values.length; i++) {
            float v = (float) (random.nextGaussian() * 1.5 / Math.sqrt(columns));
            values[i] = v;
            stored[from + (stride == 0 ? i : i % columns * stride + i / columns)] = v;
        }
        tensors.put(name, values);
    }

    private void gated(String p, String gate, String up, String down, int width, boolean bias) {
        linear(p + gate, width, HIDDEN, bias);
        linear(p + up, width, HIDDEN, bias);
        linear(p + down, HIDDEN, width, bias);
    }

    private void linear(String path, int rows, int columns, boolean bias) {
        add(path + ".weight", rows, columns);
        if (bias) {
            add(path + ".bias", rows);
        }
    }

    private void add(String name, long... dims) {
        Shape shape = Shape.of(dims);
        float[] values = new float[(int) shape.elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * (dims.length == 1 || name.contains("embed") ? 0.5 : 1.5 / Math.sqrt(dims[1])));
        }
        put(name, shape, values);
    }

    private void norm(String name, int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) ((type.startsWith("gemma") || type.equals("nemotron") ? 0 : 1) + 0.3 * random.nextGaussian());
        }
        put(name, Shape.of(n), values);
        if (CENTERED.contains(type) || config.path("layer_norm_bias").asBoolean()) {
            add(name.replace(".weight", ".bias"), n);
        }
    }

    private void put(String name, Shape shape, float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        tensors.put(name, wide);
        file.floats(prefix + name, shape, values);
    }

    public Path write(Path folder) throws IOException {
        Files.createDirectories(folder);
        file.write(folder.resolve("model.safetensors"));
        ObjectNode whole = config;
        if (!prefix.isEmpty()) {
            whole = config.objectNode().put("model_type", type.split("/")[0]);
            whole.set("text_config", config);
            if (type.equals("gemma3")) {
                whole.put("vocab_size", VOCABULARY);
            }
        }
        Files.writeString(folder.resolve("config.json"), whole.toString());
        return folder;
    }

    static int[] ids(int n, long seed) {
        Random random = new Random(seed);
        return random.ints(n, 0, VOCABULARY).toArray();
    }
}
