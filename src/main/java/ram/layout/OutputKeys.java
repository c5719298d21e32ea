package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Collectors;
import ram.tensor.TensorView;

/// The config.json of the output: the model's own keys, made such that mlx_lm's loader finds what it reads.
final class OutputKeys {
    private static final int LONGEST_PATTERN = 1000;

    private final Family family;
    private final Map<String, TensorView> tensors;
    private final List<String> assumptions;

    private OutputKeys(Family family, Map<String, TensorView> tensors, List<String> assumptions) {
        this.family = family;
        this.tensors = tensors;
        this.assumptions = assumptions;
    }

    /// @param tensors as MLX loads them: they tell what older and newer versions of transformers leave out
    /// @param assumptions is told what nothing tells
    static ObjectNode of(ModelConfig config, Family family, boolean tied, Map<String, TensorView> tensors, List<String> assumptions) {
        return new OutputKeys(family, tensors, assumptions).complete(config, tied);
    }

    private ObjectNode complete(ModelConfig config, boolean tied) {
        ObjectNode out = config.json().deepCopy();
        out.remove(List.of("_name_or_path", "vision_config", "quantization", "quantization_config"));
        JsonNode rules = family.rules();
        // Wrappers of some classes take the root for it where there is none.
        ObjectNode text = out.path("text_config") instanceof ObjectNode inner ? inner : out;
        text.remove(List.of("_name_or_path", "quantization_config"));
        complete(text, Family.TEXT);
        if (rules.path("config_from").asText().equals("text") && rules.path("defaults").has("vocab_size") && !out.hasNonNull("vocab_size") && out.at("/text_config/vocab_size").isNumber()) {
            // the wrapper's own default would overrule that of text_config
            out.set("vocab_size", out.at("/text_config/vocab_size"));
        }
        complete(out, "");
        if (family.head().presence() == Family.Presence.UNLESS_TIED && family.scope(out) instanceof ObjectNode read) {
            read.put(family.head().tieKey(), tied);
        }
        return out;
    }

    /// Transformers 5 keeps the settings of rotary embeddings together in `rope_parameters`, with one set for each type of layer where they differ.
    /// Most classes of mlx_lm read single keys, and would take their defaults without a word.
    private static void unrollRope(ObjectNode node, Set<String> known) {
        JsonNode all = node.path("rope_parameters");
        if (!all.isObject() || known.contains("rope_parameters")) {
            return;
        }
        boolean nested = all.path("full_attention").isObject();
        JsonNode rope = nested ? all.path("full_attention") : all;
        JsonNode local = all.path("sliding_attention");
        fill(node, known, "rope_theta", rope.path("rope_theta"));
        fill(node, known, "rotary_emb_base", rope.path("rope_theta"));
        fill(node, known, "rope_local_base_freq", local.path("rope_theta"));
        fill(node, known, "swa_rope_theta", local.path("rope_theta"));
        fill(node, known, "partial_rotary_factor", rope.path("partial_rotary_factor"));
        fill(node, known, "rotary_pct", rope.path("partial_rotary_factor"));
        String type = rope.path("rope_type").asText(rope.path("type").asText("default"));
        if (!type.equals("default")) {
            // some classes look for one name of the type, some for the other
            ObjectNode scaling = rope.deepCopy();
            fill(node, known, "rope_scaling", scaling.put("type", type).put("rope_type", type));
        }
    }

    /// The other way round, for the classes that read nothing else.
    private static void rollUpRope(ObjectNode node) {
        if (node.hasNonNull("rope_parameters") || !node.path("rope_theta").isNumber()) {
            return;
        }
        ObjectNode all = node.putObject("rope_parameters").put("rope_type", "default");
        if (node.path("rope_scaling") instanceof ObjectNode scaling) {
            String type = scaling.path("rope_type").asText(scaling.path("type").asText("default"));
            all.setAll(scaling);
            all.put("type", type).put("rope_type", type);
        }
        all.set("rope_theta", node.get("rope_theta"));
        if (node.path("partial_rotary_factor").isNumber()) {
            all.set("partial_rotary_factor", node.get("partial_rotary_factor"));
        }
    }

    /// @return whether the key had no value and has this one now
    private static boolean fill(ObjectNode node, Set<String> known, String key, JsonNode value) {
        boolean fills = known.contains(key) && !node.hasNonNull(key) && !value.isMissingNode() && !value.isNull();
        if (fills) {
            node.set(key, value);
        }
        return fills;
    }

    /// Whether the class makes its layers from the keys of this part.
    private boolean isScope(String part) {
        return part.equals(family.rules().path("config_from").asText("root").equals("root") ? "" : Family.TEXT);
    }

