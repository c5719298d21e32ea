package ram.layout;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/// That `families.json` says nothing that its readers do not understand.
class FamiliesJsonTest {
    private static final ObjectMapper STRICT = new ObjectMapper().enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION);
    private static final Set<String> LISTS = Set.of("types", "modules", "embeddings", "dense", "raw", "parameters", "keep_dtype", "required", "text_required", "always", "either");
    private static final Set<String> NEEDED = Set.of("types", "steps", "head", "modules", "embeddings", "raw", "parameters");
    private static final Set<String> OTHERS = Set.of("config_from", "flags", "steps", "head", "presets", "kinds", "biases", "defaults", "text_defaults", "unsaid", "rope_scaling", "layer_types", "asserts", "shapes", "absent", "together");
    private static final Pattern GROUP = Pattern.compile("\\$(\\d)");

    static Stream<Family> families() throws IOException {
        try (InputStream in = Family.class.getResourceAsStream("families.json")) {
            return STRICT.readTree(in).properties().stream().map(e -> new Family(e.getKey(), e.getValue())).toList().stream();
        }
    }

    @Test
    void aTypeBelongsToOneClass() throws IOException {
        Map<String, String> classes = new HashMap<>();
        families().forEach(f -> f.rules().path("types").forEach(t -> assertEquals(f.name(), classes.computeIfAbsent(t.asText(), _ -> f.name()), t.asText())));
        classes.forEach((type, name) -> assertEquals(name, Family.of(type).orElseThrow().name()));
    }

    @ParameterizedTest
    @MethodSource("families")
    void everyWordOfAClassIsKnown(Family family) {
        List<String> wrong = new ArrayList<>();
        family.rules().properties().forEach(e -> {
            if (LISTS.contains(e.getKey()) ? !isTexts(e.getValue()) : !OTHERS.contains(e.getKey())) {
                wrong.add(e.getKey() + " = " + e.getValue());
            }
        });
        NEEDED.stream().filter(k -> !family.rules().has(k)).forEach(wrong::add);
        assertEquals(List.of(), wrong);
        assertTrue(Set.of("root", "text", "text_or_root").contains(family.rules().path("config_from").asText("root")));
        Stream.of("biases", "absent").forEach(rule -> family.rules().path(rule).forEach(b -> assertTrue(isTexts(b), b::toString)));
        family.rules().path("presets").forEach(p -> assertTrue(p.path("bits").isInt() && (p.has("ends") != p.has("contains"))
                && p.propertyStream().allMatch(e -> Set.of("ends", "contains", "bits", "group_size").contains(e.getKey())), p::toString));
        JsonNode rope = family.rules().path("rope_scaling");
        assertTrue(!rope.isObject() || rope.has("others"), rope::toString);
        (rope.isObject() ? rope.valueStream() : Stream.of(rope)).forEach(r -> assertTrue(r.isMissingNode() || RopeScaling.isRule(r.asText()), r::toString));
        JsonNode types = family.rules().path("layer_types");
        assertTrue(types.isMissingNode() || minus(keys(types), Set.of("key", "known")).equals(Set.of("needed", "one_each")) && Stream.of("needed", "known").allMatch(k -> !types.has(k) || isTexts(types.path(k))) && types.path("one_each").isBoolean(), types::toString);
        family.rules().path("asserts").forEach(a -> assertTrue(a.size() == 2 && family.settings().anyMatch(a.path("config").asText()::equals)
                && (a.has("is") || a.path("text").isTextual() || a.path("entries").isTextual() || a.path("at_least").isTextual() || a.path("or").isTextual() || isTexts(a.path("product")) || isTexts(a.path("holds"))), a::toString));
        Set<String> named = Set.copyOf(Stream.of("modules", "parameters", "raw").flatMap(l -> texts(family.rules().path(l)).stream()).map(n -> n.replaceFirst("\\.weight$", "")).toList());
        family.rules().path("shapes").properties().forEach(s -> assertTrue(named.contains(s.getKey().replaceFirst("\\.weight$", "")) && isTexts(s.getValue())
                && s.getValue().valueStream().allMatch(k -> family.settings().anyMatch(k.asText()::equals)), s::toString));
        assertDoesNotThrow(family::kinds);
        List<String> parts = Stream.concat(Stream.of("always", "either").map(family.rules()::path), family.rules().path("together").valueStream()).flatMap(JsonNode::valueStream)
                .map(n -> n.asText().replace("{N}", "0")).toList();
        assertEquals(List.of(), parts.stream().filter(n -> !family.others().contains(n) && !family.modules().contains(n.replaceFirst("\\.weight$", ""))).toList(), "parts that are in no list");
        assertTrue(family.rules().path("together").valueStream().allMatch(g -> isTexts(g) && g.size() > 1));
        assertEquals(Set.of(), minus(texts(family.rules().path("embeddings")), texts(family.rules().path("modules"))), "embeddings that are no modules");
    }

    @ParameterizedTest
    @MethodSource("families")
    void theHeadIsOfAKnownForm(Family family) {
        Family.Head head = family.head();
        assertEquals(head.presence() == Family.Presence.NEVER, head.module().isEmpty());
        assertTrue(head.presence() != Family.Presence.UNLESS_TIED || !head.tieKey().isEmpty() && !head.tieDefault().isMissingNode());
        assertEquals(Set.of(), minus(keys(family.rules().path("head")), Set.of("module", "present", "tie_key", "tie_default", "tie_unsaid")));
    }

    @ParameterizedTest
    @MethodSource("families")
    void everyStepIsOfAKnownForm(Family family) {
        StepRules.check(family);
        family.flags().forEach(f -> Stream.of(f.path("any_name"), f.path("none_name"), f.at("/any_last_dim_ne/re")).forEach(p -> Pattern.compile(p.asText())));
        Set<String> asked = Set.copyOf(family.steps().valueStream().flatMap(s -> s.path("when").valueStream()).map(c -> c.path("flag").asText()).toList());
        assertEquals(Set.of(), minus(keys(family.flags()), asked), "flags that no step asks for");
        for (JsonNode step : family.steps()) {
            int groups = Pattern.compile(step.path("match").asText().replaceAll("\\{[a-z_]+}", "x")).matcher("").groupCount();
            step.path("when").forEach(c -> Pattern.compile(c.path("any").asText()));
            int layers = step.path("when").valueStream().anyMatch(c -> c.has("layer_from")) ? 1 : 0;
            int named = step.propertyStream().filter(e -> !e.getKey().equals("match")).flatMap(e -> GROUP.matcher(e.getValue().toString()).results()).map(MatchResult::group)
                    .mapToInt(g -> g.charAt(1) - '0').max().orElse(0);
            assertTrue(groups >= Math.max(layers, Math.max(named, step.path("index_group").asInt())), () -> "groups that 'match' does not have: " + step);
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            {"do":"dropp","match":"x","why":"y"}                                                    | an unknown 'do'
            {"match":"x","why":"y"}                                                                 | an unknown 'do'
            {"do":"drop","why":"y"}                                                                 | no 'match'
            {"do":"drop","match":"x"}                                                               | no 'why'
            {"do":"drop","match":"x","why":"y","only":"ndim == 1"}                                  | an unknown 'only'
            {"do":"drop","match":"x","why":"y","when":[{"flag":"raw"}]}                             | a flag that the class does not define
            {"do":"drop","match":"x","why":"y","when":[{"config":"a"}]}                             | an unknown condition
            {"do":"drop","match":"x","why":"y","when":[{"config":"a","truthy":true,"defualt":true}]} | an unknown condition
            {"do":"split","match":"x","axis":0,"mode":"thirds","parts":["a","b"]}                   | an unknown 'mode'
            {"do":"split","match":"x","axis":0,"parts":["a","b"]}                                   | no 'mode'
            {"do":"squeeze","match":"x","only":"ndim == 7"}                                         | an unknown 'only'
            {"do":"squeeze","match":"x","axis":1}                                                   | an unknown 'axis'
            """)
    void whatIsNotKnownIsRefused(String step, String why) throws IOException {
        Family family = new Family("strange", STRICT.readTree("{\"steps\":[" + step + "]}"));
        JsonNode none = JsonNodeFactory.instance.objectNode();
        String message = assertThrows(IllegalStateException.class, () -> new Transforms(Map.of(), none, none, new HashMap<>()).apply(family)).getMessage();
        assertEquals("families.json: strange has a step with " + why + ": " + step, message);
    }

    @Test
    void aFlagThatIsNotKnownIsRefused() throws IOException {
        Family family = new Family("strange", STRICT.readTree("{\"flags\":{\"raw\":{\"hass\":\"x\"}}}"));
        assertEquals("families.json: strange has a flag of an unknown form: raw = {\"hass\":\"x\"}", assertThrows(IllegalStateException.class, () -> StepRules.check(family)).getMessage());
    }

    private static boolean isTexts(JsonNode list) {
        return list.isArray() && list.valueStream().allMatch(JsonNode::isTextual);
    }

    private static Set<String> texts(JsonNode list) {
        return Set.copyOf(list.valueStream().map(JsonNode::asText).toList());
    }

    private static Set<String> keys(JsonNode object) {
        return Set.copyOf(object.propertyStream().map(Map.Entry::getKey).toList());
    }

    private static Set<String> minus(Set<String> all, Set<String> known) {
        return Set.copyOf(all.stream().filter(k -> !known.contains(k)).toList());
    }
}
