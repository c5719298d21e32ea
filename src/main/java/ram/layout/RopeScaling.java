package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// Which `rope_scaling` or `rope_parameters` a class of mlx_lm can be made with, by the rules of `rope-scaling.json`. With another one it stops before it reads a tensor.
final class RopeScaling {
    private static final String KEY = "rope_scaling";
    private static final String PARAMETERS = "rope_parameters";
    private static final Pattern LENGTH = Pattern.compile("(\\w+)\\[(\\d+)]");
    private static final Pattern REFERENCE = Pattern.compile("=(\\w+)");
    private static final Pattern FLOAT = Pattern.compile("float\\((\\w+)\\)");

    private static final class Holder {
        static final JsonNode RULES = load();

        private static JsonNode load() {
            try (InputStream in = RopeScaling.class.getResourceAsStream("rope-scaling.json")) {
                return new ObjectMapper().readTree(in);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    private RopeScaling() {
    }

    /// Whether there is a rule of this name.
    static boolean isRule(String name) {
        return Holder.RULES.has(name);
    }

    /// Whether the class takes its rotary settings from `rope_parameters`, one set of them for all layers.
    static boolean readsParameters(Family family, JsonNode scope) {
        return Holder.RULES.path(family.ropeRule(scope)).path("key").asText().equals(PARAMETERS);
    }

    /// What stands for none in a config.json whose class cannot be made without one; missing where the class can, or where nothing scales as little.
    ///
    /// @param scope the part of config.json that the class reads
    static JsonNode unscaled(Family family, JsonNode scope) {
        JsonNode unscaled = Holder.RULES.path(family.ropeRule(scope)).path("unscaled").deepCopy();
        for (Map.Entry<String, JsonNode> e : unscaled.properties()) {
            Matcher key = REFERENCE.matcher(e.getValue().asText());
            if (!key.matches()) {
                continue;
            }
            if (!scope.path(key.group(1)).isNumber()) {
                return MissingNode.getInstance();
            }
            e.setValue(scope.get(key.group(1)));
        }
        return unscaled;
    }

    /// @param written the part of an output's config.json that the class reads
    /// @param source the same part of the file that the sentence is about: it may say `rope_parameters`, of which the output's settings come
    /// @return what the class would stop at and what to do about it, to be read after the name of the file
    static Optional<String> problem(Family family, JsonNode written, JsonNode source) {
        JsonNode rule = Holder.RULES.path(family.ropeRule(written));
        String read = rule.path("key").asText(KEY);
        boolean own = read.equals(KEY) && source.hasNonNull(KEY);
        JsonNode scaling = written.path(read);
        boolean none = scaling.isMissingNode() || scaling.isNull();
        boolean needed = rule.path("needed").asBoolean();
        boolean told = scaling.isMissingNode() && Stream.of("", Family.TEXT).flatMap(family::required).anyMatch(read::equals);
        if (needed && none && !told) {
            return Optional.of("has no " + read + ", without which mlx_lm's " + family.name() + " cannot be made; add the one that the model was trained with");
        }
        if (rule.isMissingNode() || none || !needed && scaling.isContainerNode() && scaling.isEmpty()) {
            return Optional.empty();
        }
        String key = own ? KEY : PARAMETERS;
        boolean plain = Stream.of("rope_type", "type").anyMatch(k -> scaling.path(k).asText().equals("default"));
        String without = own ? "remove it" : plain ? "" : "set its rope_type to default";
        return wrong(rule, scaling, family.name()).map(why -> "has " + key + why + "; correct it" + (without.isEmpty() ? "" : ", or " + without + ", which leaves the model the context length it was first trained with"));
    }

    /// @param scope the part of config.json that the class reads, which the class can be made with
    /// @return what the class would stop at once it computes, to be read after the name of the file
    static Optional<String> problemAtFirstToken(Family family, JsonNode scope) {
        JsonNode rule = Holder.RULES.path(family.ropeRule(scope));
        String read = rule.path("key").asText(KEY);
        return Family.texts(rule.path("first_token")).filter(key -> !scope.path(read).path(key).isNumber()).findFirst()
                .map(key -> "has no " + key + " in its " + read + " that is a number, and mlx_lm's " + family.name() + " computes with it; it would stop at the first token, add the one that the model was trained with");
    }

    private static Optional<String> wrong(JsonNode rule, JsonNode scaling, String name) {
        if (!scaling.isObject()) {
            return Optional.of(" that is no object, which mlx_lm's " + name + " cannot read");
        }
        List<String> keys = rule.path("type_keys").valueStream().map(JsonNode::asText).toList();
        // as in Python's `or`: an empty value counts as none, except the last one's
        JsonNode said = keys.stream().map(scaling::path).filter(t -> Family.truthy(t, null)).findFirst().orElse(scaling.path(keys.getLast()));
        JsonNode type = said.isMissingNode() ? rule.path("unsaid") : said;
        if (type.isMissingNode()) {
            return Optional.of(" without " + keys.getLast() + ", which mlx_lm's " + name + " needs");
        }
        JsonNode types = types(rule);
        String known = String.join(", ", types.propertyStream().map(Map.Entry::getKey).toList());
        // what a class does not know it may ignore
        JsonNode needed = types.has(type.asText()) ? types.path(type.asText()) : rule.path("others");
        if (needed.isMissingNode()) {
            return Optional.of(" of the type '" + type.asText() + "', and mlx_lm's " + name + " knows only " + known);
        }
        return Stream.of(needed, rule.path("always")).flatMap(JsonNode::valueStream).map(JsonNode::asText).filter(key -> !has(scaling, key)).findFirst()
                .map(key -> " of the type '" + type.asText() + "' without " + key + ", which mlx_lm's " + name + " needs");
    }

    private static JsonNode types(JsonNode rule) {
        return rule.has("like") ? types(Holder.RULES.path(rule.path("like").asText())) : rule.path("types");
    }

    /// @param key as `key[n]` where the value has to be a list of n, `float(key)` where it has to be a number that Python reads as a float
    private static boolean has(JsonNode scaling, String key) {
        Matcher list = LENGTH.matcher(key);
        Matcher number = FLOAT.matcher(key);
        return list.matches() ? scaling.path(list.group(1)).size() == Integer.parseInt(list.group(2))
                : number.matches() ? scaling.path(number.group(1)).isFloatingPointNumber() : scaling.hasNonNull(key);
    }
}
