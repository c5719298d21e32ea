package ram.layout;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// Checkpoints with the shapes of published models: headers in full, data as sparse files that take no space.
public final class PublishedModels {
    public static final List<String> NAMES = List.of("Qwen3-8B", "Qwen3-30B-A3B", "Qwen2-57B-A14B", "Mixtral-8x7B", "GLM-4.7", "GLM-4.7-Flash", "Llama-4-Scout",
            "Llama-4-Maverick", "Qwen3.5-397B-A17B", "Qwen3.5-35B-A3B", "DeepSeek-V3", "gpt-oss-20b");

    private static final long SHARD = 4L << 30;

    private final Map<String, Entry> tensors = new LinkedHashMap<>();

    private record Entry(String dtype, long[] shape, long bytes) {
    }

    private PublishedModels() {
    }

    /// Writes the model into `folder`.
    public static Path write(Path folder, String name) throws IOException {
        PublishedModels m = new PublishedModels();
        String config = switch (name) {
            case "Qwen3-8B" -> m.qwen3(36, 4096, 12_288, 32, 8, 0, 0);
            case "Qwen3-30B-A3B" -> m.qwen3(48, 2048, 6144, 32, 4, 128, 768);
            case "Qwen2-57B-A14B" -> m.qwen2Moe();
            case "Mixtral-8x7B" -> m.mixtral();
            case "GLM-4.7" -> m.glm();
            case "GLM-4.7-Flash" -> m.latent("glm4_moe_lite", 47, 2048, 10_240, 20, 768, 512, 192, 64, 256, 64, 1536, 1, 154_880, false);
            case "Llama-4-Scout" -> m.llama4(16, 1);
            case "Llama-4-Maverick" -> m.llama4(128, 2);
            case "Qwen3.5-397B-A17B" -> m.qwen35(60, 4096, 512, 1024, 32, 64);
            case "Qwen3.5-35B-A3B" -> m.qwen35(40, 2048, 256, 512, 16, 32);
            case "DeepSeek-V3" -> m.latent("deepseek_v3", 61, 7168, 18_432, 128, 1536, 512, 128, 64, 128, 256, 2048, 3, 129_280, true);
            case "gpt-oss-20b" -> m.gptOss();
            default -> throw new IllegalArgumentException(name);
        };
        Files.createDirectories(folder);
        Files.writeString(folder.resolve("config.json"), "{\"torch_dtype\":\"bfloat16\",\"rms_norm_eps\":1e-6,\"max_position_embeddings\":40960,\"rope_theta\":1000000.0," + config + "}");
        m.files(folder);
        return folder;
    }

    private void add(String name, long... shape) {
        typed(name, "BF16", 2, shape);
    }

    private void typed(String name, String dtype, int size, long... shape) {
        long bytes = size;
        for (long d : shape) {
            bytes *= d;
        }
        if (tensors.put(name, new Entry(dtype, shape, bytes)) != null) {
            throw new IllegalStateException(name);
        }
    }

    private void matrix(String path, boolean fp8, long rows, long columns) {
        if (fp8) {
            typed(path + ".weight", "F8_E4M3", 1, rows, columns);
            typed(path + ".weight_scale_inv", "F32", 4, Math.ceilDiv(rows, 128L), Math.ceilDiv(columns, 128L));
        } else {
            add(path + ".weight", rows, columns);
        }
    }

    private void feedForward(String p, boolean fp8, long hidden, long inner) {
        matrix(p + "gate_proj", fp8, inner, hidden);
        matrix(p + "up_proj", fp8, inner, hidden);
        matrix(p + "down_proj", fp8, hidden, inner);
    }

    private void ends(String prefix, String head, long vocabulary, long hidden) {
        add(prefix + "embed_tokens.weight", vocabulary, hidden);
        add(prefix + "norm.weight", hidden);
        add(head, vocabulary, hidden);
    }

