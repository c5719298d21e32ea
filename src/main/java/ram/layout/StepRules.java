package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Which words the steps of `families.json` have; `docs/families.md` says what they mean. A misspelled one would be passed over without a word.
final class StepRules {
    /// What each kind of step needs.
    private static final Map<String, Set<String>> NEEDED = Map.ofEntries(
            Map.entry("drop", Set.of("match", "why")),
            Map.entry("rename", Set.of("match", "to")),
            Map.entry("copy", Set.of("from", "to")),
            Map.entry("stack", Set.of("match", "index_group", "to", "count")),
            Map.entry("unstack", Set.of("match", "count", "to", "transpose")),
            Map.entry("split", Set.of("match", "axis", "mode", "parts")),
            Map.entry("split_qkv", Set.of("match", "to")),
            Map.entry("split_latent", Set.of("match", "heads", "nope", "v", "embed_q", "unembed_out")),
            Map.entry("swap_axes", Set.of("match", "axes")),
            Map.entry("move_axis", Set.of("match", "from", "to")),
            Map.entry("reshape", Set.of("match", "shape")),
            Map.entry("squeeze", Set.of("match")),
            Map.entry("add", Set.of("match", "value")),
            Map.entry("multiply", Set.of("match", "by")),
            Map.entry("normalize", Set.of("match", "axis", "eps")),
            Map.entry("int4_packs", Set.of("match", "packed", "scale", "to")),
            Map.entry("mxfp4_blocks", Set.of("match", "to")));
    /// Those that change tensors in their places, and so may choose them by their shapes.
    private static final Set<String> CHANGES = Set.of("swap_axes", "move_axis", "reshape", "squeeze", "add", "multiply", "normalize");
    private static final Set<String> MODES = Set.of("halves", "interleaved");
    private static final Set<String> SHAPES = Set.of("last_dim != 1", "ndim == 1", "ndim == 3", "ndim > 1", "shape[-1] > shape[1]");
    private static final List<Set<String>> CONDITIONS = List.of(Set.of("config", "truthy"), Set.of("config", "truthy", "default"), Set.of("config", "is"), Set.of("config", "is", "default"),
            Set.of("flag"), Set.of("has"), Set.of("lacks"), Set.of("any"), Set.of("layer_from"), Set.of("layer_from", "containing"));
    private static final Set<Set<String>> FLAGS = Set.of(Set.of("has"), Set.of("any_name"), Set.of("none_name"), Set.of("any_last_dim_ne"), Set.of("dim_gt"));

    private StepRules() {
    }

    /// @throws IllegalStateException when a step or flag of the class says something that is not known, or lacks something
    static void check(Family family) {
        family.flags().properties().stream().filter(f -> !FLAGS.contains(keys(f.getValue()))).findFirst().ifPresent(f -> {
            throw new IllegalStateException("families.json: " + family.name() + " has a flag of an unknown form: " + f.getKey() + " = " + f.getValue());
        });
        for (JsonNode step : family.steps()) {
            wrong(step, keys(family.flags())).ifPresent(why -> {
                throw new IllegalStateException("families.json: " + family.name() + " has a step with " + why + ": " + step);
            });
        }
    }

    /// @param flags that the class defines
    private static Optional<String> wrong(JsonNode step, Set<String> flags) {
        String kind = step.path("do").asText();
        Set<String> needed = NEEDED.get(kind);
        if (needed == null) {
            return Optional.of("an unknown 'do'");
        }
        Set<String> keys = keys(step);
        Optional<String> lacking = needed.stream().filter(k -> !keys.contains(k)).sorted().findFirst();
        keys.removeAll(needed);
        keys.removeAll(Set.of("do", "when"));
        if (CHANGES.contains(kind)) {
            keys.remove("only");
        }
        for (JsonNode c : step.path("when")) {
            if (!CONDITIONS.contains(keys(c))) {
                return Optional.of("an unknown condition");
            } else if (c.has("flag") && !flags.contains(c.path("flag").asText())) {
                return Optional.of("a flag that the class does not define");
            }
        }
        return lacking.map(k -> "no '" + k + "'")
                .or(() -> keys.stream().sorted().findFirst().map(k -> "an unknown '" + k + "'"))
                .or(() -> step.has("mode") && !MODES.contains(step.path("mode").asText()) ? Optional.of("an unknown 'mode'") : Optional.empty())
                .or(() -> step.has("only") && !SHAPES.contains(step.path("only").asText()) ? Optional.of("an unknown 'only'") : Optional.empty());
    }

    private static Set<String> keys(JsonNode object) {
        Set<String> keys = new HashSet<>();
        object.fieldNames().forEachRemaining(keys::add);
        return keys;
    }
}
