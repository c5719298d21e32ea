package ram.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ram.InputException;
import ram.numeric.Workers;

/// The forward pass against its double-precision twin.
class ForwardPassTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "llama     | ''",
        "llama     | \"tie_word_embeddings\": true, \"attention_bias\": true, \"mlp_bias\": true",
        "llama     | \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}",
        "llama     | \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}",
        "llama     | \"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2.0, \"rope_theta\": 500.0}",
        "mistral   | \"sliding_window\": 5, \"layer_types\": [\"sliding_attention\", \"full_attention\"]",
        "mistral   | \"sliding_window\": 5",
        "qwen2     | \"tie_word_embeddings\": true",
        "qwen3     | \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 256}",
        "qwen3_moe | \"norm_topk_prob\": true, \"mlp_only_layers\": [1], \"decoder_sparse_step\": 1",
        "qwen3_moe | \"norm_topk_prob\": false",
        "qwen2_moe | \"norm_topk_prob\": false",
        "mixtral   | ''",
        "olmoe     | \"norm_topk_prob\": false",
        "olmo2     | \"tie_word_embeddings\": true, \"attention_bias\": true",
        "smollm3   | \"no_rope_layers\": [0, 1]",
        "smollm3   | \"no_rope_layer_interval\": 2, \"tie_word_embeddings\": true",
        "granite   | \"attention_multiplier\": 0.2, \"embedding_multiplier\": 3.0, \"residual_multiplier\": 0.4, \"logits_scaling\": 2.5, \"attention_bias\": false, \"mlp_bias\": true",
        "phi3      | ''",
        "phi3      | \"partial_rotary_factor\": 0.5, \"original_max_position_embeddings\": 16, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1.0, 1.0], \"long_factor\": [1.1, 3.0]}",
        "glm4      | \"attention_bias\": true, \"partial_rotary_factor\": 0.5",
        "glm4      | \"attention_bias\": false, \"partial_rotary_factor\": 1.0",
        "qwen3_moe | \"norm_topk_prob\": true, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 8.0}",
        "mixtral   | \"rope_scaling\": {\"type\": \"linear\", \"factor\": 8.0}",
        "gemma     | ''",
        "gemma2    | \"attn_logit_softcapping\": 5.0, \"final_logit_softcapping\": 4.0, \"query_pre_attn_scalar\": 3",
        "gemma2    | \"attn_logit_softcapping\": 1e6, \"final_logit_softcapping\": 1e6, \"query_pre_attn_scalar\": 3",
        "llama     | \"rope_traditional\": false, \"layer_types\": [\"sliding_attention\", \"full_attention\"], \"sliding_window\": 7",
        "granite   | \"rope_traditional\": true, \"attention_multiplier\": 0.2, \"embedding_multiplier\": 3.0, \"residual_multiplier\": 0.4, \"logits_scaling\": 2.5, \"attention_bias\": false, \"mlp_bias\": false",
        "gemma3_text | \"query_pre_attn_scalar\": 16, \"sliding_window\": 6, \"sliding_window_pattern\": 2, \"rope_local_base_freq\": 100.0",
        "gemma3_text | \"query_pre_attn_scalar\": 8, \"sliding_window\": 9, \"sliding_window_pattern\": 2, \"rope_local_base_freq\": 100.0, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}",
        "gemma3    | \"query_pre_attn_scalar\": 16, \"sliding_window\": 6, \"sliding_window_pattern\": 2, \"rope_local_base_freq\": 100.0",
        "mistral3  | \"sliding_window\": 5, \"layer_types\": [\"full_attention\", \"sliding_attention\"]",
        "iquestcoder | \"attention_bias\": true",
        "helium    | \"attention_bias\": true, \"mlp_bias\": true",
        "exaone_moe | \"num_shared_experts\": 1, \"is_moe_layer\": [false, true], \"layer_types\": [\"sliding_attention\", \"full_attention\"], \"sliding_window\": 6, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"rope_parameters\": {\"rope_theta\": 300.0, \"rope_type\": \"default\"}",
        "exaone_moe | \"num_shared_experts\": 0, \"is_moe_layer\": [true, true], \"layer_types\": [\"full_attention\", \"full_attention\"], \"sliding_window\": 6, \"norm_topk_prob\": false, \"routed_scaling_factor\": 1.5, \"n_group\": 2, \"topk_group\": 1",
        "pixtral   | \"tie_word_embeddings\": false",
        "ministral3 | \"rope_parameters\": {\"rope_type\": \"yarn\", \"rope_theta\": 500.0, \"factor\": 4.0, \"original_max_position_embeddings\": 16, \"mscale\": 1.0, \"mscale_all_dim\": 1.0, \"llama_4_scaling_beta\": 0.5}",
        "mistral3/ministral3 | \"sliding_window\": 6, \"layer_types\": [\"full_attention\", \"sliding_attention\"], \"rope_parameters\": {\"type\": \"yarn\", \"rope_theta\": 500.0, \"factor\": 2.0, \"original_max_position_embeddings\": 20, \"llama_4_scaling_beta\": 0.1}",
        "seed_oss  | \"attention_bias\": true, \"attention_out_bias\": false",
        "seed_oss  | \"attention_bias\": false, \"attention_out_bias\": true, \"mlp_bias\": true, \"tie_word_embeddings\": true",
        "mimo      | ''",
        "telechat3 | \"attention_bias\": true, \"rope_scaling\": {\"type\": \"telechat3-yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 256}",
        "qwen2_vl  | \"rope_scaling\": {\"type\": \"mrope\", \"mrope_section\": [1, 1, 2]}",
        "qwen2_5_vl | \"tie_word_embeddings\": true, \"rope_scaling\": {\"type\": \"default\", \"rope_type\": \"default\", \"mrope_section\": [1, 1, 2]}",
        "qwen3_vl  | \"rope_scaling\": {\"mrope_interleaved\": true, \"rope_type\": \"default\", \"mrope_section\": [2, 1, 1]}",
        "olmo3     | \"sliding_window\": 6, \"layer_types\": [\"sliding_attention\", \"full_attention\"], \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 256}",
        "olmo3     | \"sliding_window\": 6, \"num_hidden_layers\": 4, \"attention_bias\": true",
        "exaone4   | \"sliding_window\": 6, \"sliding_window_pattern\": \"LG\", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4.0}",
        "exaone4   | \"sliding_window\": null, \"sliding_window_pattern\": null, \"tie_word_embeddings\": true",
        "minicpm   | \"dim_model_base\": 8, \"scale_depth\": 1.4, \"scale_emb\": 3",
        "minicpm   | \"dim_model_base\": 16, \"scale_depth\": 0.7, \"scale_emb\": 1.5, \"tie_word_embeddings\": true",
        "ernie4_5  | \"use_bias\": false",
        "ernie4_5  | \"use_bias\": true, \"tie_word_embeddings\": true",
        "hunyuan_v1_dense | \"use_qk_norm\": true, \"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 50.0, \"factor\": 1.0}",
        "hunyuan_v1_dense | \"use_qk_norm\": false, \"attention_bias\": true",
        "qwen3_vl_moe | \"norm_topk_prob\": true",
        "granitemoe | \"attention_multiplier\": 0.2, \"embedding_multiplier\": 3.0, \"residual_multiplier\": 0.4, \"logits_scaling\": 2.5, \"attention_bias\": true",
        "glm4_moe  | \"attention_bias\": true, \"use_qk_norm\": true, \"partial_rotary_factor\": 0.5, \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"n_group\": 1, \"topk_group\": 1",
        "glm4_moe  | \"attention_bias\": false, \"use_qk_norm\": false, \"partial_rotary_factor\": 1.0, \"first_k_dense_replace\": 0, \"n_shared_experts\": 1, \"norm_topk_prob\": false, \"routed_scaling_factor\": 1.5, \"n_group\": 2, \"topk_group\": 1",
        "glm4_moe  | \"attention_bias\": false, \"use_qk_norm\": false, \"partial_rotary_factor\": 1.0, \"first_k_dense_replace\": 0, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 1.5, \"n_group\": 1, \"topk_group\": 1, \"num_experts_per_tok\": 1",
        "solar_open | \"partial_rotary_factor\": 1.0, \"first_k_dense_replace\": 0, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 1.0",
        "dots1     | \"moe_layer_freq\": 2, \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"mlp_bias\": true",
        "deepseek  | \"first_k_dense_replace\": 1, \"n_shared_experts\": 2, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}",
        "deepseek  | \"num_hidden_layers\": 4, \"moe_layer_freq\": 2, \"first_k_dense_replace\": 1, \"n_shared_experts\": 1",
        "deepseek  | \"n_routed_experts\": null, \"first_k_dense_replace\": 2, \"attention_bias\": true",
        "minimax   | \"rotary_dim\": 4, \"use_qk_norm\": true, \"shared_intermediate_size\": 0",
        "minimax_m2 | \"rotary_dim\": 4, \"partial_rotary_factor\": 0.5, \"num_experts_per_tok\": 1, \"shared_intermediate_size\": 0",
        "ernie4_5_moe | \"use_bias\": false, \"moe_layer_start_index\": 1, \"moe_num_shared_experts\": 1",
        "ernie4_5_moe | \"use_bias\": false, \"moe_layer_start_index\": 1, \"moe_layer_end_index\": [1, 0], \"moe_gate_act\": \"sigmoid\", \"tie_word_embeddings\": true",
        "cohere    | ''",
        "cohere    | \"attention_bias\": true, \"layer_norm_bias\": true, \"logit_scale\": 0.3",
        "cohere2   | \"sliding_window\": 6, \"sliding_window_pattern\": 2, \"logit_scale\": 0.25",
        "stablelm  | \"use_qkv_bias\": true, \"partial_rotary_factor\": 0.5",
        "stablelm  | \"use_qkv_bias\": false, \"partial_rotary_factor\": 1.0, \"use_parallel_residual\": true",
        "starcoder2 | \"tie_word_embeddings\": true",
        "deepseek_v2 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 2, \"routed_scaling_factor\": 1.5, \"scoring_func\": \"softmax\", \"norm_topk_prob\": false, \"topk_method\": \"greedy\", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 32, \"beta_fast\": 4, \"beta_slow\": 0.5, \"mscale\": 0.7, \"mscale_all_dim\": 1.3}",
        "deepseek_v2 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 2, \"routed_scaling_factor\": 1.5, \"scoring_func\": \"softmax\", \"norm_topk_prob\": false, \"topk_method\": \"group_limited_greedy\", \"n_group\": 2, \"topk_group\": 1, \"q_lora_rank\": null, \"attention_bias\": true, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 1.0, \"original_max_position_embeddings\": 64}",
        "deepseek_v2 | \"first_k_dense_replace\": 0, \"n_group\": 2, \"topk_group\": 1, \"topk_method\": \"group_limited_greedy\", \"moe_layer_freq\": 2, \"rms_norm_eps\": 0.5, \"rope_scaling\": {\"type\": \"other\", \"factor\": 8.0, \"original_max_position_embeddings\": 512, \"mscale_all_dim\": 0.6}",
        "deepseek_v3 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 32, \"beta_fast\": 4, \"beta_slow\": 0.5, \"mscale\": 0.7, \"mscale_all_dim\": 1.3}",
        "deepseek_v3 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"n_group\": 2, \"topk_group\": 1, \"q_lora_rank\": null, \"attention_bias\": true, \"rms_norm_eps\": 0.5",
        "deepseek_v3 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"num_experts_per_tok\": 1, \"num_key_value_heads\": 3, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0, \"mscale_all_dim\": 1.0}",
        "deepseek_v3 | \"n_routed_experts\": null, \"first_k_dense_replace\": 2, \"num_attention_heads\": 3, \"v_head_dim\": 17",
        "kimi_k2 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": false, \"routed_scaling_factor\": 2.5",
        "joyai_llm_flash | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5",
        "kimi_vl | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"n_group\": 2, \"topk_group\": 1",
        "kimi_k25 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5",
        "glm4_moe_lite | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"rms_norm_eps\": 0.5",
        "youtu_llm | \"tie_word_embeddings\": true, \"rms_norm_eps\": 0.5, \"mlp_bias\": true, \"attention_bias\": true, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 32, \"beta_fast\": 4, \"beta_slow\": 0.5, \"mscale\": 0.7, \"mscale_all_dim\": 1.3}",
        "youtu_llm | \"tie_word_embeddings\": false, \"rope_traditional\": false, \"q_lora_rank\": null",
        "minicpm3 | \"dim_model_base\": 8, \"scale_depth\": 1.4, \"scale_emb\": 3, \"rope_scaling\": {\"type\": \"longrope\", \"original_max_position_embeddings\": 16, \"short_factor\": [1.0, 1.0, 1.0], \"long_factor\": [1.1, 2.0, 3.0]}",
        "minicpm3 | \"dim_model_base\": 16, \"scale_depth\": 0.7, \"scale_emb\": 1.5, \"tie_word_embeddings\": true, \"attention_bias\": true, \"rope_scaling\": {\"type\": \"longrope\", \"original_max_position_embeddings\": 64, \"short_factor\": 1.0, \"long_factor\": 1.0}",
        "deepseek_v32 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"index_topk\": 69, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 32, \"beta_fast\": 4, \"beta_slow\": 0.5, \"mscale\": 0.7, \"mscale_all_dim\": 1.3}",
        "glm_moe_dsa | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"n_group\": 1, \"topk_group\": 1, \"moe_layer_freq\": 1, \"topk_method\": \"noaux_tc\", \"scoring_func\": \"sigmoid\", \"rope_parameters\": {\"rope_theta\": 300.0, \"rope_type\": \"default\"}",
        "glm_moe_dsa | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"n_group\": 1, \"topk_group\": 1, \"moe_layer_freq\": 1, \"topk_method\": \"noaux_tc\", \"scoring_func\": \"sigmoid\", \"rope_parameters\": {\"rope_theta\": 300.0, \"rope_type\": \"linear\", \"factor\": 2.0, \"mscale_all_dim\": 1.0}",
        "nemotron  | \"partial_rotary_factor\": 0.5, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}",
        "gpt_oss   | \"sliding_window\": 6, \"swiglu_limit\": 7.0, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 32.0, \"beta_fast\": 32.0, \"beta_slow\": 1.0, \"original_max_position_embeddings\": 256, \"truncate\": false}",
        "gpt_oss   | \"sliding_window\": 9, \"layer_types\": [\"full_attention\", \"sliding_attention\"], \"num_experts_per_tok\": 3",
        "gpt_oss   | \"sliding_window\": 6, \"intermediate_size\": 64, \"quantization_config\": {\"quant_method\": \"mxfp4\"}",
        "phi       | \"partial_rotary_factor\": 0.5",
        "phi       | \"partial_rotary_factor\": 1.0, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 8.0}",
        "phimoe    | \"original_max_position_embeddings\": 16, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1.1, 2.0, 3.5, 4], \"short_mscale\": 1.2, \"long_mscale\": 1.3}",
        "phimoe    | \"original_max_position_embeddings\": 16, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1.1, 2.0, 3.5, 4], \"short_mscale\": 0.0, \"long_mscale\": 0.0}",
        "internlm3 | \"qkv_bias\": true, \"bias\": false, \"tie_word_embeddings\": true",
        "internlm3 | \"qkv_bias\": false, \"bias\": true, \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 6.0}",
        "internlm3 | \"qkv_bias\": true, \"bias\": true, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4.0}",
        "bailing_moe | \"num_shared_experts\": 1, \"first_k_dense_replace\": 1, \"norm_topk_prob\": true",
        "bailing_moe | \"num_shared_experts\": 2, \"first_k_dense_replace\": 0, \"norm_topk_prob\": true, \"use_qk_norm\": true, \"use_qkv_bias\": true, \"partial_rotary_factor\": 0.5, \"score_function\": \"sigmoid\", \"moe_router_enable_expert_bias\": true, \"routed_scaling_factor\": 2.5, \"n_group\": 2, \"topk_group\": 1",
        "bailing_moe | \"num_shared_experts\": 1, \"moe_router_enable_shared_expert\": false, \"first_k_dense_replace\": 0, \"norm_topk_prob\": false, \"rotary_dim\": 6, \"tie_word_embeddings\": true, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}",
        "bailing_moe | \"num_shared_experts\": 1, \"first_k_dense_replace\": 0, \"norm_topk_prob\": true, \"num_experts_per_tok\": 1, \"moe_router_enable_routed_scaling\": false, \"routed_scaling_factor\": 1.5",
        "bailing_moe | \"num_shared_experts\": 1, \"first_k_dense_replace\": 2, \"norm_topk_prob\": true, \"use_bias\": true",
        "olmo      | \"num_key_value_heads\": 4",
        "olmo      | \"num_key_value_heads\": 4, \"rope_traditional\": false, \"clip_qkv\": null, \"rope_theta\": 500.0",
        "exaone    | \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}",
        "exaone    | \"attention_bias\": true, \"mlp_bias\": true, \"tie_word_embeddings\": true",
        "glm       | \"attention_bias\": true",
        "glm       | \"attention_bias\": false, \"tie_word_embeddings\": true, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}",
        "lfm2      | ''",
        "lfm2      | \"conv_bias\": true, \"conv_L_cache\": 5, \"num_hidden_layers\": 4, \"full_attn_idxs\": [0, 2], \"layer_types\": null, \"rope_parameters\": {\"rope_theta\": 300.0, \"rope_type\": \"default\"}",
        "lfm2      | \"conv_L_cache\": 1, \"full_attn_idxs\": [0]",
        "lfm2-vl   | ''",
        "lfm2_moe  | \"routed_scaling_factor\": 2.5",
        "lfm2_moe  | \"num_dense_layers\": 0, \"norm_topk_prob\": false, \"use_expert_bias\": false, \"num_experts_per_tok\": 1, \"layer_types\": [\"full_attention\", \"conv\"]",
        "qwen3_next | ''",
        "qwen3_next | \"num_hidden_layers\": 4, \"full_attention_interval\": 4, \"head_dim\": 16, \"attention_bias\": true, \"norm_topk_prob\": false, \"mlp_only_layers\": [1], \"linear_num_key_heads\": 1, \"linear_num_value_heads\": 3, \"linear_key_head_dim\": 12, \"linear_value_head_dim\": 5, \"linear_conv_kernel_dim\": 2",
        "qwen3_5   | \"tie_word_embeddings\": true, \"rope_parameters\": {\"rope_type\": \"default\", \"mrope_section\": [1, 1, 2], \"mrope_interleaved\": true, \"rope_theta\": 300.0, \"partial_rotary_factor\": 0.75}, \"attn_output_gate\": true",
        "qwen3_5   | \"head_dim\": 16, \"rope_parameters\": {\"type\": \"default\"}",
        "qwen3_5_moe | \"linear_num_value_heads\": 2, \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 300.0, \"partial_rotary_factor\": 0.5}",
        "granitemoehybrid | ''",
        "granitemoehybrid | \"num_hidden_layers\": 3, \"layer_types\": [\"mamba\", \"attention\", \"mamba\"], \"num_local_experts\": 0, \"position_embedding_type\": \"nope\", \"mamba_proj_bias\": true, \"mamba_conv_bias\": false, \"mamba_n_groups\": 1, \"attention_bias\": true, \"tie_word_embeddings\": true, \"time_step_limit\": [0.5, 1.5]",
        "granitemoehybrid | \"layer_types\": [\"mamba\", \"mamba\"], \"mamba_n_heads\": 6, \"mamba_n_groups\": 3, \"mamba_d_head\": 7, \"mamba_d_conv\": 2",
        "granitemoehybrid | \"layer_types\": [\"attention\", \"attention\"], \"mamba_n_heads\": null, \"position_embedding_type\": \"rope\"",
        "gemma3n   | ''",
        "gemma3n   | \"rms_norm_eps\": 0.5",
        "gemma3n   | \"altup_active_idx\": 2, \"altup_coef_clip\": null, \"altup_correct_scale\": false, \"activation_sparsity_pattern\": null, \"num_kv_shared_layers\": 0, \"laurel_rank\": 5, \"vocab_size_per_layer_input\": 500",
        "gemma3n   | \"altup_num_inputs\": 2, \"hidden_size_per_layer_input\": 32, \"activation_sparsity_pattern\": [0.9, 0.9, 0.9, 0.0, 0.5], \"sliding_window\": 9, \"altup_coef_clip\": 0.1",
        "gemma4_text | ''",
        "gemma4_text | \"rms_norm_eps\": 0.5, \"enable_moe_block\": true, \"num_experts\": 4, \"top_k_experts\": 1",
        "gemma4_text | \"tie_word_embeddings\": true, \"attention_k_eq_v\": true, \"num_global_key_value_heads\": 1, \"num_kv_shared_layers\": 0, \"hidden_size_per_layer_input\": 0",
        "gemma4_text | \"attention_k_eq_v\": true, \"use_double_wide_mlp\": false, \"hidden_size_per_layer_input\": null, \"sliding_window\": 11",
        "gemma4_text | \"layer_types\": null, \"sliding_window_pattern\": 3, \"num_kv_shared_layers\": 1, \"rope_traditional\": true",
        "gemma4_text | \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"proportional\", \"partial_rotary_factor\": 0.7, \"rope_theta\": 300.0, \"factor\": 2.0}, \"sliding_attention\": {\"type\": \"linear\", \"rope_type\": \"linear\", \"factor\": 4.0, \"rope_theta\": 20.0}}",
        "gemma4_text | \"layer_types\": [\"sliding_attention\", \"sliding_attention\", \"full_attention\"], \"num_hidden_layers\": 2, \"num_kv_shared_layers\": 1",
        "gemma4_text | \"enable_moe_block\": true, \"num_experts\": 4, \"top_k_experts\": 3",
        "gemma4    | \"tie_word_embeddings\": true",
        "gemma4    | \"enable_moe_block\": true, \"num_experts\": 4, \"top_k_experts\": 2, \"num_kv_shared_layers\": 0, \"hidden_size_per_layer_input\": 0, \"attention_k_eq_v\": true, \"num_global_key_value_heads\": 1",
        "gemma4_unified | \"hidden_size_per_layer_input\": 32, \"tie_word_embeddings\": true, \"use_bidirectional_attention\": \"vision\"",
        "nemotron_h | ''",
        "nemotron_h | \"hybrid_override_pattern\": null, \"layers_block_type\": [\"moe\", \"mamba\", \"attention\", \"mlp\", \"mamba\", \"moe\"], \"moe_latent_size\": 20, \"mlp_bias\": true, \"mamba_proj_bias\": true, \"attention_bias\": true, \"use_conv_bias\": false, \"n_routed_experts\": 6, \"n_group\": 3, \"topk_group\": 2, \"time_step_limit\": [0.4, 1.1]",
        "nemotron_h | \"hybrid_override_pattern\": [\"*\", \"-\", \"M\"], \"n_routed_experts\": null, \"n_groups\": 1, \"mamba_num_heads\": 6, \"mamba_head_dim\": 5, \"conv_kernel\": 2, \"head_dim\": null, \"time_step_limit\": null",
        "nemotron_h | \"hybrid_override_pattern\": \"ME*\", \"n_shared_experts\": null, \"num_experts_per_tok\": 1, \"norm_topk_prob\": false, \"head_dim\": 16, \"n_groups\": 4, \"partial_rotary_factor\": 0.5",
        "falcon_h1 | ''",
        "falcon_h1 | \"tie_word_embeddings\": true, \"mamba_rms_norm\": true, \"mamba_norm_before_gate\": false, \"mamba_conv_bias\": false, \"attention_bias\": true, \"mlp_bias\": true, \"mamba_proj_bias\": true, \"projectors_bias\": true",
        "falcon_h1 | \"mamba_rms_norm\": true, \"mamba_norm_before_gate\": true, \"mamba_n_groups\": 1, \"mamba_d_ssm\": 42, \"mamba_n_heads\": 6, \"mamba_d_head\": 7, \"mamba_d_conv\": 3, \"head_dim\": 16, \"rope_traditional\": true, \"rope_theta\": 1e11",
        "mamba2    | ''",
        "mamba2    | \"tie_word_embeddings\": true, \"num_heads\": 3, \"head_dim\": 5, \"n_groups\": 1, \"state_size\": 9, \"conv_kernel\": 2, \"use_bias\": true, \"use_conv_bias\": false, \"num_hidden_layers\": 3",
        "mamba     | ''",
        "mamba     | \"intermediate_size\": 70, \"state_size\": 3, \"time_step_rank\": 9, \"conv_kernel\": 2, \"use_bias\": true, \"use_conv_bias\": false, \"tie_word_embeddings\": true, \"layer_norm_epsilon\": 0.5",
        "jamba     | ''",
        "jamba     | \"num_hidden_layers\": 3, \"layers_block_type\": [\"attention\", \"mamba\", \"mamba\"], \"mamba_dt_rank\": \"auto\", \"mamba_expand\": 3, \"expert_layer_period\": 3, \"mamba_proj_bias\": true, \"mamba_conv_bias\": false, \"rms_norm_eps\": 0.03, \"tie_word_embeddings\": true",
        "jamba     | \"num_experts\": 1, \"num_experts_per_tok\": 2, \"attn_layer_offset\": 0"})
    void agreesWithItsTwin(String type, String settings) throws IOException {
        TinyModel tiny = new TinyModel(type, settings);
        List<int[]> sequences = List.of(TinyModel.ids(70, 1), TinyModel.ids(9, 2), TinyModel.ids(40, 3));
        ReferenceDecoder twin = new ReferenceDecoder(tiny.config, tiny.tensors);
        try (EvalModel model = EvalModel.open(tiny.write(folder))) {
            EvalReport report = Evaluator.evaluate(List.of(model), Optional.empty(), new TokenSet("random", sequences), new EvalOptions(1_000_000, 2, Optional.empty(), _ -> { }));
            for (int s = 0; s < sequences.size(); s++) {
                int[] ids = sequences.get(s);
                double[][] logits = twin.logits(Arrays.copyOf(ids, ids.length - 1));
                double nll = 0;
                for (int t = 0; t < logits.length; t++) {
                    nll += logSum(logits[t]) - logits[t][ids[t + 1]];
                }
                assertEquals(nll / logits.length, report.models().getFirst().sequenceNll().get(s), 2e-5);
            }
        }
    }

    private static double logSum(double[] x) {
        return Math.log(Arrays.stream(x).map(Math::exp).sum());
    }

    @Test
    void divergencesAgreeWithTheDefinition() throws IOException {
        TinyModel tiny = new TinyModel("qwen3", "");
        Map<String, double[]> changed = new TreeMap<>(tiny.tensors);
        String path = "model.layers.1.mlp.down_proj";
        changed.put(path + ".weight", Arrays.stream(tiny.tensors.get(path + ".weight")).map(v -> v * 1.25).toArray());
        List<int[]> sequences = List.of(TinyModel.ids(30, 4), TinyModel.ids(12, 5));
        try (EvalModel source = EvalModel.open(tiny.write(folder))) {
            WeightSource louder = new ReplacedWeights(source.weights(), "louder", (p, rows) -> p.equals(path) ? scaled(rows, 1.25f) : rows);
            EvalReport report = Evaluator.evaluate(List.of(new EvalModel("louder", louder)), Optional.of(source), new TokenSet("random", sequences), EvalOptions.defaults());
            EvalReport.Divergence d = report.models().get(1).divergence().orElseThrow();
            double total = 0;
            int same = 0;
            double squares = 0;
            double max = 0;
            for (int s = 0; s < sequences.size(); s++) {
                int[] ids = sequences.get(s);
                double[][] a = new ReferenceDecoder(tiny.config, tiny.tensors).logits(Arrays.copyOf(ids, ids.length - 1));
                double[][] b = new ReferenceDecoder(tiny.config, changed).logits(Arrays.copyOf(ids, ids.length - 1));
                double own = 0;
                for (int t = 0; t < a.length; t++) {
                    double kl = kl(a[t], b[t]);
                    own += kl;
                    max = Math.max(max, kl);
                    same += top(a[t]) == top(b[t]) ? 1 : 0;
                    double dp = Math.exp(b[t][ids[t + 1]] - logSum(b[t])) - Math.exp(a[t][ids[t + 1]] - logSum(a[t]));
                    squares += dp * dp;
                }
                assertEquals(own / a.length, d.sequenceKl().get(s), 1e-6);
                total += own;
            }
            assertEquals(total / 40, d.mean(), 1e-6);
            assertEquals(max, d.max(), 1e-6);
            assertEquals(same / 40.0, d.sameTop());
            assertEquals(Math.sqrt(squares / 40), d.deltaP().rms(), 1e-7);
            assertEquals(report.models().get(1).nll() - report.models().get(0).nll(), d.nllDifference(), 1e-12);
            assertTrue(d.differenceLow() < d.nllDifference() && d.nllDifference() < d.differenceHigh());
        }
    }

    private static ram.tensor.Rows scaled(ram.tensor.Rows rows, float factor) {
        return rows.changed((_, count, out) -> {
            for (int i = 0; i < count * rows.columns(); i++) {
                out[i] *= factor;
            }
        });
    }

    private static double kl(double[] a, double[] b) {
        double sum = 0;
        for (int v = 0; v < a.length; v++) {
            double p = Math.exp(a[v] - logSum(a));
            sum += p * (a[v] - logSum(a) - b[v] + logSum(b));
        }
        return sum;
    }

    private static int top(double[] x) {
        int best = 0;
        for (int i = 1; i < x.length; i++) {
            best = x[i] > x[best] ? i : best;
        }
        return best;
    }

    @ParameterizedTest
    @ValueSource(strings = {"qwen3_moe", "deepseek_v3", "lfm2_moe", "qwen3_next", "granitemoehybrid", "gemma4_text", "gemma3n", "nemotron_h", "falcon_h1", "mamba2", "jamba"})
    void doesNotDependOnThreadsOrBatches(String type) throws IOException {
        TinyModel tiny = new TinyModel(type, "\"norm_topk_prob\": true");
        List<int[]> sequences = List.of(TinyModel.ids(50, 1), TinyModel.ids(33, 2), TinyModel.ids(64, 3));
        try (EvalModel model = EvalModel.open(tiny.write(folder)); Workers one = new Workers(1); Workers three = new Workers(3)) {
            List<float[]> apart = new ForwardPass(model.weights(), one).run(sequences, 1, (_, _) -> { });
            List<float[]> together = new ForwardPass(model.weights(), three).run(sequences, 1000, (_, _) -> { });
            for (int s = 0; s < 3; s++) {
                assertArrayEquals(apart.get(s), together.get(s));
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"0.95, 1.6448536269514722", "0.5, 0", "0.2, -0.8416212335729143", "0.9999, 3.719016485455709"})
    void sharesOfANormalDistributionAreThoseOfTables(double share, double quantile) {
        assertEquals(quantile, Statistics.normalQuantile(share), 1e-8);
    }

    @Test
    void refusesWhatItCannotRun() throws IOException {
        new TinyModel("llama", "").write(folder);
        String config = Files.readString(folder.resolve("config.json"));
        refused(config.replace("\"llama\"", "\"rwkv7\""), "rwkv7");
        refused(config.replace("\"silu\"", "\"gelu\""), "gelu");
        refused(config.replace("\"intermediate_size\":48", "\"intermediate_size\":48,\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[1],\"original_max_position_embeddings\":9}"), "long_factor");
        refused(config.replace("\"intermediate_size\":48", "\"intermediate_size\":48,\"rope_scaling\":{\"rope_type\":\"dynamic\"}"), "dynamic");
        refused(config.replace("\"intermediate_size\":48", "\"intermediate_size\":48,\"partial_rotary_factor\":0.5"), "partial_rotary_factor");
        refused(config.replace("\"intermediate_size\":48", "\"intermediate_size\":48,\"sliding_window\":5,\"layer_types\":[\"sliding_attention\",\"sliding_attention\"]"), "layer_types");
        refused(config.replace("\"intermediate_size\":48", "\"intermediate_size\":48,\"rope_theta\":0").replace("\"rope_theta\":10000.0,", ""), "makes no rotation");
        refused(config.replace("\"hidden_size\":32", "\"hidden_size\":64"), "model.embed_tokens");
        refused(config.replace("\"num_hidden_layers\":2", "\"num_hidden_layers\":3"), "layer 2");
        refused(config.replace("\"vocab_size\":600", "\"vocab_size\":500"), "500");
        new TinyModel("nemotron_h", "").write(folder);
        refused(Files.readString(folder.resolve("config.json")).replace("\"num_hidden_layers\":4", "\"num_hidden_layers\":3"), "says what 4 layers are, but counts 3 as num_hidden_layers");
    }

    /// Transformers 5 keeps rotations by type of layer; what is written for MLX has the key that its class reads.
    @Test
    void aSourceTurnsAsItsOutputDoes() throws IOException {
        TinyModel tiny = new TinyModel("llama", "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\", \"rope_theta\": 300.0}, \"sliding_attention\": {\"rope_theta\": 5.0}}");
        try (EvalModel model = EvalModel.open(tiny.write(folder))) {
            Rope rope = NetworkShape.of(model.weights().config()).positions().getFirst().rope().orElseThrow();
            assertEquals(Math.pow(300, -0.25), rope.frequencies()[1], 1e-12);
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "qwen3_moe | \"rope_scaling\": {\"type\": \"linear\", \"factor\": 8.0} | rope_scaling has no effect: mlx_lm's qwen3_moe does not read it",
        "internlm3 | \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 6.0}  | positions are multiplied by 2, as mlx_lm's internlm3 does where rope_scaling is not linear",
        "falcon_h1 | \"attention_in_multiplier\": 1.0                             | keys are not multiplied by key_multiplier: mlx_lm's falcon_h1 does not do it",
        "falcon_h1 | \"mamba_rms_norm\": true                                     | what state spaces read is normalised as a whole and not by groups, as mlx_lm's falcon_h1 does it",
        "falcon_h1 | \"key_multiplier\": 1.0                                      | values are not multiplied by attention_in_multiplier: mlx_lm's falcon_h1 does not do it",
        "qwen3     | \"attention_bias\": true                                     | model.layers.0.self_attn.k_proj.bias and 7 more left out: mlx_lm's qwen3 has no such parameter"})
    void whatIsLeftOutIsSaid(String type, String settings, String warning) throws IOException {
        TokenSet tokens = new TokenSet("random", List.of(TinyModel.ids(8, 1)));
        try (EvalModel model = EvalModel.open(new TinyModel(type, settings).write(folder.resolve("tiny")))) {
            List<String> warnings = Evaluator.evaluate(List.of(model), Optional.empty(), tokens, EvalOptions.defaults()).warnings();
            assertTrue(warnings.contains("tiny: " + warning), warnings.toString());
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "cohere     | \"use_qk_norm\": true | asks for use_qk_norm, which the evaluation does not know",
        "stablelm   | \"use_qkv_bias\": false, \"partial_rotary_factor\": 1.0, \"qk_layernorm\": true | asks for qk_layernorm, which the evaluation does not know",
        "nemotron   | \"hidden_act\": \"relu2\", \"rope_traditional\": true | asks for rope_traditional, which the evaluation does not know",
        "helium     | \"attention_bias\": false, \"mlp_bias\": false, \"tie_word_embeddings\": true | asks for tie_word_embeddings",
        "exaone_moe | \"num_shared_experts\": 0, \"is_moe_layer\": [true], \"layer_types\": [\"full_attention\", \"full_attention\"], \"sliding_window\": 6 | is_moe_layer for 1 layers",
        "exaone4    | \"sliding_window\": 6, \"sliding_window_pattern\": \"LL\" | without L or without G",
        "ministral3 | \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500.0} | no llama_4_scaling_beta",
        "ministral3 | \"rope_parameters\": {\"rope_type\": \"default\"} | has rope_parameters of the type 'default' without rope_theta, which mlx_lm's ministral3 needs; correct it",
        "minimax    | \"rotary_dim\": 16, \"shared_intermediate_size\": 0 | makes no rotation of heads of 8 dimensions",
        "minicpm    | \"dim_model_base\": 8, \"scale_depth\": 0, \"scale_emb\": 3 | no usable scale_depth",
        "solar_open | \"partial_rotary_factor\": 1.0, \"first_k_dense_replace\": 0, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 1.0, \"n_group\": 3 | of 3 groups of 4 experts",
        "deepseek_v3 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"scoring_func\": \"softmax\" | asks for a scoring_func of softmax, but mlx_lm's deepseek_v3 computes as with sigmoid; correct it if the model was trained so",
        "deepseek_v3 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"rope_interleave\": false | asks for a rope_interleave of false, but mlx_lm's deepseek_v3 computes as with true",
        "kimi_vl | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"scoring_func\": \"softmax\" | asks for a scoring_func of softmax, but mlx_lm's kimi_vl computes as with sigmoid",
        "deepseek_v3 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"qk_rope_head_dim\": 5 | has heads of which 5 dimensions turn",
        "deepseek_v3 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"rope_scaling\": {\"type\": \"default\", \"mscale_all_dim\": 1.0} | mscale_all_dim but without a factor",
        "deepseek_v3 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"n_group\": 4, \"topk_group\": 2 | from 2 of 4 groups of 4 experts",
        "deepseek_v32 | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"index_topk\": 6 | describes a model that chooses what it sees of more than 6 tokens, which the evaluation does not know; take shorter windows of text",
        "glm4_moe_lite | \"first_k_dense_replace\": 1, \"n_shared_experts\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5, \"partial_rotary_factor\": 0.5 | asks for a partial_rotary_factor of 0.5, but mlx_lm's glm4_moe_lite computes as with 1",
        "deepseek_v2 | \"n_shared_experts\": 1, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0}, \"norm_topk_prob\": true | asks for a norm_topk_prob of true, but mlx_lm's deepseek_v2 computes as with false",
        "deepseek_v2 | \"n_shared_experts\": 1, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0}, \"topk_method\": \"noaux_tc\" | asks for a topk_method of noaux_tc, but mlx_lm's deepseek_v2 computes as with greedy or gready or group_limited_greedy",
        "deepseek_v2 | \"n_shared_experts\": 1, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0}, \"topk_method\": \"group_limited_greedy\", \"n_group\": 2 | has no usable topk_group",
        "lfm2 | \"full_attn_idxs\": [] | has no layer that attends; mlx_lm does not run such a model, correct it",
        "qwen3_next | \"linear_num_value_heads\": 3 | has 3 heads of values for 2 heads of keys, which do not go together",
        "qwen3_next | \"full_attention_interval\": 3 | has no layer that attends",
        "qwen3_5 | \"attn_output_gate\": false, \"rope_parameters\": {\"rope_theta\": 300.0} | asks for a attn_output_gate of false, but mlx_lm's qwen3_5 computes as with true",
        "granitemoehybrid | \"mamba_n_groups\": 3 | has 4 heads in 3 groups, which do not go together",
        "granitemoehybrid | \"time_step_limit\": [1.0] | has a time_step_limit that is not a smallest and a largest number",
        "granitemoehybrid | \"mamba_d_state\": null | has no usable mamba_d_state",
        "lfm2 | \"conv_L_cache\": 0 | has no usable conv_L_cache",
        "minicpm3 | \"dim_model_base\": 8, \"scale_depth\": 1.4, \"scale_emb\": 3, \"rope_traditional\": true, \"rope_scaling\": {\"type\": \"longrope\"} | asks for a rope_traditional of true, but mlx_lm's minicpm3 computes as with false",
        "glm        | \"partial_rotary_factor\": 0.5 | has a partial_rotary_factor, which mlx_lm's glm does not read",
        "glm        | \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500.0, \"partial_rotary_factor\": 0.5} | has a partial_rotary_factor, which mlx_lm's glm does not read",
        "bailing_moe | \"num_shared_experts\": 1, \"first_k_dense_replace\": 1, \"norm_topk_prob\": true, \"norm_head\": true | asks for norm_head, which the evaluation does not know",
        "olmo       | \"num_key_value_heads\": 4, \"clip_qkv\": 8.0 | asks for clip_qkv, which the evaluation does not know",
        "phi        | \"qk_layernorm\": true | asks for qk_layernorm, which the evaluation does not know",
        "phimoe     | \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1], \"long_factor\": [1], \"short_mscale\": 1.2, \"long_mscale\": 1.3} | 'long_factor' above 0 for each of 4",
        "gpt_oss    | \"num_hidden_layers\": 3 | has 3 layers and no layer_types, and mlx_lm's gpt_oss would leave out those after the last whole pattern of 2",
        "gpt_oss    | \"swiglu_limit\": 5.5 | asks for a swiglu_limit of 5.5, but mlx_lm's gpt_oss computes as with 7.0; correct it if the model was trained so",
        "qwen3_next | \"partial_rotary_factor\": \"0.5\" | has no usable partial_rotary_factor; download it again",
        "qwen3_next | \"linear_num_key_heads\": 2.5 | has no usable linear_num_key_heads",
        "qwen3_moe | \"num_experts_per_tok\": 1.5 | has no usable num_experts_per_tok",
        "lfm2_moe   | \"num_dense_layers\": \"1\" | has no usable num_dense_layers",
        "gpt_oss    | \"sliding_window\": -3 | has a sliding_window of -3, in which no token sees itself; download it again",
        "gpt_oss    | \"sliding_window\": \"6\" | has no usable sliding_window",
        "llama      | \"rope_theta\": \"10000\" | has no usable rope_theta",
        "llama      | \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0, \"beta_fast\": \"32\"} | has no usable beta_fast in its rope scaling; download it again",
        "llama      | \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0, \"original_max_position_embeddings\": 0} | has no usable original_max_position_embeddings",
        "llama      | \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0, \"attention_factor\": 0} | rope scaling whose numbers make no rotation; download it again",
        "exaone     | \"num_hidden_layers\": 2.5 | has no usable num_layers",
        "granitemoehybrid | \"layer_types\": \"mamba\" | has layer_types that are no list, as mlx_lm needs; correct it",
        "granitemoehybrid | \"time_step_limit\": \"(1.2.3, 4)\" | has a time_step_limit that is not a smallest and a largest number",
        "gemma3n     | \"altup_active_idx\": 4 | has an altup_active_idx of 4 among 4 states of a token; download it again",
        "gemma3n     | \"altup_coef_clip\": 0 | has no usable altup_coef_clip",
        "gemma3n     | \"activation_sparsity_pattern\": [0.5, 1.0, 0.0, 0.0, 0.0] | has no activation_sparsity_pattern with a share below 1 for each of 5 layers; download it again",
        "gemma3n     | \"activation_sparsity_pattern\": [0.5] | has no activation_sparsity_pattern with a share below 1 for each of 5 layers",
        "gemma3n     | \"num_kv_shared_layers\": 4 | has a num_kv_shared_layers of 4 among 5 layers, by which layer 1 has no layer of its type before it",
        "gemma4_text | \"hidden_activation\": \"silu\" | asks for a hidden_activation of silu, but mlx_lm's gemma4_text computes as with gelu_pytorch_tanh; correct it if the model was trained so",
        "gemma4_text | \"use_bidirectional_attention\": \"all\" | asks for a use_bidirectional_attention of all, but mlx_lm's gemma4_text computes as with false or vision",
        "gemma4_text | \"num_kv_shared_layers\": 7 | has a num_kv_shared_layers of 7 among 7 layers, by which layer 0 has no layer of its type before it whose keys and values it could use; correct it",
        "gemma4_text | \"num_kv_shared_layers\": 6 | a num_kv_shared_layers of 6 among 7 layers, by which layer 1 has no layer of its type before it",
        "gemma4_text | \"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\", \"full_attention\", \"full_attention\", \"chunked_attention\", \"full_attention\"] | says 'chunked_attention' in its layer_types, which the evaluation does not know; it knows full_attention and sliding_attention",
        "gemma4_text | \"rope_parameters\": {\"rope_theta\": 300.0} | says nothing of layers of the type sliding_attention in its rope_parameters, so that it is not known how they turn; add it",
        "gemma4_text | \"rope_parameters\": null | says nothing of layers of the type sliding_attention in its rope_parameters",
        "gemma4_text | \"rope_parameters\": {\"sliding_attention\": {\"partial_rotary_factor\": 0.5}, \"full_attention\": {}} | has a partial_rotary_factor for layers of the type sliding_attention, which mlx_lm's gemma4_text reads only where the rope_type is proportional",
        "gemma4_text | \"rope_parameters\": {\"sliding_attention\": {}, \"full_attention\": {\"rope_type\": \"proportional\", \"partial_rotary_factor\": 1.5}} | has a partial_rotary_factor in its rope scaling by which 24 of 16 dimensions turn",
        "gemma4_text | \"rope_parameters\": {\"sliding_attention\": {}, \"full_attention\": {\"rope_type\": \"dynamic\"}} | asks for rope type 'dynamic', which the evaluation does not know",
        "gemma4_text | \"vocab_size_per_layer_input\": 500 | has inputs of layers for 500 tokens, but a vocabulary of 600; download it again",
        "gemma4_text | \"attention_k_eq_v\": true, \"num_global_key_value_heads\": 3 | has 4 heads, 3 key-value heads and a head_dim of 16, which do not go together",
        "gemma4_text | \"enable_moe_block\": true, \"top_k_experts\": 2 | has no usable num_experts; download it again",
        "nemotron_h | \"hybrid_override_pattern\": \"M*-X\" | has a hybrid_override_pattern that does not say of each layer which of M (mamba), * (attention), E (moe) and - (mlp) it is, which mlx_lm needs",
        "nemotron_h | \"hybrid_override_pattern\": \"M-M\" | has no layer that attends; mlx_lm does not run such a model, correct it",
        "nemotron_h | \"hybrid_override_pattern\": \"*-*\" | has no layer that is a state space",
        "nemotron_h | \"mlp_hidden_act\": \"silu\" | asks for a mlp_hidden_act of silu, but mlx_lm's nemotron_h computes as with relu2",
        "nemotron_h | \"routed_scaling_factor\": null | has no usable routed_scaling_factor",
        "nemotron_h | \"n_groups\": 3 | has 4 heads in 3 groups, which do not go together",
        "nemotron_h | \"ssm_state_size\": null | has no usable ssm_state_size",
        "nemotron_h | \"time_step_limit\": [1.0, 0.5] | has a time_step_limit that is not a smallest and a largest number",
        "nemotron_h | \"num_experts_per_tok\": 5 | sends each token to 5 of 4 experts",
        "mamba2    | \"ssm_state_size\": 6 | asks for ssm_state_size, which the evaluation does not know",
        "mamba2    | \"time_step_limit\": null | has a time_step_limit that is not a smallest and a largest number",
        "mamba     | \"use_bcdt_rms\": true | asks for use_bcdt_rms, which the evaluation does not know",
        "mamba     | \"conv_kernel\": 0 | has no usable conv_kernel",
        "jamba     | \"attn_layer_offset\": 2 | has no layer that attends",
        "falcon_h1 | \"mamba_d_ssm\": 40 | has a mamba_d_ssm of 40, but 4 heads of 8 in its mixer; mlx_lm does not run such a model",
        "falcon_h1 | \"mamba_use_mlp\": false | asks for a mamba_use_mlp of false, but mlx_lm's falcon_h1 computes as with true",
        "falcon_h1 | \"tie_word_embeddings\": true, \"embedding_multiplier\": 0.0 | has no usable embedding_multiplier",
        "ernie4_5_moe | \"use_bias\": false, \"moe_gate_act\": \"tanh\" | chooses experts by 'tanh', which the evaluation does not know"})
    void refusesWhatAFamilyCanAskForButTheEvaluationDoesNotKnow(String type, String settings, String named) throws IOException {
        new TinyModel(type, settings).write(folder);
        refused(Files.readString(folder.resolve("config.json")), named);
    }

    private void refused(String config, String named) throws IOException {
        Files.writeString(folder.resolve("config.json"), config);
        TokenSet tokens = new TokenSet("random", List.of(TinyModel.ids(8, 1)));
        InputException e = assertThrows(InputException.class, () -> {
            try (EvalModel model = EvalModel.open(folder)) {
                Evaluator.evaluate(List.of(model), Optional.empty(), tokens, EvalOptions.defaults());
            }
        });
        assertTrue(e.getMessage().contains(named), e.getMessage());
    }
}