    private boolean readsAsText(String key) {
        return family.rules().path("asserts").valueStream().anyMatch(a -> a.has("text") && a.path("config").asText().equals(key));
    }

    private boolean anyEnds(String end) {
        return tensors.keySet().stream().anyMatch(n -> n.endsWith(end));
    }

    private static void copy(ObjectNode node, String from, String to) {
        if (node.has(from)) {
            node.set(to, node.get(from));
        }
    }

    /// As the keys' projection has it.
    private OptionalLong headLength(long keyHeads) {
        return tensors.entrySet().stream().filter(e -> e.getKey().endsWith(".self_attn.k_proj.weight")).map(e -> e.getValue().shape())
                .filter(s -> s.rank() == 2 && keyHeads > 0 && s.rows() % keyHeads == 0).mapToLong(s -> s.rows() / keyHeads).findFirst();
    }

    /// Adds keys that newer configs leave out or keep together elsewhere.
    ///
    /// @param part of the class's keys, as in [Family#settings(String)]
    private void complete(ObjectNode node, String part) {
        Set<String> known = family.settings(part).collect(Collectors.toSet());
        unrollRope(node, known);
        if (isScope(part) && RopeScaling.readsParameters(family, node)) {
            rollUpRope(node);
        }
        if (fill(node, known, "rope_scaling", RopeScaling.unscaled(family, node))) {
            assumptions.add("config.json has no rope_scaling, without which mlx_lm's " + family.name() + " cannot be made: one that changes nothing is written");
        }
        JsonNode pattern = node.path("sliding_window_pattern");
        if (readsAsText("sliding_window_pattern") && pattern.isInt() && pattern.asInt() > 1 && pattern.asInt() <= LONGEST_PATTERN) {
            // transformers says every which layer has full attention, and the class reads a letter for each layer of the period
            node.put("sliding_window_pattern", "L".repeat(pattern.asInt() - 1) + "G");
        }
        for (String name : family.required(part).toList()) {
            if (node.has(name)) {
                continue;
            }
            switch (name) {
                case "rope_scaling" -> node.putNull("rope_scaling");
                case "head_dim" -> {
                    long heads = node.path("num_attention_heads").asLong();
                    OptionalLong stored = headLength(node.path("num_key_value_heads").asLong(heads));
                    if (stored.isPresent()) {
                        node.put("head_dim", stored.getAsLong());
                    } else if (node.path("hidden_size").isNumber() && heads > 0) {
                        node.put("head_dim", node.path("hidden_size").asLong() / heads);
                    }
                }
                case "num_key_value_heads" -> copy(node, "num_attention_heads", name);
                case "tie_word_embeddings" -> node.put("tie_word_embeddings", false);
                case "block_dim" -> copy(node, "hidden_size", name);
                case "block_ff_dim" -> copy(node, "intermediate_size", name);
                case "intermediate_size" -> {
                    // as transformers computes it for state-space models
                    if (node.path("expand").isNumber() && node.path("hidden_size").isNumber()) {
                        node.put(name, (long) (node.path("expand").asDouble() * node.path("hidden_size").asLong()));
                    }
                }
                case "rotary_dim" -> {
                    double factor = node.at("/rope_parameters/partial_rotary_factor").asDouble(node.path("partial_rotary_factor").asDouble());
                    if (factor > 0 && node.path("head_dim").isInt()) {
                        node.put(name, (long) (node.path("head_dim").asInt() * factor));
                    }
                }
                // MiniMax's class asks for it and reads nothing of it
                case "shared_intermediate_size" -> node.put(name, 0);
                case "mlp_only_layers" -> node.putArray("mlp_only_layers");
                case "decoder_sparse_step" -> node.put("decoder_sparse_step", 1);
                case "attention_bias" -> node.put(name, anyEnds("q_proj.bias"));
                case "mlp_bias" -> node.put(name, anyEnds("up_proj.bias"));
                case "use_qk_norm" -> node.put(name, anyEnds("q_norm.weight"));
                case "norm_topk_prob" -> {
                    JsonNode unsaid = family.rules().path("unsaid").path(name);
                    node.put(name, unsaid.asBoolean(false));
                    if (unsaid.isMissingNode()) {
                        assumptions.add("config.json does not say norm_topk_prob: false is written, so the weights of the chosen experts are not brought to a sum of 1");
                    }
                }
                default -> {
                    // Nothing is known to stand in for it; mlx_lm names the key when it misses it.
                }
            }
        }
    }
}