    private void attention(String p, long hidden, long heads, long keyHeads, long head, boolean biases, boolean norms) {
        String[] names = {"q_proj", "k_proj", "v_proj"};
        long[] rows = {heads * head, keyHeads * head, keyHeads * head};
        for (int i = 0; i < 3; i++) {
            add(p + "self_attn." + names[i] + ".weight", rows[i], hidden);
            if (biases) {
                add(p + "self_attn." + names[i] + ".bias", rows[i]);
            }
        }
        add(p + "self_attn.o_proj.weight", hidden, heads * head);
        if (norms) {
            add(p + "self_attn.q_norm.weight", head);
            add(p + "self_attn.k_norm.weight", head);
        }
    }

    private void norms(String p, long hidden) {
        add(p + "input_layernorm.weight", hidden);
        add(p + "post_attention_layernorm.weight", hidden);
    }

    private String qwen3(int layers, long hidden, long inner, int heads, int keyHeads, int experts, long expertInner) {
        ends("model.", "lm_head.weight", 151_936, hidden);
        for (int l = 0; l < layers; l++) {
            String p = "model.layers." + l + ".";
            norms(p, hidden);
            attention(p, hidden, heads, keyHeads, 128, false, true);
            if (experts == 0) {
                feedForward(p + "mlp.", false, hidden, inner);
            } else {
                add(p + "mlp.gate.weight", experts, hidden);
            }
            for (int e = 0; e < experts; e++) {
                feedForward(p + "mlp.experts." + e + ".", false, hidden, expertInner);
            }
        }
        return String.format("\"model_type\":\"%s\",\"hidden_size\":%d,\"num_hidden_layers\":%d,\"intermediate_size\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
                + "\"head_dim\":128,\"vocab_size\":151936,\"tie_word_embeddings\":false,\"num_experts\":%d,\"num_experts_per_tok\":8,\"moe_intermediate_size\":%d,"
                + "\"decoder_sparse_step\":1,\"mlp_only_layers\":[],\"norm_topk_prob\":true", experts == 0 ? "qwen3" : "qwen3_moe", hidden, layers, inner, heads, keyHeads, experts, expertInner);
    }

    private String qwen2Moe() {
        ends("model.", "lm_head.weight", 151_936, 3584);
        for (int l = 0; l < 28; l++) {
            String p = "model.layers." + l + ".";
            norms(p, 3584);
            attention(p, 3584, 28, 4, 128, true, false);
            add(p + "mlp.gate.weight", 64, 3584);
            add(p + "mlp.shared_expert_gate.weight", 1, 3584);
            feedForward(p + "mlp.shared_expert.", false, 3584, 20_480);
            for (int e = 0; e < 64; e++) {
                feedForward(p + "mlp.experts." + e + ".", false, 3584, 2560);
            }
        }
        return "\"model_type\":\"qwen2_moe\",\"hidden_size\":3584,\"num_hidden_layers\":28,\"intermediate_size\":18944,\"num_attention_heads\":28,\"num_key_value_heads\":4,\"vocab_size\":151936,"
                + "\"num_experts\":64,\"num_experts_per_tok\":8,\"moe_intermediate_size\":2560,\"shared_expert_intermediate_size\":20480,\"tie_word_embeddings\":false";
    }

    private String mixtral() {
        ends("model.", "lm_head.weight", 32_000, 4096);
        for (int l = 0; l < 32; l++) {
            String p = "model.layers." + l + ".";
            norms(p, 4096);
            attention(p, 4096, 32, 8, 128, false, false);
            add(p + "block_sparse_moe.gate.weight", 8, 4096);
            for (int e = 0; e < 8; e++) {
                add(p + "block_sparse_moe.experts." + e + ".w1.weight", 14_336, 4096);
                add(p + "block_sparse_moe.experts." + e + ".w3.weight", 14_336, 4096);
                add(p + "block_sparse_moe.experts." + e + ".w2.weight", 4096, 14_336);
            }
        }
        return "\"model_type\":\"mixtral\",\"hidden_size\":4096,\"num_hidden_layers\":32,\"intermediate_size\":14336,\"num_attention_heads\":32,\"num_key_value_heads\":8,\"vocab_size\":32000,"
                + "\"num_local_experts\":8,\"num_experts_per_tok\":2,\"tie_word_embeddings\":false";
    }

