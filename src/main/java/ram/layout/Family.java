package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// What mlx_lm expects of the checkpoints that one of its model classes loads; read from `families.json`.
///
/// @param name of the class
/// @param rules the resource's entry: steps, flags, head, presets and lists of module paths, in which `{N}` stands for any number
record Family(String name, JsonNode rules) {
    /// What the names of lists about the language model inside a wrapper begin with.
    static final String TEXT = "text_";
    /// What a key of a rule begins with that holds where the setting is off.
    private static final String NOT = "not ";
    /// The key of a rule for all types that have none of their own.
    private static final String OTHERS = "others";

    /// A wish of the class for the format of some modules.
    ///
    /// @param suffix whether `text` must end the path; otherwise it must occur in it
    /// @param settings exactly what mlx_lm writes into config.json
    record Preset(boolean suffix, String text, ObjectNode settings) {
        boolean matches(String path) {
            return suffix ? path.endsWith(text) : path.contains(text);
        }
    }

    /// When a class has an output head beside the embedding.
    enum Presence {
        ALWAYS, NEVER, UNLESS_TIED,
        /// Where one is stored.
        IF_TENSOR,
        /// Always, and the embedding cannot stand in for it.
        MUST_EXIST
    }

    /// The output head of a class.
    ///
    /// @param module its path, empty where there never is one
    /// @param tieKey the setting that has it share the embedding, empty where none is known
    /// @param tieDefault the setting's value in the class where config.json lacks it
    /// @param tieUnsaid its value in transformers where config.json lacks it and a head is stored, if that is another one
    record Head(Optional<String> module, Presence presence, String tieKey, JsonNode tieDefault, Optional<JsonNode> tieUnsaid) {
        /// Whether config.json lets the head share the embedding: never for classes that always have one, always for those without.
        boolean isShared(JsonNode scope) {
            return switch (presence) {
                case NEVER, IF_TENSOR -> true;
                case UNLESS_TIED -> truthy(scope.get(tieKey), tieDefault);
                case ALWAYS, MUST_EXIST -> false;
            };
        }

        /// Whether tensors of a head would be unknown parameters: some classes without one of their own take what is stored.
        boolean isRefused(JsonNode scope) {
            return isShared(scope) && presence != Presence.IF_TENSOR;
        }

        boolean is(String path) {
            return module.filter(path::equals).isPresent();
        }
    }

    private static final class Holder {
        static final Map<String, Family> BY_TYPE = load();

        private static Map<String, Family> load() {
            Map<String, Family> byType = new LinkedHashMap<>();
            try (InputStream in = Family.class.getResourceAsStream("families.json")) {
                new ObjectMapper().readTree(in).properties().forEach(e -> {
                    Family family = new Family(e.getKey(), e.getValue());
                    e.getValue().path("types").forEach(t -> byType.put(t.asText(), family));
                });
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            return byType;
        }
    }

    /// The family of a `model_type`, empty when it is not known.
    static Optional<Family> of(String modelType) {
        return Optional.ofNullable(Holder.BY_TYPE.get(modelType));
    }

    JsonNode steps() {
        return rules.path("steps");
    }

    JsonNode flags() {
        return rules.path("flags");
    }

    /// The rule of `rope-scaling.json` that the class follows; empty where none is known.
    ///
    /// @param scope the part of config.json that the class reads: some wrap language models of several types
    String ropeRule(JsonNode scope) {
        JsonNode rule = rules.path("rope_scaling");
        String type = scope.path("model_type").asText();
        return rule.isObject() ? rule.path(rule.has(type) ? type : OTHERS).asText() : rule.asText();
    }

    /// The part of config.json that the class reads: the root, or `text_config`.
    JsonNode scope(ObjectNode config) {
        return switch (rules.path("config_from").asText("root")) {
            case "text" -> config.path("text_config");
            case "text_or_root" -> config.has("text_config") ? config.path("text_config") : config;
            default -> config;
        };
    }

    /// The class's defaults for keys that `scope` lacks.
    ObjectNode withDefaults(JsonNode scope) {
        ObjectNode all = ((ObjectNode) rules).objectNode();
        rules.path("defaults").properties().forEach(e -> all.set(e.getKey(), e.getValue()));
        if (!rules.path("config_from").asText("root").equals("root")) {
            rules.path("text_defaults").properties().forEach(e -> all.set(e.getKey(), e.getValue()));
        }
        scope.properties().forEach(e -> all.set(e.getKey(), e.getValue()));
        return all;
    }

    /// Whether the class has something of its own for a key that is left out or null.
    boolean isNullByDefault(String key) {
        return Stream.of("", TEXT).anyMatch(part -> rules.path(part + "defaults").path(key).isNull());
    }

    /// The keys of config.json that the class reads.
    Stream<String> settings() {
        return Stream.of("", TEXT).flatMap(this::settings);
    }

