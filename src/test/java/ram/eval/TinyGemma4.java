package ram.eval;

import com.fasterxml.jackson.databind.node.ObjectNode;

/// The layers of tiny models of Gemma 4, as Hugging Face stores them: two types of layers, the last of which have no keys and values of their own.
final class TinyGemma4 {
    /// Where settings do not say others.
    static final String SIZES = """
            , "num_hidden_layers": 7, "global_head_dim": 16, "num_kv_shared_layers": 3, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 600, "use_double_wide_mlp": true,
            "attention_k_eq_v": false, "num_global_key_value_heads": null, "enable_moe_block": false, "num_experts": null, "final_logit_softcapping": 3.0, "sliding_window": 6,
            "hidden_activation": "gelu_pytorch_tanh",
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"],
            "rope_parameters": {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 300.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 20.0}}""";
    private static final int WIDTH = 48;

    private final TinyModel model;
    private final ObjectNode config;

    TinyGemma4(TinyModel model) {
        this.model = model;
        this.config = model.config;
    }

    private int size(String key) {
        return config.path(key).asInt();
    }

    static boolean slides(ObjectNode config, int layer) {
        return config.path("layer_types").isArray() ? config.path("layer_types").path(layer).asText().equals("sliding_attention")
                : layer % config.path("sliding_window_pattern").asInt() != config.path("sliding_window_pattern").asInt() - 1;
    }

    void fill() {
        int hidden = TinyModel.HIDDEN;
        int layers = size("num_hidden_layers");
        int each = size("hidden_size_per_layer_input");
        model.add("model.embed_tokens.weight", TinyModel.VOCABULARY, hidden);
        if (each > 0) {
            model.add("model.embed_tokens_per_layer.weight", size("vocab_size_per_layer_input"), layers * each);
            model.linear("model.per_layer_model_projection", layers * each, hidden, false);
            model.norm("model.per_layer_projection_norm.weight", each);
        }
        for (int l = 0; l < layers; l++) {
            String p = "model.layers." + l + ".";
            for (String norm : new String[] {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
                model.norm(p + norm + ".weight", hidden);
            }
            model.norm(p + "layer_scalar", 1);
            boolean slides = slides(config, l);
            boolean shares = l >= layers - size("num_kv_shared_layers");
            attention(p + "self_attn.", slides ? size("head_dim") : size("global_head_dim"), !slides && config.path("attention_k_eq_v").asBoolean(), shares);
            model.gated(p + "mlp.", "gate_proj", "up_proj", "down_proj", shares && config.path("use_double_wide_mlp").asBoolean() ? 2 * WIDTH : WIDTH, false);
            if (config.path("enable_moe_block").asBoolean()) {
                for (String norm : new String[] {"post_feedforward_layernorm_1", "pre_feedforward_layernorm_2", "post_feedforward_layernorm_2"}) {
                    model.norm(p + norm + ".weight", hidden);
                }
                model.fused(p, "router.proj", "experts.gate_up_proj", "experts.down_proj", false);
                model.norm(p + "router.scale", hidden);
                model.norm(p + "router.per_expert_scale", 4);
            }
            if (each > 0) {
                model.linear(p + "per_layer_input_gate", each, hidden, false);
                model.linear(p + "per_layer_projection", hidden, each, false);
                model.norm(p + "post_per_layer_input_norm.weight", hidden);
            }
        }
        model.norm("model.norm.weight", hidden);
        if (!config.path("tie_word_embeddings").asBoolean()) {
            model.linear("lm_head", TinyModel.VOCABULARY, hidden, false);
        }
    }

    private void attention(String p, int dim, boolean keysAsValues, boolean shares) {
        int hidden = TinyModel.HIDDEN;
        int heads = size("num_attention_heads");
        int kv = keysAsValues && !config.path("num_global_key_value_heads").isNull() ? size("num_global_key_value_heads") : size("num_key_value_heads");
        model.linear(p + "q_proj", heads * dim, hidden, false);
        model.norm(p + "q_norm.weight", dim);
        model.linear(p + "o_proj", hidden, heads * dim, false);
        // what shared layers have stored is left out, and must not be used
        model.linear(p + "k_proj", kv * dim, hidden, false);
        model.norm(p + "k_norm.weight", dim);
        if (!keysAsValues && (!shares || dim == size("head_dim"))) {
            model.linear(p + "v_proj", kv * dim, hidden, false);
        }
    }
}
