package ram.eval;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// A random decoder of a few thousand weights, written as a Hugging Face folder.
public final class TinyModel {
    /// Types of models with a language model inside, and the type of that.
    private static final Map<String, String> WRAPPED = Map.of("gemma3", "gemma3_text", "mistral3", "mistral");
    static final int HIDDEN = 32;
    static final int LAYERS = 2;
    static final int VOCABULARY = 600;
    private static final int WIDTH = 48;
    private static final int EXPERTS = 4;

    /// Of the language model.
    final ObjectNode config;
    private final String type;
    /// What the names of tensors in the file begin with.
    private final String prefix;
    final Map<String, double[]> tensors = new TreeMap<>();
    private final SafetensorsFile file = new SafetensorsFile();
    private final Random random = new Random(7);

    /// @param settings JSON members that are added to the configuration
    public TinyModel(String type, String settings) throws IOException {
        this.type = type;
        prefix = WRAPPED.containsKey(type) ? "language_model." : "";
        config = (ObjectNode) new ObjectMapper().readTree("""
                {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48,
                 "vocab_size": 600, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "max_position_embeddings": 64,
                 "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "shared_expert_intermediate_size": 64, "model_type": "%s" %s}"""
                .formatted(WRAPPED.getOrDefault(type, type), settings.isEmpty() ? "" : ", " + settings));
        if (config.has("rope_parameters")) {
            config.remove("rope_theta");
        }
        if (!config.has("tie_word_embeddings")) {
            config.put("tie_word_embeddings", false);
        }
        if (type.startsWith("gemma")) {
            config.put("hidden_act", "gelu_pytorch_tanh");
        }
        boolean bias = config.path("attention_bias").asBoolean() || type.startsWith("qwen2");
        add("model.embed_tokens.weight", VOCABULARY, HIDDEN);
        for (int l = 0; l < LAYERS; l++) {
            String p = "model.layers." + l + ".";
            for (String norm : norms()) {
                norm(p + norm + ".weight", HIDDEN);
            }
            if (type.equals("phi3")) {
                linear(p + "self_attn.qkv_proj", 64, HIDDEN, false);
            } else {
                linear(p + "self_attn.q_proj", 32, HIDDEN, bias);
                linear(p + "self_attn.k_proj", 16, HIDDEN, bias);
                linear(p + "self_attn.v_proj", 16, HIDDEN, bias);
            }
            linear(p + "self_attn.o_proj", HIDDEN, 32, config.path("attention_bias").asBoolean() && !type.equals("glm4"));
            if (type.startsWith("qwen3") || type.startsWith("gemma3") || type.startsWith("olmo")) {
                norm(p + "self_attn.q_norm.weight", type.startsWith("olmo") ? 32 : 8);
                norm(p + "self_attn.k_norm.weight", type.startsWith("olmo") ? 16 : 8);
            }
            boolean dense = config.path("mlp_only_layers").path(0).asInt(-1) == l;
            switch (dense ? "llama" : type) {
                case "mixtral" -> experts(p + "block_sparse_moe.", "w1", "w3", "w2");
                case "qwen3_moe", "olmoe" -> experts(p + "mlp.", "gate_proj", "up_proj", "down_proj");
                case "qwen2_moe" -> {
                    experts(p + "mlp.", "gate_proj", "up_proj", "down_proj");
                    gated(p + "mlp.shared_expert.", "gate_proj", "up_proj", "down_proj", 64, false);
                    linear(p + "mlp.shared_expert_gate", 1, HIDDEN, false);
                }
                case "phi3", "glm4" -> {
                    linear(p + "mlp.gate_up_proj", 2 * WIDTH, HIDDEN, false);
                    linear(p + "mlp.down_proj", HIDDEN, WIDTH, false);
                }
                default -> gated(p + "mlp.", "gate_proj", "up_proj", "down_proj", WIDTH, config.path("mlp_bias").asBoolean());
            }
        }
        norm("model.norm.weight", HIDDEN);
        if (!config.path("tie_word_embeddings").asBoolean() && !type.startsWith("gemma")) {
            linear("lm_head", VOCABULARY, HIDDEN, false);
        }
    }

    private List<String> norms() {
        return switch (type) {
            case "gemma2", "gemma3", "gemma3_text" -> List.of("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm");
            case "glm4" -> List.of("input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm");
            case "olmo2" -> List.of("post_attention_layernorm", "post_feedforward_layernorm");
            default -> List.of("input_layernorm", "post_attention_layernorm");
        };
    }

    private void experts(String p, String gate, String up, String down) {
        linear(p + "gate", EXPERTS, HIDDEN, false);
        for (int e = 0; e < EXPERTS; e++) {
            gated(p + "experts." + e + ".", gate, up, down, WIDTH, false);
        }
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
            values[i] = (float) ((type.startsWith("gemma") ? 0 : 1) + 0.3 * random.nextGaussian());
        }
        put(name, Shape.of(n), values);
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
            whole = config.objectNode().put("model_type", type);
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
