package ram.eval;

import com.fasterxml.jackson.databind.node.ObjectNode;

/// The layers of tiny models of Gemma 3n, as Hugging Face stores them.
final class TinyGemma3n {
    /// Where settings do not say others.
    static final String SIZES = """
            , "num_hidden_layers": 5, "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 600, "final_logit_softcapping": 3.0, "sliding_window": 6,
            "hidden_activation": "gelu_pytorch_tanh", "rope_theta": 300.0, "rope_local_base_freq": 20.0, "altup_num_inputs": 4, "altup_active_idx": 0, "altup_coef_clip": 0.5,
            "altup_correct_scale": true, "laurel_rank": 32, "activation_sparsity_pattern": [0.95, 0.5, 0.0, 0.2, 0.0], "tie_word_embeddings": true,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention", "sliding_attention"]""";
    private static final int WIDTH = 48;

    private final TinyModel model;
    private final ObjectNode config;

    TinyGemma3n(TinyModel model) {
        this.model = model;
        this.config = model.config;
    }

    private int size(String key) {
        return config.path(key).asInt();
    }

    void fill() {
        int hidden = TinyModel.HIDDEN;
        int layers = size("num_hidden_layers");
        int each = size("hidden_size_per_layer_input");
        int streams = size("altup_num_inputs");
        model.add("model.embed_tokens.weight", TinyModel.VOCABULARY, hidden);
        model.add("model.embed_tokens_per_layer.weight", size("vocab_size_per_layer_input"), layers * each);
        model.linear("model.per_layer_model_projection", layers * each, hidden, false);
        model.norm("model.per_layer_projection_norm.weight", each);
        for (int s = 0; s < streams - 1; s++) {
            model.linear("model.altup_projections." + s, hidden, hidden, false);
            model.linear("model.altup_unembed_projections." + s, hidden, hidden, false);
        }
        for (int l = 0; l < layers; l++) {
            String p = "model.layers." + l + ".";
            for (String norm : new String[] {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", "post_per_layer_input_norm",
                "altup.router_norm", "laurel.post_laurel_norm"}) {
                model.norm(p + norm + ".weight", hidden);
            }
            model.linear(p + "self_attn.q_proj", 32, hidden, false);
            model.linear(p + "self_attn.k_proj", 16, hidden, false);
            model.linear(p + "self_attn.v_proj", 16, hidden, false);
            model.linear(p + "self_attn.o_proj", hidden, 32, false);
            model.norm(p + "self_attn.q_norm.weight", 8);
            model.norm(p + "self_attn.k_norm.weight", 8);
            model.gated(p + "mlp.", "gate_proj", "up_proj", "down_proj", WIDTH, false);
            model.linear(p + "per_layer_input_gate", each, hidden, false);
            model.linear(p + "per_layer_projection", hidden, each, false);
            model.linear(p + "laurel.linear_left", size("laurel_rank"), hidden, false);
            model.linear(p + "laurel.linear_right", hidden, size("laurel_rank"), false);
            model.loud(p + "altup.modality_router.weight", streams, hidden);
            model.linear(p + "altup.prediction_coefs", streams * streams, streams, false);
            model.linear(p + "altup.correction_coefs", streams, streams, false);
            model.norm(p + "altup.correct_output_scale", hidden);
        }
        model.norm("model.norm.weight", hidden);
    }
}
