package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import ram.InputException;
import ram.layout.ModelConfig;

/// Reads from config.json which layers of a decoder do not attend, and what mixes tokens in them.
///
/// @param file is named in refusals
/// @param json the configuration of the language model, with the defaults of its class in mlx_lm
/// @param rule what `networks.json` says of the family's mixers; missing for families that only attend
record MixerReader(ModelConfig file, JsonNode json, JsonNode rule) {
    private static final int LARGEST = 1 << 20;

    Optional<Mixers> read(int layers) {
        if (rule.isMissingNode()) {
            return Optional.empty();
        }
        List<Boolean> mixes = IntStream.range(0, layers).mapToObj(l -> !attends(l)).toList();
        if (!mixes.contains(false) && !rule.path("alone").asBoolean()) {
            throw refused("has no layer that attends; mlx_lm does not run such a model, correct it");
        }
        return Optional.of(new Mixers(rule.path("name").asText(), mixes, mixes.contains(true) ? Optional.of(kind()) : Optional.empty()));
    }

    private boolean attends(int layer) {
        return switch (rule.path("attends").asText()) {
            case "full_attn_idxs" -> json.path("full_attn_idxs").isArray() ? json.path("full_attn_idxs").valueStream().anyMatch(l -> l.asInt(-1) == layer)
                    : json.path("layer_types").path(layer).asText().equals("full_attention");
            case "layer_types" -> switch (json.path("layer_types").path(layer).asText()) {
                case "attention" -> true;
                case "mamba" -> false;
                case String other -> throw refused("says '" + other + "' in layer_types for layer " + layer + ", which the evaluation does not know; it knows attention and mamba");
            };
            case "interval" -> (layer + 1) % number("full_attention_interval") == 0;
            case String other -> throw new IllegalStateException(other);
        };
    }

    private Mixers.Kind kind() {
        return switch (rule.path("kind").asText()) {
            case "short_convolution" -> new Mixers.ShortConvolution(number("conv_L_cache"));
            case "delta_net" -> deltaNet();
            case "state_space" -> stateSpace();
            case String other -> throw new IllegalStateException(other);
        };
    }

    private Mixers.DeltaNet deltaNet() {
        int keyHeads = number("linear_num_key_heads");
        int valueHeads = number("linear_num_value_heads");
        if (valueHeads % keyHeads != 0) {
            throw refused("has " + valueHeads + " heads of values for " + keyHeads + " heads of keys, which do not go together");
        }
        return new Mixers.DeltaNet(keyHeads, valueHeads, number("linear_key_head_dim"), number("linear_value_head_dim"), number("linear_conv_kernel_dim"));
    }

    private Mixers.StateSpace stateSpace() {
        int heads = number("mamba_n_heads");
        int groups = number("mamba_n_groups");
        if (heads % groups != 0) {
            throw refused("has " + heads + " heads in " + groups + " groups, which do not go together");
        }
        double[] limits = limits(json.path("time_step_limit"));
        if (limits.length != 2 || !(limits[0] <= limits[1])) {
            throw refused("has a time_step_limit that is not a smallest and a largest number; download it again");
        }
        return new Mixers.StateSpace(heads, number("mamba_d_head"), groups, number("mamba_d_state"), number("mamba_d_conv"), limits[0], limits[1]);
    }

    /// A list, or the default of a class as Python writes it.
    private static double[] limits(JsonNode said) {
        if (said.isTextual() && said.asText().matches("\\([\\d.]+, [\\d.]+\\)")) {
            return Arrays.stream(said.asText().replaceAll("[()]", "").split(", ")).mapToDouble(Double::parseDouble).toArray();
        }
        return said.valueStream().mapToDouble(n -> n.isNumber() ? n.asDouble() : Double.NaN).toArray();
    }

    private int number(String key) {
        JsonNode node = json.path(key);
        int value = node.canConvertToInt() ? node.intValue() : 0;
        if (value < 1 || value > LARGEST) {
            throw refused("has no usable " + key + "; download it again");
        }
        return value;
    }

    private InputException refused(String what) {
        return InputException.in(file.file(), what);
    }
}
