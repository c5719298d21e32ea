package ram.layout;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import ram.InputException;

/// Models of a type that is not known, treated like the family that their tensors look like.
final class PlainModels {
    private static final Pattern LOOKS_PLAIN = Pattern.compile("^model\\.layers\\.\\d+\\.self_attn\\.q_proj\\.weight$");
    private static final Pattern EXPERTS = Pattern.compile("^model\\.layers\\.\\d+\\.mlp\\.experts\\.\\d+\\.(gate|up|down)_proj\\.weight$");
    private static final Pattern MIXTRAL = Pattern.compile("^model\\.layers\\.\\d+\\.block_sparse_moe\\.experts\\.\\d+\\.w1\\.weight$");

    private PlainModels() {
    }

    /// @throws InputException when the tensors do not look like those of a plain decoder
    static Family familyOf(ModelConfig config, Set<String> names, List<String> assumptions) {
        String model;
        if (names.stream().noneMatch(n -> LOOKS_PLAIN.matcher(n).matches())) {
            throw InputException.in(config.file(), "names the model_type '" + config.modelType()
                    + "', which is not known, and the tensors do not look like a plain decoder's; ram and mlx_lm cannot run it");
        } else if (names.stream().anyMatch(n -> EXPERTS.matcher(n).matches())) {
            model = "qwen2_moe";
        } else if (names.stream().anyMatch(n -> MIXTRAL.matcher(n).matches())) {
            model = "mixtral";
        } else {
            model = "qwen3";
        }
        Family like = Family.of(model).orElseThrow();
        assumptions.add("the model_type '" + config.modelType() + "' is not known; its tensors look like those of " + like.name() + " and are treated alike; mlx_lm refuses a model_type that it does not know");
        ObjectNode rules = like.rules().deepCopy();
        boolean head = names.contains("lm_head.weight");
        rules.putObject("head").put("module", "lm_head").put("present", "if_tensor");
        rules.remove(List.of("required", "defaults", "rope_scaling"));
        like.rules().path("defaults").properties().stream().filter(e -> e.getKey().contains("experts")).forEach(e -> rules.withObject("/defaults").set(e.getKey(), e.getValue()));
        Optional<Boolean> tied = config.json().has("tie_word_embeddings") ? Optional.of(config.json().path("tie_word_embeddings").asBoolean()) : Optional.empty();
        if (head && tied.orElse(false)) {
            assumptions.add("lm_head.weight is stored and kept although tie_word_embeddings is true");
        }
        return new Family(like.name(), rules);
    }
}
