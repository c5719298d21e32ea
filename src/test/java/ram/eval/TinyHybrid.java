package ram.eval;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;

/// The layers of tiny models some of which do not attend, as Hugging Face stores them.
final class TinyHybrid {
    private static final String LFM2 = ", \"conv_L_cache\": 3, \"conv_bias\": false, \"block_dim\": 32, \"block_ff_dim\": 48, \"block_multiple_of\": 16, "
            + "\"block_ffn_dim_multiplier\": 1.0, \"block_auto_adjust_ff_dim\": false, \"layer_types\": [\"conv\", \"full_attention\"]";
    private static final String QWEN = ", \"linear_num_key_heads\": 2, \"linear_num_value_heads\": 4, \"linear_key_head_dim\": 8, \"linear_value_head_dim\": 16, "
            + "\"linear_conv_kernel_dim\": 4, \"full_attention_interval\": 2, \"partial_rotary_factor\": 0.5, \"norm_topk_prob\": true";
    private static final String GRANITE = ", \"mamba_n_heads\": 4, \"mamba_d_head\": 8, \"mamba_n_groups\": 2, \"mamba_d_state\": 6, \"mamba_d_conv\": 4, \"mamba_proj_bias\": false, \"mamba_conv_bias\": true, "
            + "\"layer_types\": [\"mamba\", \"attention\"], \"shared_intermediate_size\": 64, \"attention_bias\": false, \"embedding_multiplier\": 3.0, \"attention_multiplier\": 0.2, "
            + "\"residual_multiplier\": 0.4, \"logits_scaling\": 2.5";
    /// The sizes of each type where settings do not say others.
    static final Map<String, String> SIZES = Map.of("lfm2", LFM2,
            "lfm2_moe", LFM2 + ", \"num_dense_layers\": 1, \"use_expert_bias\": true, \"norm_topk_prob\": true",
            "granitemoehybrid", GRANITE, "qwen3_next", QWEN, "qwen3_5_text", QWEN + ", \"num_experts\": 0", "qwen3_5_moe_text", QWEN);

    private final TinyModel model;
    private final ObjectNode config;
    private final String type;

    TinyHybrid(TinyModel model, String type) {
        this.model = model;
        this.config = model.config;
        this.type = type;
    }

    void fill() {
        int hidden = TinyModel.HIDDEN;
        model.add("model.embed_tokens.weight", TinyModel.VOCABULARY, hidden);
        for (int l = 0; l < size("num_hidden_layers"); l++) {
            if (type.startsWith("qwen")) {
                qwen(l, "model.layers." + l + ".");
            } else if (type.startsWith("granite")) {
                granite(l, "model.layers." + l + ".");
            } else {
                lfm2(l, "model.layers." + l + ".");
            }
        }
        if (type.startsWith("qwen")) {
            // from norms of these types 1 has been taken away
            model.add("model.norm.weight", hidden);
        } else {
            model.norm(type.startsWith("granite") ? "model.norm.weight" : "model.embedding_norm.weight", hidden);
        }
        if (!type.startsWith("lfm2") && !config.path("tie_word_embeddings").asBoolean()) {
            model.linear("lm_head", TinyModel.VOCABULARY, hidden, false);
        }
    }

    private int size(String key) {
        return config.path(key).asInt();
    }

    private void granite(int l, String p) {
        int hidden = TinyModel.HIDDEN;
        model.norm(p + "input_layernorm.weight", hidden);
        model.norm(p + "post_attention_layernorm.weight", hidden);
        if (config.path("layer_types").path(l).asText().equals("attention")) {
            boolean bias = config.path("attention_bias").asBoolean();
            model.linear(p + "self_attn.q_proj", hidden, hidden, bias);
            model.linear(p + "self_attn.k_proj", hidden / 2, hidden, bias);
            model.linear(p + "self_attn.v_proj", hidden / 2, hidden, bias);
            model.linear(p + "self_attn.o_proj", hidden, hidden, bias);
        } else {
            int heads = size("mamba_n_heads");
            int width = heads * size("mamba_d_head");
            int convolved = width + 2 * size("mamba_n_groups") * size("mamba_d_state");
            boolean bias = config.path("mamba_proj_bias").asBoolean();
            model.linear(p + "mamba.in_proj", width + convolved + heads, hidden, bias);
            model.add(p + "mamba.conv1d.weight", convolved, 1, size("mamba_d_conv"));
            if (config.path("mamba_conv_bias").asBoolean()) {
                model.add(p + "mamba.conv1d.bias", convolved);
            }
            model.add(p + "mamba.A_log", heads);
            model.add(p + "mamba.D", heads);
            model.add(p + "mamba.dt_bias", heads);
            model.norm(p + "mamba.norm.weight", width);
            model.linear(p + "mamba.out_proj", hidden, width, bias);
        }
        if (size("num_local_experts") > 0) {
            model.fused(p + "block_sparse_moe.", "router.layer", "input_linear.weight", "output_linear.weight", false);
        }
        // without experts the class makes this network by the other key
        int inner = size(size("num_local_experts") > 0 ? "shared_intermediate_size" : "intermediate_size");
        model.linear(p + "shared_mlp.input_linear", 2 * inner, hidden, false);
        model.linear(p + "shared_mlp.output_linear", hidden, inner, false);
    }