    /// 92 layers and one of multi-token prediction.
    private String glm() {
        long hidden = 5120;
        ends("model.", "lm_head.weight", 151_552, hidden);
        for (int l = 0; l < 93; l++) {
            String p = "model.layers." + l + ".";
            norms(p, hidden);
            attention(p, hidden, 96, 8, 128, true, true);
            if (l < 3) {
                feedForward(p + "mlp.", false, hidden, 12_288);
            } else {
                experts(p, false, hidden, 160, 1536);
            }
            if (l == 92) {
                prediction(p, false, hidden, 151_552);
            }
        }
        return "\"model_type\":\"glm4_moe\",\"hidden_size\":5120,\"num_hidden_layers\":92,\"intermediate_size\":12288,\"num_attention_heads\":96,\"num_key_value_heads\":8,\"head_dim\":128,"
                + "\"vocab_size\":151552,\"n_routed_experts\":160,\"n_shared_experts\":1,\"num_experts_per_tok\":8,\"moe_intermediate_size\":1536,\"first_k_dense_replace\":3,"
                + "\"attention_bias\":true,\"use_qk_norm\":true,\"partial_rotary_factor\":0.5,\"tie_word_embeddings\":false";
    }

    private void experts(String p, boolean fp8, long hidden, int experts, long inner) {
        add(p + "mlp.gate.weight", experts, hidden);
        typed(p + "mlp.gate.e_score_correction_bias", "F32", 4, experts);
        feedForward(p + "mlp.shared_experts.", fp8, hidden, inner);
        for (int e = 0; e < experts; e++) {
            feedForward(p + "mlp.experts." + e + ".", fp8, hidden, inner);
        }
    }

    private void prediction(String p, boolean fp8, long hidden, long vocabulary) {
        matrix(p + "eh_proj", fp8, hidden, 2 * hidden);
        for (String norm : List.of("enorm", "hnorm", "shared_head.norm")) {
            add(p + norm + ".weight", hidden);
        }
        add(p + "embed_tokens.weight", vocabulary, hidden);
        add(p + "shared_head.head.weight", vocabulary, hidden);
    }

    /// Multi-head latent attention; one layer of multi-token prediction at the end.
    private String latent(String type, int layers, long hidden, long inner, int heads, long queryRank, long rank, long nope, long rope, long value, int experts, long expertInner,
                          int dense, long vocabulary, boolean fp8) {
        ends("model.", "lm_head.weight", vocabulary, hidden);
        for (int l = 0; l <= layers; l++) {
            String p = "model.layers." + l + ".";
            norms(p, hidden);
            matrix(p + "self_attn.q_a_proj", fp8, queryRank, hidden);
            add(p + "self_attn.q_a_layernorm.weight", queryRank);
            matrix(p + "self_attn.q_b_proj", fp8, heads * (nope + rope), queryRank);
            matrix(p + "self_attn.kv_a_proj_with_mqa", fp8, rank + rope, hidden);
            add(p + "self_attn.kv_a_layernorm.weight", rank);
            matrix(p + "self_attn.kv_b_proj", fp8, heads * (nope + value), rank);
            matrix(p + "self_attn.o_proj", fp8, hidden, heads * value);
            if (l < dense) {
                feedForward(p + "mlp.", fp8, hidden, inner);
            } else {
                experts(p, fp8, hidden, experts, expertInner);
            }
            if (l == layers) {
                prediction(p, fp8, hidden, vocabulary);
            }
        }
        return String.format("\"model_type\":\"%s\",\"hidden_size\":%d,\"num_hidden_layers\":%d,\"intermediate_size\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"q_lora_rank\":%d,"
                + "\"kv_lora_rank\":%d,\"qk_nope_head_dim\":%d,\"qk_rope_head_dim\":%d,\"v_head_dim\":%d,\"n_routed_experts\":%d,\"n_shared_experts\":1,\"moe_intermediate_size\":%d,"
                + "\"first_k_dense_replace\":%d,\"num_experts_per_tok\":8,\"vocab_size\":%d,\"tie_word_embeddings\":false%s", type, hidden, layers, inner, heads, heads, queryRank, rank, nope, rope,
                value, experts, expertInner, dense, vocabulary, fp8 ? ",\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}" : "");
    }

