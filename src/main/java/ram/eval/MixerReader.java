package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/// Reads from config.json which layers of a decoder do not attend, and what mixes tokens in them.
///
/// @param numbers of the configuration of the language model, with the defaults of its class in mlx_lm
/// @param rule what `networks.json` says of the family's mixers; missing for families that only attend
record MixerReader(Numbers numbers, JsonNode rule) {
    Optional<Mixers> read(int layers) {
        if (rule.isMissingNode()) {
            return Optional.empty();
        }
        List<Boolean> mixes = IntStream.range(0, layers).mapToObj(l -> !attends(l)).toList();
        if (!mixes.contains(false) && !rule.path("alone").asBoolean()) {
            throw numbers.refused("has no layer that attends; mlx_lm does not run such a model, correct it");
        }
        return Optional.of(new Mixers(rule.path("name").asText(), mixes, mixes.contains(true) ? Optional.of(kind()) : Optional.empty()));
    }

    private boolean attends(int layer) {
        return switch (rule.path("attends").asText()) {
            case "full_attn_idxs" -> numbers.json().path("full_attn_idxs").isArray() ? numbers.json().path("full_attn_idxs").valueStream().anyMatch(l -> l.asInt(-1) == layer)
                    : numbers.json().path("layer_types").path(layer).asText().equals("full_attention");
            case "layer_types" -> switch (numbers.json().path("layer_types").path(layer).asText()) {
                case "attention" -> true;
                case "mamba" -> false;
                case String other -> throw numbers.refused("says '" + other + "' in layer_types for layer " + layer + ", which the evaluation does not know; it knows attention and mamba");
            };
            case "interval" -> (layer + 1) % numbers.count("full_attention_interval") == 0;
            case String other -> throw new IllegalStateException(other);
        };
    }

    private Mixers.Kind kind() {
        return switch (rule.path("kind").asText()) {
            case "short_convolution" -> new Mixers.ShortConvolution(numbers.count("conv_L_cache"));
            case "delta_net" -> deltaNet();
            case "state_space" -> stateSpace();
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

    private Mixers.StateSpace stateSpace() {
        int heads = numbers.count("mamba_n_heads");
        int groups = numbers.count("mamba_n_groups");
        if (heads % groups != 0) {
            throw numbers.refused("has " + heads + " heads in " + groups + " groups, which do not go together; download it again");
        }
        double[] limits = limits(numbers.json().path("time_step_limit"));
        if (limits.length != 2 || !(limits[0] <= limits[1])) {
            throw numbers.refused("has a time_step_limit that is not a smallest and a largest number; download it again");
        }
        return new Mixers.StateSpace(heads, numbers.count("mamba_d_head"), groups, numbers.count("mamba_d_state"), numbers.count("mamba_d_conv"), limits[0], limits[1]);
    }

    /// A list, or the default of a class as Python writes it.
    private static double[] limits(JsonNode said) {
        if (said.isTextual() && said.asText().matches("\\(\\d+(\\.\\d+)?, \\d+(\\.\\d+)?\\)")) {
            return Arrays.stream(said.asText().replaceAll("[()]", "").split(", ")).mapToDouble(Double::parseDouble).toArray();
        }
        return said.valueStream().mapToDouble(n -> n.isNumber() ? n.asDouble() : Double.NaN).toArray();
    }
}
