package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import ram.layout.ModelClass;

/// Reads from config.json what the layers of a decoder consist of, and what mixes tokens in those that do not attend.
///
/// @param numbers of the configuration of the language model, with the defaults of its class in mlx_lm
/// @param rule what `networks.json` says of the family's mixers; missing for families that only attend
record MixerReader(Numbers numbers, JsonNode rule) {
    private static final Map<String, String> LETTERS = Map.of("mamba", "M", "attention", "*", "moe", "E", "mlp", "-");

    /// What the one part of each layer is, in families where a layer has only one: `M` a mixer, `*` attention, `-` a feed-forward part and `E` one with experts.
    Optional<String> letters() {
        if (!rule.path("attends").asText().equals("letters")) {
            return Optional.empty();
        }
        JsonNode pattern = numbers.json().path("hybrid_override_pattern");
        JsonNode types = numbers.json().path("layers_block_type");
        boolean named = pattern.isNull() || pattern.isMissingNode();
        String letters = pattern.isTextual() ? pattern.asText()
                : (named ? types : pattern).valueStream().map(n -> named ? LETTERS.getOrDefault(n.asText(), "?") : n.asText()).collect(Collectors.joining());
        if (!letters.matches("[M*E-]+")) {
            throw numbers.refused("has " + (named ? "layers_block_type" : "a hybrid_override_pattern")
                    + " that does not say of each layer which of M (mamba), * (attention), E (moe) and - (mlp) it is, which mlx_lm needs; correct it");
        }
        if (letters.indexOf('M') < 0 || letters.indexOf('*') < 0) {
            throw numbers.refused("has no layer that " + (letters.indexOf('M') < 0 ? "is a state space" : "attends") + "; mlx_lm does not run such a model, correct it");
        }
        if (letters.length() != numbers.count("num_hidden_layers")) {
            throw numbers.refused("says what " + letters.length() + " layers are, but counts " + numbers.count("num_hidden_layers") + " as num_hidden_layers; correct it");
        }
        return Optional.of(letters);
    }

    /// What each layer has.
    List<NetworkShape.Parts> parts(int layers) {
        Optional<String> letters = letters();
        String which = rule.path("attends").asText();
        List<NetworkShape.Parts> parts = IntStream.range(0, layers).mapToObj(l -> letters.map(s -> part(s.charAt(l))).orElseGet(() -> parts(which, l))).toList();
        if (parts.stream().noneMatch(NetworkShape.Parts::attends) && !rule.path("alone").asBoolean()) {
            throw numbers.refused("has no layer that attends; mlx_lm does not run such a model, correct it");
        }
        return parts;
    }

    private static NetworkShape.Parts part(char letter) {
        return new NetworkShape.Parts(letter == '*', letter == 'M', letter == '-' || letter == 'E');
    }

    private NetworkShape.Parts parts(String which, int layer) {
        return switch (which) {
            case "" -> NetworkShape.Parts.USUAL;
            case "beside" -> new NetworkShape.Parts(true, true, true);
            case "never" -> new NetworkShape.Parts(false, true, false);
            default -> new NetworkShape.Parts(attends(layer), !attends(layer), true);
        };
    }

    Optional<Mixers> mixers(List<NetworkShape.Parts> parts) {
        boolean any = parts.stream().anyMatch(NetworkShape.Parts::mixes);
        return rule.isMissingNode() ? Optional.empty() : Optional.of(new Mixers(rule.path("name").asText(), any ? Optional.of(kind()) : Optional.empty()));
    }

    private boolean attends(int layer) {
        return switch (rule.path("attends").asText()) {
            case "full_attn_idxs" -> numbers.json().path("full_attn_idxs").isArray() ? numbers.json().path("full_attn_idxs").valueStream().anyMatch(l -> l.asInt(-1) == layer)
                    : numbers.json().path("layer_types").path(layer).asText().equals("full_attention");
            case "layer_types" -> named("layer_types", layer);
            case "layers_block_type" -> numbers.json().path("layers_block_type").isArray() ? named("layers_block_type", layer)
                    : layer % numbers.count("attn_layer_period") == numbers.whole("attn_layer_offset", 0);
            case "interval" -> (layer + 1) % numbers.count("full_attention_interval") == 0;
            case String other -> throw new IllegalStateException(other);
        };
    }