    private String llama4(int experts, int every) {
        long hidden = 5120;
        ends("language_model.model.", "language_model.lm_head.weight", 202_048, hidden);
        for (int l = 0; l < 48; l++) {
            String p = "language_model.model.layers." + l + ".";
            norms(p, hidden);
            attention(p, hidden, 40, 8, 128, false, false);
            if ((l + 1) % every == 0) {
                add(p + "feed_forward.experts.gate_up_proj", experts, hidden, 16_384);
                add(p + "feed_forward.experts.down_proj", experts, 8192, hidden);
                add(p + "feed_forward.router.weight", experts, hidden);
                feedForward(p + "feed_forward.shared_expert.", false, hidden, 8192);
            } else {
                feedForward(p + "feed_forward.", false, hidden, 16_384);
            }
        }
        add("vision_model.patch_embedding.linear.weight", 1408, 588);
        add("multi_modal_projector.linear_1.weight", 5120, 4096);
        return "\"model_type\":\"llama4\",\"text_config\":{\"model_type\":\"llama4_text\",\"hidden_size\":5120,\"num_hidden_layers\":48,\"intermediate_size\":8192,\"intermediate_size_mlp\":16384,"
                + "\"num_attention_heads\":40,\"num_key_value_heads\":8,\"head_dim\":128,\"vocab_size\":202048,\"num_local_experts\":" + experts + ",\"interleave_moe_layer_step\":" + every
                + ",\"num_experts_per_tok\":1,\"tie_word_embeddings\":false}";
    }

    private String qwen35(int layers, long hidden, int experts, long inner, int heads, int valueHeads) {
        String model = "model.language_model.";
        ends(model, "lm_head.weight", 248_320, hidden);
        long keys = 16 * 128;
        long values = valueHeads * 128L;
        for (int l = 0; l < layers; l++) {
            String p = model + "layers." + l + ".";
            norms(p, hidden);
            if ((l + 1) % 4 == 0) {
                add(p + "self_attn.q_proj.weight", 2 * heads * 256L, hidden);
                add(p + "self_attn.k_proj.weight", 512, hidden);
                add(p + "self_attn.v_proj.weight", 512, hidden);
                add(p + "self_attn.o_proj.weight", hidden, heads * 256L);
                add(p + "self_attn.q_norm.weight", 256);
                add(p + "self_attn.k_norm.weight", 256);
            } else {
                add(p + "linear_attn.in_proj_qkv.weight", 2 * keys + values, hidden);
                add(p + "linear_attn.in_proj_z.weight", values, hidden);
                add(p + "linear_attn.in_proj_a.weight", valueHeads, hidden);
                add(p + "linear_attn.in_proj_b.weight", valueHeads, hidden);
                add(p + "linear_attn.conv1d.weight", 2 * keys + values, 1, 4);
                add(p + "linear_attn.dt_bias", valueHeads);
                typed(p + "linear_attn.A_log", "F32", 4, valueHeads);
                typed(p + "linear_attn.norm.weight", "F32", 4, 128);
                add(p + "linear_attn.out_proj.weight", hidden, values);
            }
            add(p + "mlp.experts.gate_up_proj", experts, 2 * inner, hidden);
            add(p + "mlp.experts.down_proj", experts, hidden, inner);
            add(p + "mlp.gate.weight", experts, hidden);
            add(p + "mlp.shared_expert_gate.weight", 1, hidden);
            feedForward(p + "mlp.shared_expert.", false, hidden, inner);
        }
        add("model.visual.patch_embed.proj.weight", 1152, 3, 2, 16, 16);
        add("mtp.fc.weight", hidden, 2 * hidden);
        return "\"model_type\":\"qwen3_5_moe\",\"text_config\":{\"model_type\":\"qwen3_5_moe_text\",\"hidden_size\":" + hidden + ",\"num_hidden_layers\":" + layers
                + ",\"num_attention_heads\":" + heads + ",\"num_key_value_heads\":2,\"head_dim\":256,\"vocab_size\":248320,\"num_experts\":" + experts
                + ",\"num_experts_per_tok\":8,\"moe_intermediate_size\":" + inner + ",\"shared_expert_intermediate_size\":" + inner + ",\"linear_num_value_heads\":" + valueHeads
                + ",\"linear_num_key_heads\":16,\"linear_key_head_dim\":128,\"linear_value_head_dim\":128,\"linear_conv_kernel_dim\":4,\"full_attention_interval\":4,\"tie_word_embeddings\":false}";
    }