    /// The same of the class itself, or of the language model that it wraps.
    ///
    /// @param part empty, or [#TEXT]
    Stream<String> settings(String part) {
        return Stream.concat(required(part), rules.path(part + "defaults").propertyStream().map(Map.Entry::getKey));
    }

    /// Those of a part without which it cannot be made.
    Stream<String> required(String part) {
        return texts(rules.path(part + "required"));
    }

    /// Keys without a default that config.json lacks; those of the language model inside as `text_config.KEY`.
    List<String> missingKeys(ObjectNode config) {
        JsonNode scope = scope(config);
        Stream<String> text = required(TEXT).filter(key -> scope.isObject() && !scope.has(key)).map(key -> scope == config ? key : "text_config." + key);
        return Stream.concat(required("").filter(key -> !config.has(key)), text).toList();
    }

    List<Preset> presets() {
        List<Preset> out = new ArrayList<>();
        for (JsonNode p : rules.path("presets")) {
            ObjectNode settings = p.deepCopy();
            boolean suffix = p.has("ends");
            settings.remove(List.of("ends", "contains"));
            out.add(new Preset(suffix, p.path(suffix ? "ends" : "contains").asText(), settings));
        }
        return out;
    }

    /// Kinds of modules whose names say another one.
    Map<Pattern, Kind> kinds() {
        Map<Pattern, Kind> out = new LinkedHashMap<>();
        rules.path("kinds").properties().forEach(e -> out.put(Paths.pattern(e.getKey()), Kind.valueOf(e.getValue().asText().toUpperCase(Locale.ROOT))));
        return out;
    }

    /// The modules of usual configurations, and the output head, which most of those that share an embedding do not have.
    Paths modules() {
        return Paths.of(Stream.concat(texts(rules.path("modules")), head().module().stream()));
    }

    /// Tensors of usual configurations that are no weights of modules.
    Paths parameters() {
        return Paths.of(texts(rules.path("parameters")));
    }

    Paths embeddings() {
        return Paths.of(texts(rules.path("embeddings")));
    }

    Paths raw() {
        return Paths.of(texts(rules.path("raw")));
    }

    /// All that is no module.
    Paths others() {
        return Paths.of(Stream.of("parameters", "raw").flatMap(list -> texts(rules.path(list))));
    }

    /// Modules that the class's own code cannot quantize.
    Paths dense() {
        return Paths.of(texts(rules.path("dense")));
    }

    Paths keepDType() {
        return Paths.of(texts(rules.path("keep_dtype")));
    }

    static Stream<String> texts(JsonNode list) {
        return list.valueStream().map(JsonNode::asText);
    }

    Head head() {
        JsonNode head = rules.path("head");
        return new Head(Optional.ofNullable(head.path("module").asText(null)), Presence.valueOf(head.path("present").asText().toUpperCase(Locale.ROOT)),
                head.path("tie_key").asText(), head.path("tie_default"), Optional.ofNullable(head.get("tie_unsaid")));
    }

    /// Whether a rule names a path, or what it ends with, under a key whose setting is on, or under `not KEY` where it is off.
    ///
    /// @param rule keys of config.json, and for each a list of ends
    /// @param unsaid whether a key without a value counts as asked for
    static boolean names(JsonNode rule, JsonNode settings, boolean unsaid, String path) {
        return rule.propertyStream().filter(e -> isAsked(e.getKey(), settings, unsaid)).flatMap(e -> texts(e.getValue())).anyMatch(end -> path.equals(end) || path.endsWith("." + end));
    }

    private static boolean isAsked(String condition, JsonNode settings, boolean unsaid) {
        boolean not = condition.startsWith(NOT);
        JsonNode value = settings.get(not ? condition.substring(NOT.length()) : condition);
        return value == null ? unsaid : truthy(value, null) != not;
    }

    static boolean truthy(JsonNode value, JsonNode otherwise) {
        JsonNode v = value == null ? otherwise : value;
        return v != null && (v.isBoolean() ? v.asBoolean() : v.isNumber() ? v.asDouble() != 0 : v.isTextual() ? !v.asText().isEmpty() && !v.asText().equals("REQUIRED") : v.isContainerNode() && !v.isEmpty());
    }

    /// Module paths or tensor names in which `{N}` stands for any number.
    record Paths(Optional<Pattern> pattern) {
        static Paths of(Stream<String> paths) {
            List<String> alternatives = paths.map(Paths::regex).toList();
            return new Paths(alternatives.isEmpty() ? Optional.empty() : Optional.of(Pattern.compile(String.join("|", alternatives))));
        }

        static Pattern pattern(String path) {
            return Pattern.compile(regex(path));
        }

        private static String regex(String path) {
            return Arrays.stream(path.split("\\{N}", -1)).map(piece -> piece.isEmpty() ? "" : Pattern.quote(piece)).collect(Collectors.joining("\\d+"));
        }

        boolean contains(String path) {
            return pattern.isPresent() && pattern.get().matcher(path).matches();
        }
    }
}
