package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Optional;
import java.util.function.IntBinaryOperator;
import java.util.stream.IntStream;
import ram.layout.ModelClass;
import ram.layout.ModelConfig;

/// Reads from config.json which layers of a decoder have experts, and how tokens come to them.
///
/// @param file config.json as it is
/// @param numbers of the configuration of the language model, with the defaults of its class in mlx_lm
/// @param mixture what `networks.json` says of the family's experts; missing for families without any
/// @param usual the name of the feed-forward part of layers without experts
record MixtureReader(ModelConfig file, Numbers numbers, JsonNode mixture, String usual) {
    /// @param letters of [MixerReader#letters]
    NetworkShape.Mixture read(int layers, Optional<String> letters) {
        JsonNode count = numbers.json().path(mixture.path("experts").asText());
        boolean none = letters.map(s -> s.indexOf('E') < 0).orElse(count.isNull()) || mixture.has("least") && count.isInt() && count.asInt() >= 0 && count.asInt() < mixture.path("least").asInt();
        if (mixture.isMissingNode() || (mixture.has("if") ? !holds(mixture.path("if")) : none)) {
            return NetworkShape.Mixture.none(usual, layers);
        }
        int experts = numbers.count(mixture.path("experts").asText());
        int perToken = numbers.count(mixture.path("per_token").asText("num_experts_per_tok"));
        if (perToken > experts) {
            throw numbers.refused("sends each token to " + perToken + " of " + experts + " experts; download it again");
        }
        if (mixture.path("layers").asText().equals("is_moe_layer") && numbers.json().path("is_moe_layer").size() != layers) {
            throw numbers.refused("has is_moe_layer for " + numbers.json().path("is_moe_layer").size() + " layers, but " + layers + " layers; download it again");
        }
        List<Integer> byLayer = IntStream.range(0, layers).mapToObj(l -> letters.map(s -> s.charAt(l) == 'E').orElseGet(() -> hasExperts(mixture.path("layers").asText(), l, layers)) ? experts : 0).toList();
        JsonNode shared = mixture.path("shared");
        boolean alone = shared.isMissingNode() || shared.has("if") && !holds(shared.path("if")) || shared.has("count") && numbers.whole(shared.path("count").asText(), 0) == 0
                || shared.has("unless_null") && numbers.json().path(shared.path("unless_null").asText()).isNull();
        Optional<NetworkShape.Shared> any = alone ? Optional.empty()
                : Optional.of(new NetworkShape.Shared(shared.path("name").asText(), Optional.ofNullable(shared.path("gate").textValue()), shared.path("beside").asBoolean(),
                shared.path("fused").asText("gate_up_proj"), shared.path("down").asText("down_proj")));
        return new NetworkShape.Mixture(mixture.path("block").asText("mlp"), mixture.path("router").asText("gate"), mixture.path("stack").asText("switch_mlp"),
                mixture.path("up").asText("up_proj"), mixture.path("down").asText("down_proj"), narrow(mixture.path("narrow")), byLayer, perToken, routing(experts, perToken), any,
                beside(mixture.path("dense")));
    }

    private Optional<NetworkShape.Narrow> narrow(JsonNode rule) {
        String width = rule.path("width").asText();
        return rule.isMissingNode() || numbers.json().path(width).isNull() ? Optional.empty()
                : Optional.of(new NetworkShape.Narrow(numbers.count(width), rule.path("in").asText(), rule.path("out").asText()));
    }

    private static Optional<NetworkShape.Beside> beside(JsonNode names) {
        return names.isMissingNode() ? Optional.empty() : Optional.of(new NetworkShape.Beside(names.path("output").asText(), names.path("experts").asText(),
                names.path("experts_output").asText(), names.path("router_scale").asText()));
    }

    private boolean hasExperts(String which, int layer, int layers) {
        return switch (which) {
            case "sparse_step" -> numbers.json().path("mlp_only_layers").valueStream().noneMatch(l -> l.asInt() == layer) && (layer + 1) % Math.max(1, numbers.whole("decoder_sparse_step", 1)) == 0;
            case "after_dense" -> layer >= numbers.whole("first_k_dense_replace", 0) && (!ModelClass.reads(file, "moe_layer_freq") || layer % Math.max(1, numbers.whole("moe_layer_freq", 1)) == 0);
            case "offset" -> (layer + numbers.whole("expert_layer_offset", 0)) % numbers.count("expert_layer_period") == 0;
            case "num_dense_layers" -> layer >= numbers.whole("num_dense_layers", 0);
            case "is_moe_layer" -> numbers.json().path("is_moe_layer").path(layer).asBoolean();
            case "range" -> layer >= bound("moe_layer_start_index", 0, Math::min) && layer <= bound("moe_layer_end_index", layers - 1, Math::max)
                    && (layer + 1) % Math.max(1, numbers.whole("moe_layer_interval", 1)) == 0;
            default -> true;
        };
    }

    /// A number, or the outermost of several.
    private int bound(String key, int otherwise, IntBinaryOperator outer) {
        JsonNode bound = numbers.json().path(key);
        return bound.isArray() ? bound.valueStream().mapToInt(JsonNode::asInt).reduce(outer).orElse(otherwise) : numbers.whole(key, otherwise);
    }

    private NetworkShape.Routing routing(int experts, int perToken) {
        String scores = mixture.path("scores").asText("softmax");
        NetworkShape.Scores kind = switch (numbers.json().path(scores).asText(scores)) {
            case "softmax" -> NetworkShape.Scores.SOFTMAX;
            case "sigmoid" -> NetworkShape.Scores.SIGMOID;
            case String other -> throw numbers.refused("chooses experts by '" + other + "', which the evaluation does not know");
        };
        JsonNode grouped = mixture.path("groups");
        int groups = grouped.isTextual() && numbers.json().path("topk_method").asText().equals(grouped.asText()) || grouped.asBoolean() ? numbers.whole("n_group", 1) : 1;
        int ranking = mixture.path("group_ranking").asInt(2);
        int best = groups > 1 ? numbers.count("topk_group") : groups;
        if (groups < 1 || experts % groups != 0 || best > groups || best < groups && experts / groups < ranking || experts / groups * best < perToken) {
            throw numbers.refused("chooses " + perToken + " experts from " + best + " of " + groups + " groups of " + experts + " experts; download it again");
        }
        boolean normalized = holds(mixture.path("normalized")) && (perToken > 1 || !mixture.path("single_as_it_is").asBoolean());
        float factor = mixture.has("factor") ? (float) numbers.positive(mixture.path("factor").asText()) : 1;
        boolean corrected = !mixture.has("correction_if") || holds(mixture.path("correction_if"));
        return new NetworkShape.Routing(kind, normalized, mixture.path("normalized_eps").asDouble(), factor,
                Optional.ofNullable(mixture.path("correction").textValue()).filter(_ -> corrected), groups, best, ranking, Optional.ofNullable(mixture.path("share_scale").textValue()));
    }

    private boolean holds(JsonNode rule) {
        return NetworkReader.holds(numbers.json(), rule);
    }
}