    private String gptOss() {
        long hidden = 2880;
        ends("model.", "lm_head.weight", 201_088, hidden);
        for (int l = 0; l < 24; l++) {
            String p = "model.layers." + l + ".";
            norms(p, hidden);
            attention(p, hidden, 64, 8, 64, true, false);
            add(p + "self_attn.o_proj.bias", hidden);
            add(p + "self_attn.sinks", 64);
            add(p + "mlp.router.weight", 32, hidden);
            add(p + "mlp.router.bias", 32);
            typed(p + "mlp.experts.gate_up_proj_blocks", "U8", 1, 32, 2 * hidden, hidden / 32, 16);
            typed(p + "mlp.experts.gate_up_proj_scales", "U8", 1, 32, 2 * hidden, hidden / 32);
            add(p + "mlp.experts.gate_up_proj_bias", 32, 2 * hidden);
            typed(p + "mlp.experts.down_proj_blocks", "U8", 1, 32, hidden, hidden / 32, 16);
            typed(p + "mlp.experts.down_proj_scales", "U8", 1, 32, hidden, hidden / 32);
            add(p + "mlp.experts.down_proj_bias", 32, hidden);
        }
        return "\"model_type\":\"gpt_oss\",\"hidden_size\":2880,\"num_hidden_layers\":24,\"intermediate_size\":2880,\"num_attention_heads\":64,\"num_key_value_heads\":8,\"head_dim\":64,"
                + "\"vocab_size\":201088,\"num_local_experts\":32,\"num_experts_per_tok\":4,\"sliding_window\":128,\"quantization_config\":{\"quant_method\":\"mxfp4\"}";
    }

    private void files(Path folder) throws IOException {
        StringBuilder index = new StringBuilder();
        StringBuilder header = new StringBuilder();
        long offset = 0;
        int file = 1;
        for (Map.Entry<String, Entry> t : tensors.entrySet()) {
            if (offset > 0 && offset + t.getValue().bytes() > SHARD) {
                finish(folder, file++, header, offset);
                offset = 0;
            }
            header.append(header.isEmpty() ? "" : ",").append('"').append(t.getKey()).append("\":{\"dtype\":\"").append(t.getValue().dtype()).append("\",\"shape\":")
                    .append(java.util.Arrays.toString(t.getValue().shape())).append(",\"data_offsets\":[").append(offset).append(',').append(offset += t.getValue().bytes()).append("]}");
            index.append(index.isEmpty() ? "" : ",").append('"').append(t.getKey()).append("\":\"").append(fileName(file)).append('"');
        }
        finish(folder, file, header, offset);
        Files.writeString(folder.resolve("model.safetensors.index.json"), "{\"metadata\":{},\"weight_map\":{" + index + "}}");
    }

    private static String fileName(int number) {
        return String.format("model-%05d.safetensors", number);
    }

    private static void finish(Path folder, int number, StringBuilder header, long bytes) throws IOException {
        byte[] json = ("{" + header + "}").getBytes(StandardCharsets.UTF_8);
        header.setLength(0);
        try (RandomAccessFile out = new RandomAccessFile(folder.resolve(fileName(number)).toFile(), "rw")) {
            out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).array());
            out.write(json);
            out.setLength(8 + json.length + bytes);
        }
    }
}
