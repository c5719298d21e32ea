package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// What a class asserts of its settings before it reads a tensor, by `asserts` of `families.json`; and what every class computes its norms with.
final class Assertions {
    /// What is added to a mean square before its root is taken, in the words of the classes.
    private static final Pattern EPSILON = Pattern.compile("(\\w+_)?(norm|layernorm|mixer_rms)_eps(ilon)?");

    private Assertions() {
    }

    /// @param settings with the class's defaults
    /// @return what does not hold, a sentence each
    static List<String> problems(Family family, ObjectNode settings) {
        Stream<String> stops = family.rules().path("asserts").valueStream().flatMap(rule -> wrong(rule, settings, family).stream()).map(p -> p + "; mlx_lm would not load the folder");
        return Stream.concat(stops, epsilons(family, settings)).map(p -> "config.json has " + p).toList();
    }

    /// mlx_lm gives its classes what config.json has, be it null in place of a default, and none looks at it before the first token.
    private static Stream<String> epsilons(Family family, ObjectNode settings) {
        return family.settings().filter(EPSILON.asMatchPredicate()).distinct().filter(key -> settings.has(key) && !isEpsilon(settings.get(key)))
                .map(key -> key + " = " + settings.get(key) + ", and mlx_lm's " + family.name() + " needs a number of 0 or more there, the one that the model was trained with; it would fail at the first token, or compute nonsense");
    }

    private static boolean isEpsilon(JsonNode value) {
        return value.isNumber() && value.doubleValue() >= 0 && value.doubleValue() <= Float.MAX_VALUE;
    }

    private static Optional<String> wrong(JsonNode rule, ObjectNode settings, Family family) {
        String name = family.name();
        String key = rule.path("config").asText();
        JsonNode value = settings.path(key);
        if (value.isMissingNode()) {
            // told already, where it is needed
            return Optional.empty();
        }
        String said = key + " = " + value;
        if (rule.has("is")) {
            return value.asText().equals(rule.path("is").asText()) ? Optional.empty() : Optional.of(said + ", and mlx_lm's " + name + " knows only " + rule.path("is").asText());
        }
        if (rule.has("text")) {
            return value.isTextual() || !Family.truthy(value, null) ? Optional.empty() : Optional.of(said + ", which mlx_lm's " + name + " reads as text, such as " + rule.path("text").asText());
        }
        if (rule.has("or")) {
            String other = rule.path("or").asText();
            return Family.truthy(value, null) || Family.truthy(settings.get(other), null) ? Optional.empty() : Optional.of("neither " + key + " nor " + other + ", and mlx_lm's " + name + " needs one of them");
        }
        if (rule.has("holds")) {
            return rule.path("holds").valueStream().map(JsonNode::asText).filter(k -> !value.has(k) || value.path(k).isArray() && value.path(k).isEmpty()).findFirst()
                    .map(k -> key + " without " + k + ", which mlx_lm's " + name + " needs");
        }
        if (rule.has("entries")) {
            JsonNode count = settings.path(rule.path("entries").asText());
            return value.isNull() || !count.isIntegralNumber() || value.size() == count.asLong() ? Optional.empty()
                    : Optional.of(value.size() + " " + key + ", but " + rule.path("entries").asText() + " = " + count + ", and mlx_lm's " + name + " needs one of each layer");
        }
        if (rule.has("at_least")) {
            JsonNode count = settings.path(rule.path("at_least").asText());
            boolean unsaid = value.isNull() && family.isNullByDefault(key);
            return unsaid || !count.isIntegralNumber() || value.isArray() && value.size() >= count.asLong() ? Optional.empty()
                    : Optional.of((value.isArray() ? value.size() + " " + key : said) + ", but " + rule.path("at_least").asText() + " = " + count + ", and mlx_lm's " + name + " looks one up for each layer");
        }
        List<JsonNode> factors = rule.path("product").valueStream().map(f -> settings.path(f.asText())).toList();
        double product = factors.stream().mapToDouble(JsonNode::asDouble).reduce(1, (a, b) -> a * b);
        return !value.isNumber() || factors.stream().anyMatch(f -> !f.isNumber()) || product == value.asDouble() ? Optional.empty()
                : Optional.of(said + ", and mlx_lm's " + name + " needs it to be " + rule.path("product").valueStream().map(JsonNode::asText).collect(Collectors.joining(" × ")));
    }
}