    private boolean named(String key, int layer) {
        JsonNode types = numbers.json().path(key);
        if (!types.isArray()) {
            throw numbers.refused("has " + key + " that are no list, as mlx_lm needs; correct it");
        }
        return switch (types.path(layer).asText()) {
            case "attention" -> true;
            case "mamba" -> false;
            case String other -> throw numbers.refused("says '" + other + "' in " + key + " for layer " + layer + ", which the evaluation does not know; it knows attention and mamba");
        };
    }

    private Mixers.Kind kind() {
        return switch (rule.path("kind").asText()) {
            case "short_convolution" -> new Mixers.ShortConvolution(numbers.count("conv_L_cache"));
            case "delta_net" -> deltaNet();
            case "state_space" -> stateSpace();
            case "selective_space" -> selectiveSpace();
            case String other -> throw new IllegalStateException(other);
        };
    }

    private Mixers.DeltaNet deltaNet() {
        int keyHeads = numbers.count("linear_num_key_heads");
        int valueHeads = numbers.count("linear_num_value_heads");
        if (valueHeads % keyHeads != 0) {
            throw numbers.refused("has " + valueHeads + " heads of values for " + keyHeads + " heads of keys, which do not go together; download it again");
        }
        return new Mixers.DeltaNet(keyHeads, valueHeads, numbers.count("linear_key_head_dim"), numbers.count("linear_value_head_dim"), numbers.count("linear_conv_kernel_dim"));
    }

    private Mixers.SelectiveSpace selectiveSpace() {
        int hidden = numbers.count("hidden_size");
        String width = rule.path("width").asText();
        JsonNode rank = numbers.json().path("mamba_dt_rank");
        return new Mixers.SelectiveSpace(width.isEmpty() ? Math.multiplyExact(numbers.count("mamba_expand"), hidden) : numbers.count(width), numbers.count("mamba_d_state"),
                rank.asText().equals("auto") ? Math.ceilDiv(hidden, 16) : numbers.count("mamba_dt_rank"), numbers.count("mamba_d_conv"), rule.path("inner_norms").asBoolean());
    }

    private Mixers.StateSpace stateSpace() {
        int heads = numbers.count("mamba_n_heads");
        int groups = numbers.count("mamba_n_groups");
        if (heads % groups != 0) {
            throw numbers.refused("has " + heads + " heads in " + groups + " groups, which do not go together; download it again");
        }
        int headDim = numbers.count("mamba_d_head");
        String width = rule.path("width").asText();
        if (!width.isEmpty() && numbers.count(width) != heads * headDim) {
            throw numbers.refused("has a " + width + " of " + numbers.count(width) + ", but " + heads + " heads of " + headDim
                    + " in its mixer; mlx_lm does not run such a model, download it again");
        }
        JsonNode said = numbers.json().path("time_step_limit");
        String unlimited = rule.path("unlimited").asText();
        double[] limits = unlimited.equals("always") || unlimited.equals("null") && said.isNull() ? new double[] {0, Double.POSITIVE_INFINITY} : limits(said);
        if (limits.length != 2 || !(limits[0] <= limits[1])) {
            throw numbers.refused("has a time_step_limit that is not a smallest and a largest number; download it again");
        }
        return new Mixers.StateSpace(heads, headDim, groups, numbers.count("mamba_d_state"), numbers.count("mamba_d_conv"), limits[0], limits[1],
                !holds("norm_if", true) ? 0 : rule.path("norm").asText().equals("groups") ? groups : 1, holds("norm_first", false));
    }

    /// Whether the key that a word names is on.
    private boolean holds(String word, boolean otherwise) {
        return rule.has(word) ? ModelClass.isOn(numbers.json().path(rule.path(word).asText())) : otherwise;
    }

    /// A list, or the default of a class as Python writes it.
    private static double[] limits(JsonNode said) {
        if (said.isTextual() && said.asText().matches("\\(\\d+(\\.\\d+)?, \\d+(\\.\\d+)?\\)")) {
            return Arrays.stream(said.asText().replaceAll("[()]", "").split(", ")).mapToDouble(Double::parseDouble).toArray();
        }
        return said.valueStream().mapToDouble(n -> n.isNumber() ? n.asDouble() : Double.NaN).toArray();
    }
}
