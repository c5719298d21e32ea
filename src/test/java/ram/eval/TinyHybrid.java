package ram.eval;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;

/// The layers of tiny models some of which do not attend, as Hugging Face stores them.
final class TinyHybrid {
    private static final String LFM2 = ", \"conv_L_cache\": 3, \"conv_bias\": false, \"block_dim\": 32, \"block_ff_dim\": 48, \"block_multiple_of\": 16, "
            + "\"block_ffn_dim_multiplier\": 1.0, \"block_auto_adjust_ff_dim\": false, \"layer_types\": [\"conv\", \"full_attention\"]";
    /// The sizes of each type where settings do not say others.
    static final Map<String, String> SIZES = Map.of("lfm2", LFM2,
            "lfm2_moe", LFM2 + ", \"num_dense_layers\": 1, \"use_expert_bias\": true, \"norm_topk_prob\": true");

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
            lfm2(l, "model.layers." + l + ".");
        }
        model.norm("model.embedding_norm.weight", hidden);
    }

    private int size(String key) {
        return config.path(key).asInt();
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
