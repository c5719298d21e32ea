package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;

/// The layers of tiny models of Mamba 2 that are no usual decoders, as Hugging Face stores them.
final class TinyMamba {
    private static final String NEMOTRON = ", \"mamba_num_heads\": 4, \"mamba_head_dim\": 8, \"n_groups\": 2, \"ssm_state_size\": 6, \"conv_kernel\": 4, \"mamba_proj_bias\": false, \"use_conv_bias\": true, "
            + "\"use_bias\": false, \"mlp_bias\": false, \"attention_bias\": false, \"layer_norm_epsilon\": 0.03, \"hybrid_override_pattern\": \"M*-E\", \"mlp_hidden_act\": \"relu2\", \"mamba_hidden_act\": \"silu\", "
            + "\"n_group\": 1, \"topk_group\": 1, \"n_shared_experts\": 1, \"moe_shared_expert_intermediate_size\": 40, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5";
    private static final String FALCON = ", \"mamba_n_heads\": 4, \"mamba_d_head\": 8, \"mamba_d_ssm\": 32, \"mamba_n_groups\": 2, \"mamba_d_state\": 6, \"mamba_d_conv\": 4, \"mamba_conv_bias\": true, "
            + "\"mamba_proj_bias\": false, \"projectors_bias\": false, \"attention_bias\": false, \"mlp_bias\": false, \"attention_in_multiplier\": 1.5, \"attention_out_multiplier\": 0.9, "
            + "\"embedding_multiplier\": 2.5, \"key_multiplier\": 0.4, \"lm_head_multiplier\": 0.7, \"mlp_multipliers\": [0.8, 0.6], \"ssm_in_multiplier\": 1.25, "
            + "\"ssm_multipliers\": [0.7, 0.5, 0.9, 1.5, 1.2], \"ssm_out_multiplier\": 0.4";
    private static final String MAMBA = ", \"num_heads\": 4, \"n_groups\": 2, \"state_size\": 6, \"conv_kernel\": 4, \"use_bias\": false, \"use_conv_bias\": true, \"layer_norm_epsilon\": 0.03, "
            + "\"time_step_limit\": [0.1, 2.0], \"time_step_rank\": \"auto\"";
    private static final String FIRST = ", \"state_size\": 6, \"conv_kernel\": 4, \"time_step_rank\": \"auto\", \"use_bias\": false, \"use_conv_bias\": true";
    private static final String JAMBA = ", \"mamba_d_state\": 6, \"mamba_d_conv\": 4, \"mamba_expand\": 2, \"mamba_dt_rank\": 5, \"mamba_proj_bias\": false, \"mamba_conv_bias\": true, \"attn_layer_offset\": 1, "
            + "\"attn_layer_period\": 2, \"expert_layer_offset\": 1, \"expert_layer_period\": 2";
    /// The sizes of each type where settings do not say others.
    static final Map<String, String> SIZES = Map.of("nemotron_h", NEMOTRON, "falcon_h1", FALCON, "mamba2", MAMBA, "mamba", FIRST, "jamba", JAMBA);

    private final TinyModel model;
    private final ObjectNode config;

    TinyMamba(TinyModel model) {
        this.model = model;
        this.config = model.config;
    }

    void fill(String type) {
        switch (type) {
            case "nemotron_h" -> nemotron();
            case "falcon_h1" -> falcon();
            case "mamba2" -> mamba();
            case "mamba" -> first();
            case "jamba" -> jamba();
            default -> throw new IllegalArgumentException(type);
        }
    }

    private int size(String key) {
        return config.path(key).asInt();
    }

    private boolean on(String key) {
        return config.path(key).asBoolean();
    }

    /// @param shared values that all groups write with, or read with
    /// @param lastBias whether the last projection has one
    private void mixer(String p, int heads, int width, int shared, int taps, boolean bias, boolean norm, boolean convBias, boolean lastBias) {
        int convolved = width + 2 * shared;
        model.linear(p + "in_proj", width + convolved + heads, TinyModel.HIDDEN, bias);
        model.add(p + "conv1d.weight", convolved, 1, taps);
        if (convBias) {
            model.add(p + "conv1d.bias", convolved);
        }
        model.add(p + "A_log", heads);
        model.add(p + "D", heads);
        model.add(p + "dt_bias", heads);
        if (norm) {
            model.norm(p + "norm.weight", width);
        }
        model.linear(p + "out_proj", TinyModel.HIDDEN, width, lastBias);
    }