    private void qwen(int l, String p) {
        int hidden = TinyModel.HIDDEN;
        model.add(p + "input_layernorm.weight", hidden);
        model.add(p + "post_attention_layernorm.weight", hidden);
        if ((l + 1) % size("full_attention_interval") == 0) {
            int d = size("head_dim");
            boolean bias = config.path("attention_bias").asBoolean();
            model.linear(p + "self_attn.q_proj", 8 * d, hidden, bias);
            model.linear(p + "self_attn.k_proj", 2 * d, hidden, bias);
            model.linear(p + "self_attn.v_proj", 2 * d, hidden, bias);
            model.linear(p + "self_attn.o_proj", hidden, 4 * d, bias);
            model.add(p + "self_attn.q_norm.weight", d);
            model.add(p + "self_attn.k_norm.weight", d);
        } else {
            int heads = size("linear_num_value_heads");
            int keys = size("linear_num_key_heads") * size("linear_key_head_dim");
            int values = heads * size("linear_value_head_dim");
            if (type.equals("qwen3_next")) {
                model.linear(p + "linear_attn.in_proj_qkvz", 2 * keys + 2 * values, hidden, false);
                model.linear(p + "linear_attn.in_proj_ba", 2 * heads, hidden, false);
            } else {
                model.linear(p + "linear_attn.in_proj_qkv", 2 * keys + values, hidden, false);
                model.linear(p + "linear_attn.in_proj_z", values, hidden, false);
                model.linear(p + "linear_attn.in_proj_b", heads, hidden, false);
                model.linear(p + "linear_attn.in_proj_a", heads, hidden, false);
            }
            model.add(p + "linear_attn.conv1d.weight", 2 * keys + values, 1, size("linear_conv_kernel_dim"));
            model.add(p + "linear_attn.A_log", heads);
            model.add(p + "linear_attn.dt_bias", heads);
            model.norm(p + "linear_attn.norm.weight", size("linear_value_head_dim"));
            model.linear(p + "linear_attn.out_proj", hidden, values, false);
        }
        if (size("num_experts") == 0 || config.path("mlp_only_layers").path(0).asInt(-1) == l) {
            model.gated(p + "mlp.", "gate_proj", "up_proj", "down_proj", 48, false);
            return;
        }
        if (type.equals("qwen3_next")) {
            model.experts(p + "mlp.", "gate_proj", "up_proj", "down_proj");
        } else {
            model.fused(p + "mlp.", "gate", "experts.gate_up_proj", "experts.down_proj", false);
        }
        model.gated(p + "mlp.shared_expert.", "gate_proj", "up_proj", "down_proj", 64, false);
        model.linear(p + "mlp.shared_expert_gate", 1, hidden, false);
    }

    private void lfm2(int l, String p) {
        int hidden = TinyModel.HIDDEN;
        model.norm(p + "operator_norm.weight", hidden);
        model.norm(p + "ffn_norm.weight", hidden);
        boolean attends = config.path("full_attn_idxs").isArray() ? config.path("full_attn_idxs").toString().contains("" + l)
                : config.path("layer_types").path(l).asText().equals("full_attention");
        if (attends) {
            model.linear(p + "self_attn.q_proj", hidden, hidden, false);
            model.linear(p + "self_attn.k_proj", hidden / 2, hidden, false);
            model.linear(p + "self_attn.v_proj", hidden / 2, hidden, false);
            model.linear(p + "self_attn.out_proj", hidden, hidden, false);
            model.norm(p + "self_attn.q_layernorm.weight", 8);
            model.norm(p + "self_attn.k_layernorm.weight", 8);
        } else {
            boolean bias = config.path("conv_bias").asBoolean();
            model.linear(p + "conv.in_proj", 3 * hidden, hidden, bias);
            model.add(p + "conv.conv.weight", hidden, 1, size("conv_L_cache"));
            if (bias) {
                model.add(p + "conv.conv.bias", hidden);
            }
            model.linear(p + "conv.out_proj", hidden, hidden, bias);
        }
        if (type.equals("lfm2_moe") && l >= size("num_dense_layers")) {
            model.experts(p + "feed_forward.", "w1", "w3", "w2");
            if (config.path("use_expert_bias").asBoolean()) {
                model.add(p + "feed_forward.expert_bias", 4);
            }
        } else {
            model.gated(p + "feed_forward.", "w1", "w3", "w2", 48, false);
        }
    }
}
