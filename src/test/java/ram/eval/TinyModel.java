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
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// A random decoder of a few thousand weights, written as a Hugging Face folder.
public final class TinyModel {
    /// Types of models with a language model inside, and the type of that.
    private static final Map<String, String> WRAPPED = Map.ofEntries(Map.entry("gemma3", "gemma3_text"), Map.entry("mistral3", "mistral"), Map.entry("pixtral", "mistral"),
            Map.entry("llava/ministral3", "ministral3"), Map.entry("mistral3/ministral3", "ministral3"), Map.entry("qwen2_vl", "qwen2"), Map.entry("qwen2_5_vl", "qwen2"),
            Map.entry("qwen3_vl", "qwen3"), Map.entry("qwen3_vl_moe", "qwen3_moe"), Map.entry("kimi_vl", "deepseek_v3"), Map.entry("kimi_k25", "kimi_k2"), Map.entry("lfm2-vl", "lfm2"),
            Map.entry("qwen3_5", "qwen3_5_text"), Map.entry("gemma4", "gemma4_text"), Map.entry("gemma3n", "gemma3n_text"), Map.entry("gemma4_unified", "gemma4_text"), Map.entry("qwen3_5_moe", "qwen3_5_moe_text"));
    /// Types with latent attention, and their sizes where settings do not say others.
    private static final Set<String> LATENT = Set.of("deepseek_v2", "deepseek_v3", "kimi_k2", "joyai_llm_flash", "glm4_moe_lite", "youtu_llm", "minicpm3", "deepseek_v32", "glm_moe_dsa");
    private static final String LATENT_SIZES = ", \"q_lora_rank\": 24, \"kv_lora_rank\": 20, \"qk_nope_head_dim\": 12, \"qk_rope_head_dim\": 6, \"v_head_dim\": 10, \"attention_bias\": false, \"index_n_heads\": 2, \"index_head_dim\": 16, \"index_topk\": 100";
    /// Types whose norms take the mean away and add a bias.
    private static final Set<String> CENTERED = Set.of("stablelm", "starcoder2", "nemotron", "phi", "phimoe");
    /// Types with inputs of layers, and their sizes where settings do not say others.
    private static final Map<String, String> LAYER_INPUTS = Map.of("gemma4_text", TinyGemma4.SIZES, "gemma3n_text", TinyGemma3n.SIZES);
    private static final Set<String> WITHOUT_HEAD = Set.of("gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2");
    /// Parts of names as files of some types have them; the decoder has the usual ones.
    private static final Map<String, Map<String, String>> OTHER_NAMES = Map.of("gemma3n", Map.of("model.", ""), "gemma4", Map.of("model.", ""), "gemma4_unified", Map.of("model.", ""),
            "olmo", Map.of("model.embed_tokens", "model.transformer.wte", "model.layers", "model.transformer.blocks", "self_attn.qkv_proj", "att_proj", "self_attn.o_proj", "attn_out",
                    "mlp.gate_up_proj", "ff_proj", "mlp.down_proj", "ff_out", "lm_head", "model.transformer.ff_out"),
            "exaone", Map.of("model.embed_tokens", "transformer.wte", "model.layers", "transformer.h", "model.norm", "transformer.ln_f", "self_attn", "attn.attention", "o_proj", "out_proj",
                    "gate_proj", "c_fc_0", "up_proj", "c_fc_1", "down_proj", "c_proj", "input_layernorm", "ln_1", "post_attention_layernorm", "ln_2"));
    /// The same of keys of config.json.
    private static final Map<String, Map<String, String>> OTHER_KEYS = Map.of(
            "olmo", Map.of("hidden_size", "d_model", "num_hidden_layers", "n_layers", "num_attention_heads", "n_heads", "vocab_size", "embedding_size", "intermediate_size", "mlp_hidden_size",
                    "num_key_value_heads", "unread", "tie_word_embeddings", "weight_tying"),
            "exaone", Map.of("num_hidden_layers", "num_layers", "rms_norm_eps", "layer_norm_epsilon"));
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
        prefix = !WRAPPED.containsKey(type) ? "" : LAYER_INPUTS.containsKey(text) ? "model.language_model." : "language_model.";
        config = (ObjectNode) new ObjectMapper().readTree("""
                {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48,
                 "vocab_size": 600, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "max_position_embeddings": 64,
                 "layer_norm_eps": 1e-5, "norm_epsilon": 1e-5, "norm_eps": 1e-5, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
                 "moe_num_experts": 4, "num_experts_per_tok": 2, "moe_k": 2, "moe_intermediate_size": 48, "shared_expert_intermediate_size": 64, "model_type": "%s" %s}"""
                .formatted(text, (LATENT.contains(text) ? LATENT_SIZES : LAYER_INPUTS.getOrDefault(text, TinyHybrid.SIZES.getOrDefault(text, TinyMamba.SIZES.getOrDefault(text, ""))))
                        + (settings.isEmpty() ? "" : ", " + settings)));
        if (config.has("rope_parameters") && !text.equals("ministral3")) {
            config.remove("rope_theta");
        }
        if (!config.has("tie_word_embeddings")) {
            config.put("tie_word_embeddings", false);
        }
        if (type.startsWith("gemma")) {
            config.put("hidden_act", "gelu_pytorch_tanh");
        }
        if (type.equals("phi")) {
            config.put("hidden_act", "gelu_new");
        }
        if (type.equals("starcoder2") || type.equals("nemotron")) {
            config.put("hidden_act", type.equals("nemotron") ? "relu2" : "gelu_pytorch_tanh");
        }
        if (TinyHybrid.SIZES.containsKey(text)) {
            new TinyHybrid(this, text).fill();
            return;
        }
        if (text.equals("gemma4_text")) {
            new TinyGemma4(this).fill();
            return;
        }
        if (text.equals("gemma3n_text")) {
            new TinyGemma3n(this).fill();
            return;
        }
        if (TinyMamba.SIZES.containsKey(text)) {
            new TinyMamba(this).fill(text);
            return;
        }
        boolean everywhere = config.path("attention_bias").asBoolean() || config.path("use_bias").asBoolean() || type.equals("starcoder2");
        everywhere |= config.path("qkv_bias").asBoolean() || type.equals("gpt_oss") || type.startsWith("phi") && !type.equals("phi3");
        boolean bailing = type.equals("bailing_moe");
        boolean bias = everywhere && !bailing || text.startsWith("qwen2") || type.equals("mimo") || config.path("use_qkv_bias").asBoolean();
        add(bailing ? "model.word_embeddings.weight" : "model.embed_tokens.weight", VOCABULARY, HIDDEN);
        for (int l = 0; l < config.path("num_hidden_layers").asInt(); l++) {
            String p = "model.layers." + l + ".";
            for (String norm : norms()) {
                norm(p + norm + ".weight", HIDDEN);
            }
            if (LATENT.contains(text)) {
                latent(p + "self_attn.");
            } else if (type.equals("phi3") || type.equals("olmo")) {
                linear(p + "self_attn.qkv_proj", type.equals("olmo") ? 96 : 64, HIDDEN, false);
            } else if (bailing) {
                linear(p + "attention.query_key_value", 64, HIDDEN, bias);
            } else {
                linear(p + "self_attn.q_proj", 32, HIDDEN, bias);
                linear(p + "self_attn.k_proj", 16, HIDDEN, bias);
                linear(p + "self_attn.v_proj", 16, HIDDEN, bias);
            }
            linear(p + (bailing ? "attention.dense" : type.equals("phi") ? "self_attn.dense" : "self_attn.o_proj"), HIDDEN, LATENT.contains(text) ? size("num_attention_heads") * valueDim() : 32, everywhere
                    && !type.startsWith("glm") && !type.equals("helium") && !type.equals("seed_oss") || config.path("attention_out_bias").asBoolean());
            if (type.equals("gpt_oss")) {
                add(p + "self_attn.sinks", 4);
            }
            boolean whole = type.startsWith("olmo") && !type.equals("olmo") || type.startsWith("minimax");
            if (text.startsWith("qwen3") || type.startsWith("gemma3") || whole || type.startsWith("exaone") && !type.equals("exaone")
                    || type.equals("dots1") || config.path("use_qk_norm").asBoolean()) {
                boolean spelled = bailing || type.equals("hunyuan_v1_dense");
                String attention = p + (bailing ? "attention." : "self_attn.");
                norm(attention + (spelled ? "query_layernorm" : "q_norm") + ".weight", whole ? 32 : 8);
                norm(attention + (spelled ? "key_layernorm" : "k_norm") + ".weight", whole ? 16 : 8);
            }
            boolean flagged = config.has("is_moe_layer") && !config.path("is_moe_layer").path(l).asBoolean();
            boolean skipped = (type.equals("deepseek") || LATENT.contains(text)) && l % config.path("moe_layer_freq").asInt(1) != 0;
            boolean dense = flagged || skipped || config.path("mlp_only_layers").path(0).asInt(-1) == l
                    || l < Math.max(config.path("first_k_dense_replace").asInt(), config.path("moe_layer_start_index").asInt());
            switch (dense ? "llama" : LATENT.contains(text) ? text : type) {
                case "gpt_oss" -> {
                    linear(p + "mlp.router", EXPERTS, HIDDEN, true);
                    int width = config.path("intermediate_size").asInt();
                    if (config.has("quantization_config")) {
                        blocks(p + "mlp.experts.gate_up_proj", 2 * width, HIDDEN);
                        blocks(p + "mlp.experts.down_proj", HIDDEN, width);
                    } else {
                        add(p + "mlp.experts.gate_up_proj", EXPERTS, HIDDEN, 2 * width);
                        add(p + "mlp.experts.down_proj", EXPERTS, width, HIDDEN);
                    }
                    add(p + "mlp.experts.gate_up_proj_bias", EXPERTS, 2 * width);
                    add(p + "mlp.experts.down_proj_bias", EXPERTS, HIDDEN);
                }
                case "mixtral", "phimoe" -> experts(p + "block_sparse_moe.", "w1", "w3", "w2");
                case "qwen3_moe", "olmoe" -> experts(p + "mlp.", "gate_proj", "up_proj", "down_proj");
                case "minimax", "minimax_m2" -> {
                    experts(p + "block_sparse_moe.", "w1", "w3", "w2");
                    add(p + "block_sparse_moe.e_score_correction_bias", EXPERTS);
                }
                case "glm4_moe", "solar_open", "dots1", "deepseek", "ernie4_5_moe", "exaone_moe", "deepseek_v2", "deepseek_v3", "kimi_k2", "joyai_llm_flash", "glm4_moe_lite", "deepseek_v32", "glm_moe_dsa", "bailing_moe" -> {
                    experts(p + "mlp.", "gate_proj", "up_proj", "down_proj");
                    if (config.path("moe_router_enable_expert_bias").asBoolean()) {
                        add(p + "mlp.gate.expert_bias", EXPERTS);
                    }
                    if (!bailing && !type.equals("deepseek") && !type.equals("deepseek_v2") && !type.equals("ernie4_5_moe")) {
                        add(p + "mlp.gate.e_score_correction_bias", EXPERTS);
                    }
                    if (config.path("n_shared_experts").asInt() + config.path("moe_num_shared_experts").asInt() + config.path("num_shared_experts").asInt() > 0
                            && config.path("moe_router_enable_shared_expert").asBoolean(true)) {
                        gated(p + "mlp.shared_experts.", "gate_proj", "up_proj", "down_proj", 64, config.path("mlp_bias").asBoolean());
                    }
                }
                case "granitemoe" -> fused(p + "block_sparse_moe.", "router.layer", "input_linear.weight", "output_linear.weight", false);
                case "qwen3_vl_moe" -> fused(p + "mlp.", "gate", "experts.gate_up_proj", "experts.down_proj", true);
                case "phi" -> {
                    linear(p + "mlp.fc1", WIDTH, HIDDEN, true);
                    linear(p + "mlp.fc2", HIDDEN, WIDTH, true);
                }
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
                case "phi3", "glm4", "glm", "olmo" -> {
                    linear(p + "mlp.gate_up_proj", 2 * WIDTH, HIDDEN, false);
                    linear(p + "mlp.down_proj", HIDDEN, WIDTH, false);
                }
                default -> gated(p + "mlp.", "gate_proj", "up_proj", "down_proj", WIDTH, config.path("mlp_bias").asBoolean() || config.path("use_bias").asBoolean() || config.path("bias").asBoolean());
            }
        }
        if (type.equals("olmo")) {
            linear("lm_head", VOCABULARY, HIDDEN, false);
            return;
        }
        norm(type.equals("phi") ? "model.final_layernorm.weight" : "model.norm.weight", HIDDEN);
        if (!config.path("tie_word_embeddings").asBoolean() && !WITHOUT_HEAD.contains(type)) {
            linear("lm_head", VOCABULARY, HIDDEN, type.equals("phi") || type.equals("phimoe"));
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
            case "cohere", "cohere2", "phi" -> List.of("input_layernorm");
            case "stablelm" -> config.path("use_parallel_residual").asBoolean() ? List.of("input_layernorm") : List.of("input_layernorm", "post_attention_layernorm");
            case "olmo2", "olmo3", "exaone4" -> List.of("post_attention_layernorm", "post_feedforward_layernorm");
            case "olmo" -> List.of();
            default -> List.of("input_layernorm", "post_attention_layernorm");
        };
    }

    void experts(String p, String gate, String up, String down) {
        linear(p + "gate", EXPERTS, HIDDEN, false);
        for (int e = 0; e < EXPERTS; e++) {
            gated(p + "experts." + e + ".", gate, up, down, WIDTH, false);
        }
    }

    /// Experts that the file has together, and the decoder one by one.
    ///
    /// @param turned whether their matrices are stored the other way round
    void fused(String p, String router, String first, String second, boolean turned) {
        linear(p + router, EXPERTS, HIDDEN, false);
        float[] both = new float[EXPERTS * 2 * WIDTH * HIDDEN];
        float[] down = new float[EXPERTS * HIDDEN * WIDTH];
        for (int e = 0; e < EXPERTS; e++) {
            String x = p + "experts." + e + ".";
            fill(x + "gate_proj.weight", WIDTH, HIDDEN, both, e * 2 * WIDTH * HIDDEN, turned ? 2 * WIDTH : 0);
            fill(x + "up_proj.weight", WIDTH, HIDDEN, both, e * 2 * WIDTH * HIDDEN + (turned ? WIDTH : WIDTH * HIDDEN), turned ? 2 * WIDTH : 0);
            fill(x + "down_proj.weight", HIDDEN, WIDTH, down, e * HIDDEN * WIDTH, turned ? HIDDEN : 0);
        }
        file.floats(stored(p + first), turned ? Shape.of(EXPERTS, HIDDEN, 2 * WIDTH) : Shape.of(EXPERTS, 2 * WIDTH, HIDDEN), both);
        file.floats(stored(p + second), turned ? Shape.of(EXPERTS, WIDTH, HIDDEN) : Shape.of(EXPERTS, HIDDEN, WIDTH), down);
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

    void gated(String p, String gate, String up, String down, int width, boolean bias) {
        linear(p + gate, width, HIDDEN, bias);
        linear(p + up, width, HIDDEN, bias);
        linear(p + down, HIDDEN, width, bias);
    }

    void linear(String path, int rows, int columns, boolean bias) {
        add(path + ".weight", rows, columns);
        if (bias) {
            add(path + ".bias", rows);
        }
    }

    /// A matrix whose inputs are as much smaller as there are columns.
    void loud(String name, int rows, int columns) {
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * Math.sqrt(columns));
        }
        put(name, Shape.of(rows, columns), values);
    }

    void add(String name, long... dims) {
        Shape shape = Shape.of(dims);
        float[] values = new float[(int) shape.elements()];
        for (int i = 0; i < values.length; i++) {
            // wide enough for what is clamped
            values[i] = (float) (random.nextGaussian() * (name.endsWith("_up_proj_bias") ? 4 : dims.length == 1 || name.contains("embed") ? 0.5 : 1.5 / Math.sqrt(dims[1])));
        }
        put(name, shape, values);
    }

    /// Experts in MXFP4, as their rows have it, and for the decoder as a checkpoint without codes would have them: the other way round.
    private void blocks(String name, int rows, int columns) {
        double[] elements = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
        int groups = columns / 32;
        byte[] codes = new byte[EXPERTS * rows * groups * 16];
        byte[] scales = new byte[EXPERTS * rows * groups];
        random.nextBytes(codes);
        double[] values = new double[EXPERTS * rows * columns];
        for (int block = 0; block < scales.length; block++) {
            int exponent = 122 + random.nextInt(3);
            scales[block] = (byte) exponent;
            int row = block / groups;
            for (int i = 0; i < 32; i++) {
                int code = codes[block * 16 + i / 2] >> i % 2 * 4 & 15;
                int column = block % groups * 32 + i;
                values[(row / rows * columns + column) * rows + row % rows] = elements[code & 7] * (code > 7 ? -1 : 1) * Math.pow(2, exponent - 127);
            }
        }
        tensors.put(name, values);
        file.add(prefix + name + "_blocks", DType.U8, Shape.of(EXPERTS, rows, groups, 16), codes);
        file.add(prefix + name + "_scales", DType.U8, Shape.of(EXPERTS, rows, groups), scales);
    }

    void norm(String name, int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) ((type.startsWith("gemma") && !LAYER_INPUTS.containsKey(text) || type.equals("nemotron") ? 0 : 1) + 0.3 * random.nextGaussian());
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
        file.floats(stored(name), shape, values);
    }

    /// The name that a tensor has in the file.
    private String stored(String name) {
        String stored = name;
        for (Map.Entry<String, String> other : OTHER_NAMES.getOrDefault(type, Map.of()).entrySet()) {
            stored = stored.replace(other.getKey(), other.getValue());
        }
        // the head stands beside the language model there
        return LAYER_INPUTS.containsKey(text) && name.startsWith("lm_head") ? name : prefix + stored;
    }

    public Path write(Path folder) throws IOException {
        Files.createDirectories(folder);
        file.write(folder.resolve("model.safetensors"));
        ObjectNode stored = config.deepCopy();
        OTHER_KEYS.getOrDefault(type, Map.of()).forEach((usual, own) -> stored.set(own, stored.remove(usual)));
        if (type.equals("olmo")) {
            stored.put("vocab_size", VOCABULARY - 9);
        }
        ObjectNode whole = stored;
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