    private void attention(String p, boolean bias) {
        int d = size("head_dim") == 0 ? TinyModel.HIDDEN / size("num_attention_heads") : size("head_dim");
        model.linear(p + "q_proj", size("num_attention_heads") * d, TinyModel.HIDDEN, bias);
        model.linear(p + "k_proj", size("num_key_value_heads") * d, TinyModel.HIDDEN, bias);
        model.linear(p + "v_proj", size("num_key_value_heads") * d, TinyModel.HIDDEN, bias);
        model.linear(p + "o_proj", TinyModel.HIDDEN, size("num_attention_heads") * d, bias);
    }

    private void ungated(String p, int width, boolean bias) {
        model.linear(p + "up_proj", width, TinyModel.HIDDEN, bias);
        model.linear(p + "down_proj", TinyModel.HIDDEN, width, bias);
    }

    /// What the layers are, a letter each.
    static String letters(JsonNode config) {
        if (config.path("hybrid_override_pattern").isTextual()) {
            return config.path("hybrid_override_pattern").asText();
        }
        Map<String, String> names = Map.of("mamba", "M", "attention", "*", "mlp", "-", "moe", "E");
        StringBuilder out = new StringBuilder();
        config.path(config.path("hybrid_override_pattern").isArray() ? "hybrid_override_pattern" : "layers_block_type").forEach(n -> out.append(names.getOrDefault(n.asText(), n.asText())));
        return out.toString();
    }

    private void nemotron() {
        config.remove("hidden_act");
        int hidden = TinyModel.HIDDEN;
        String letters = letters(config);
        config.put("num_hidden_layers", letters.length());
        model.add("backbone.embeddings.weight", TinyModel.VOCABULARY, hidden);
        for (int l = 0; l < letters.length(); l++) {
            String p = "backbone.layers." + l + ".mixer.";
            model.norm("backbone.layers." + l + ".norm.weight", hidden);
            switch (letters.charAt(l)) {
                case 'M' -> mixer(p, size("mamba_num_heads"), size("mamba_num_heads") * size("mamba_head_dim"), size("n_groups") * size("ssm_state_size"), size("conv_kernel"), on("mamba_proj_bias"), true, on("use_conv_bias"),
                        on("mamba_proj_bias"));
                case '*' -> attention(p, on("attention_bias"));
                case 'E' -> nemotronMixture(p);
                default -> ungated(p, size("intermediate_size"), on("mlp_bias"));
            }
        }
        model.norm("backbone.norm_f.weight", hidden);
        model.linear("lm_head", TinyModel.VOCABULARY, hidden, false);
    }

    private void mamba() {
        config.remove("num_attention_heads");
        config.remove("num_key_value_heads");
        model.add("backbone.embeddings.weight", TinyModel.VOCABULARY, TinyModel.HIDDEN);
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            model.norm("backbone.layers." + l + ".norm.weight", TinyModel.HIDDEN);
            mixer("backbone.layers." + l + ".mixer.", size("num_heads"), size("num_heads") * size("head_dim"), size("n_groups") * size("state_size"), size("conv_kernel"), on("use_bias"), true,
                    on("use_conv_bias"), on("use_bias"));
        }
        model.norm("backbone.norm_f.weight", TinyModel.HIDDEN);
        if (!on("tie_word_embeddings")) {
            model.linear("lm_head", TinyModel.VOCABULARY, TinyModel.HIDDEN, false);
        }
    }

    private void selective(String p, int width, int states, int taps, int rank, boolean bias, boolean convBias) {
        model.linear(p + "in_proj", 2 * width, TinyModel.HIDDEN, bias);
        model.add(p + "conv1d.weight", width, 1, taps);
        if (convBias) {
            model.add(p + "conv1d.bias", width);
        }
        model.linear(p + "x_proj", rank + 2 * states, width, false);
        model.linear(p + "dt_proj", width, rank, true);
        model.add(p + "A_log", width, states);
        model.add(p + "D", width);
        model.linear(p + "out_proj", TinyModel.HIDDEN, width, bias);
    }

    /// The first Mamba.
    private void first() {
        config.remove("num_attention_heads");
        model.add("backbone.embeddings.weight", TinyModel.VOCABULARY, TinyModel.HIDDEN);
        int rank = config.path("time_step_rank").asInt(2);
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            model.norm("backbone.layers." + l + ".norm.weight", TinyModel.HIDDEN);
            selective("backbone.layers." + l + ".mixer.", size("intermediate_size"), size("state_size"), size("conv_kernel"), rank, on("use_bias"), on("use_conv_bias"));
        }
        model.norm("backbone.norm_f.weight", TinyModel.HIDDEN);
        if (!on("tie_word_embeddings")) {
            model.linear("lm_head", TinyModel.VOCABULARY, TinyModel.HIDDEN, false);
        }
    }

    private void jamba() {
        config.remove("head_dim");
        model.add("model.embed_tokens.weight", TinyModel.VOCABULARY, TinyModel.HIDDEN);
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            String p = "model.layers." + l + ".";
            model.norm(p + "input_layernorm.weight", TinyModel.HIDDEN);
            model.norm(p + "pre_ff_layernorm.weight", TinyModel.HIDDEN);
            boolean attends = config.path("layers_block_type").isArray() ? config.path("layers_block_type").path(l).asText().equals("attention")
                    : l % size("attn_layer_period") == size("attn_layer_offset");
            if (attends) {
                attention(p + "self_attn.", false);
            } else {
                int rank = config.path("mamba_dt_rank").asInt(2);
                selective(p + "mamba.", size("mamba_expand") * TinyModel.HIDDEN, size("mamba_d_state"), size("mamba_d_conv"), rank, on("mamba_proj_bias"), on("mamba_conv_bias"));
                model.norm(p + "mamba.dt_layernorm.weight", rank);
                model.norm(p + "mamba.b_layernorm.weight", size("mamba_d_state"));
                model.norm(p + "mamba.c_layernorm.weight", size("mamba_d_state"));
            }
            int experts = (l + size("expert_layer_offset")) % size("expert_layer_period") == 0 && size("num_experts") > 1 ? size("num_experts") : 0;
            if (experts == 0) {
                model.gated(p + "feed_forward.", "gate_proj", "up_proj", "down_proj", size("intermediate_size"), false);
            } else {
                model.linear(p + "feed_forward.router", experts, TinyModel.HIDDEN, false);
            }
            for (int e = 0; e < experts; e++) {
                model.gated(p + "feed_forward.experts." + e + ".", "gate_proj", "up_proj", "down_proj", size("intermediate_size"), false);
            }
        }
        model.norm("model.final_layernorm.weight", TinyModel.HIDDEN);
        if (!on("tie_word_embeddings")) {
            model.linear("lm_head", TinyModel.VOCABULARY, TinyModel.HIDDEN, false);
        }
    }

    private void nemotronMixture(String p) {
        boolean narrow = size("moe_latent_size") > 0;
        int entering = narrow ? size("moe_latent_size") : TinyModel.HIDDEN;
        model.linear(p + "gate", size("n_routed_experts"), TinyModel.HIDDEN, false);
        model.add(p + "gate.e_score_correction_bias", size("n_routed_experts"));
        for (int e = 0; e < size("n_routed_experts"); e++) {
            model.linear(p + "experts." + e + ".up_proj", size("moe_intermediate_size"), entering, false);
            model.linear(p + "experts." + e + ".down_proj", entering, size("moe_intermediate_size"), false);
        }
        if (narrow) {
            model.linear(p + "fc1_latent_proj", entering, TinyModel.HIDDEN, on("mlp_bias"));
            model.linear(p + "fc2_latent_proj", TinyModel.HIDDEN, entering, on("mlp_bias"));
        }
        if (config.path("n_shared_experts").isNumber()) {
            ungated(p + "shared_experts.", size("moe_shared_expert_intermediate_size"), on("mlp_bias"));
        }
    }

    private void falcon() {
        int hidden = TinyModel.HIDDEN;
        model.add("model.embed_tokens.weight", TinyModel.VOCABULARY, hidden);
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            String p = "model.layers." + l + ".";
            model.norm(p + "input_layernorm.weight", hidden);
            model.norm(p + "pre_ff_layernorm.weight", hidden);
            mixer(p + "mamba.", size("mamba_n_heads"), size("mamba_d_ssm"), size("mamba_n_groups") * size("mamba_d_state"), size("mamba_d_conv"), on("mamba_proj_bias"), on("mamba_rms_norm"),
                    on("mamba_conv_bias"), on("projectors_bias"));
            attention(p + "self_attn.", on("attention_bias"));
            model.gated(p + "feed_forward.", "gate_proj", "up_proj", "down_proj", size("intermediate_size"), on("mlp_bias"));
        }
        model.norm("model.final_layernorm.weight", hidden);
        if (!on("tie_word_embeddings")) {
            model.linear("lm_head", TinyModel.VOCABULARY, hidden, false);
        }
    }
}
