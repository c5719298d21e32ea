package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import ram.safetensors.Shape;

/// What a class has to find in its files. mlx_lm stops at a parameter that is missing, at one that it does not know, and at one of another shape. All of that is judged
/// for plain decoders, whose layers all have the same seven projections; of classes whose layers differ the head is, the biases of what is there, and what neither a layer, nor an
/// attention, a state-space mixer or a feed-forward network in it can be without.
public final class ExpectedTensors {
    /// The projections of a layer of the plain kinds: each for itself, or some fused.
    private static final Set<Set<String>> PROJECTIONS = Set.of(
            Set.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
            Set.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"),
            Set.of("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"));
    private static final String LAYER = "{N}";
    /// Where the experts of a layer are stacked.
    private static final Pattern STACK = Pattern.compile("\\$1(\\.\\w+\\.)\\$3\\.weight");
    /// Norms that no setting takes away.
    private static final Pattern ALWAYS = Pattern.compile(".*(?<!query_)(?<!key_)(layernorm|model\\.norm)\\.weight");

    private static final List<String> SIZES = List.of("hidden_size", "intermediate_size", "num_attention_heads", "vocab_size");
    private static final List<String> COMPUTED_SIZES = List.of("num_key_value_heads", "head_dim");

    /// So many problems are told; a config.json that counts a million layers has a million more of the same.
    private static final int MOST = 20;
    private static final Pattern QUERY_OR_KEY_NORM = Pattern.compile("\\.(q_norm|k_norm|query_layernorm|key_layernorm)\\.weight$");

    private final Family family;
    private final JsonNode scope;
    private final ObjectNode settings;
    private final Map<String, Shape> shapes;
    private final Biases biases;
    private final Set<String> problems = new LinkedHashSet<>();

    private ExpectedTensors(Family family, JsonNode scope, Map<String, Shape> shapes) {
        this.family = family;
        this.scope = scope;
        this.settings = family.withDefaults(scope);
        this.shapes = shapes;
        this.biases = new Biases(family, scope);
    }

    /// @param config of a folder as MLX loads it
    /// @param shapes of its tensors by name; of a quantized module that of the decoded weight, as `PATH.weight` and nothing else
    /// @return what mlx_lm would stop at, a sentence each
    public static List<String> problems(ModelConfig config, Map<String, Shape> shapes) {
        Optional<Family> family = Family.of(config.modelType());
        if (family.isEmpty()) {
            return List.of();
        }
        ExpectedTensors expected = new ExpectedTensors(family.get(), family.get().scope(config.json()), shapes);
        RopeScaling.problem(family.get(), expected.scope, expected.scope).map(p -> p + "; mlx_lm would not load the folder").or(() -> RopeScaling.problemAtFirstToken(family.get(), expected.scope))
                .ifPresent(p -> expected.problems.add("config.json " + p));
        expected.problems.addAll(Assertions.problems(family.get(), expected.settings));
        expected.checkLayerTypes();
        expected.checkHead();
        expected.checkFeedForward();
        expected.checkParts();
        expected.checkExperts();
        expected.checkShapes();
        expected.checkBiases();
        if (isPlain(family.get())) {
            expected.checkAll();
        }
        return List.copyOf(expected.problems);
    }

    /// Which of the tensors a family's lists do not name. They name the parameters of usual configurations, so an unlisted one may still be right, except
    /// where the family [#isPlain].
    ///
    /// @param scope the part of config.json that the class reads
    static List<String> unlisted(Family family, JsonNode scope, Collection<String> names) {
        Family.Paths modules = family.modules();
        Family.Paths others = family.others();
        Biases biases = new Biases(family, scope);
        return names.stream().filter(n -> !others.contains(n) && !biases.accept(n) && !modules.contains(n.replaceFirst("\\.(weight|scales|biases)$", ""))).toList();
    }

    /// Whether one of the settings with this in their names, such as `attention_bias`, is on.
    ///
    /// @param settings with the class's defaults
    static boolean asksFor(Family family, JsonNode settings, String part) {
        return settings(family, part).anyMatch(k -> Family.truthy(settings.get(k), null));
    }

    private static Stream<String> settings(Family family, String part) {
        return family.settings().filter(k -> k.contains(part));
    }

    /// What mlx_lm would stop at in what is written of a source, a sentence each.
    public static List<String> problems(Layout layout, ModelConfig source) {
        Map<String, Shape> shapes = new TreeMap<>();
        layout.modules().forEach(m -> shapes.put(m.path() + ".weight", m.weight().shape()));
        layout.plain().forEach(p -> shapes.put(p.name(), p.view().shape()));
        layout.prequantized().forEach(p -> shapes.put(p.path() + ".weight", p.shape()));
        ModelConfig written = new ModelConfig(source.file(), layout.config());
        return Stream.concat(ModelClass.missingKeys(written).stream(), problems(written, shapes).stream()).toList();
    }

    /// Whether the lists of a family name all that there can be.
    static boolean isPlain(Family family) {
        Set<String> found = new HashSet<>();
        family.rules().path("modules").forEach(m -> {
            int layer = m.asText().indexOf(LAYER);
            if (layer >= 0) {
                found.add(m.asText().substring(layer + LAYER.length()).replaceFirst("^\\.", ""));
            }
        });
        return PROJECTIONS.contains(found);
    }

    /// That the classes that look up the first layer of a type find one, those that know some types find no other, and those that make a layer of each entry have as many
    /// as config.json counts.
    private void checkLayerTypes() {
        JsonNode rule = family.rules().path("layer_types");
        String key = rule.path("key").asText("layer_types");
        JsonNode types = scope.path(key);
        // those without a list have a usual one, and some take an empty list for none
        if (rule.isMissingNode() || !types.isArray() || types.isEmpty()) {
            return;
        }
        Set<String> found = new LinkedHashSet<>();
        types.forEach(t -> found.add(t.asText()));
        rule.path("needed").valueStream().map(JsonNode::asText).filter(t -> !found.contains(t)).findFirst()
                .ifPresent(t -> problems.add("config.json has no " + t + " among its " + key + "; mlx_lm would not load the folder without it"));
        List<String> known = Family.texts(rule.path("known")).toList();
        found.stream().filter(t -> !known.isEmpty() && !known.contains(t)).findFirst().ifPresent(t -> problems.add("config.json has '" + t + "' among its " + key + ", and mlx_lm's "
                + family.name() + " knows only " + String.join(", ", known) + "; mlx_lm would not load the folder"));
        JsonNode layers = scope.path("num_hidden_layers");
        if (rule.path("one_each").asBoolean() && layers.isIntegralNumber() && types.size() != layers.asLong()) {
            problems.add("config.json has " + types.size() + " " + key + ", but counts " + layers + " layers; mlx_lm's " + family.name() + " would make one of each type, and not load the folder");
        }
    }

    /// Known of every class: whether it has a head of its own.
    private void checkHead() {
        Family.Head head = family.head();
        head.module().filter(m -> !head.isShared(scope) && shapes.keySet().stream().noneMatch(n -> n.startsWith(m + "."))).ifPresent(m -> missing(m + ".weight"));
    }

    /// The three projections of a network come together, experts have a router, and where one layer with attention has such a network, all have.
    private void checkFeedForward() {
        Set<Integer> layers = new TreeSet<>();
        shapes.keySet().forEach(n -> layers.add(Layouts.layer(n)));
        layers.remove(-1);
        List<String> modules = family.rules().path("modules").valueStream().map(JsonNode::asText).filter(m -> m.contains(LAYER)).toList();
        List<String> networks = modules.stream().filter(m -> m.endsWith(".gate_proj")).map(Layouts::path).filter(n -> modules.containsAll(projections(n))).toList();
        Set<Integer> fed = new HashSet<>();
        Set<String> listed = listed();
        for (int layer : layers) {
            for (String network : networks) {
                if (projections(network).stream().anyMatch(p -> has(p, layer))) {
                    fed.add(layer);
                    projections(network).forEach(p -> requireBeside(p, layer));
                    router(network, listed).ifPresent(r -> requireBeside(r, layer));
                }
            }
        }
        boolean all = networks.isEmpty() || fed.isEmpty() || scope.has("block_configs");
        layers.stream().filter(l -> !all && !fed.contains(l) && modules.stream().anyMatch(m -> m.contains(".self_attn.") && has(m, l)))
                .forEach(l -> problems.add("layer " + l + " has attention, but no feed-forward network such as " + networks.getLast().replace(LAYER, String.valueOf(l)) + "; mlx_lm would not load the folder without it"));
    }

    /// What the class has in any case, in each layer or outside of them, and what comes together or in the place of something else.
    private void checkParts() {
        List<String> always = Family.texts(family.rules().path("always")).toList();
        always.stream().filter(n -> !n.contains(LAYER) && !shapes.containsKey(n)).forEach(this::missing);
        Set<Integer> layers = new TreeSet<>();
        shapes.keySet().forEach(n -> layers.add(Layouts.layer(n)));
        layers.remove(-1);
        List<String> either = Family.texts(family.rules().path("either")).toList();
        for (int layer : layers) {
            if (problems.size() >= MOST) {
                return;
            }
            lacking(always.stream().filter(n -> n.contains(LAYER)).toList(), layer).forEach(this::missing);
            for (JsonNode group : family.rules().path("together")) {
                List<String> lacking = lacking(Family.texts(group).toList(), layer);
                if (lacking.size() < group.size()) {
                    lacking.forEach(this::missing);
                }
            }
            if (!either.isEmpty() && lacking(either, layer).size() == either.size()) {
                problems.add("layer " + layer + " has neither " + String.join(" nor ", lacking(either, layer)) + "; mlx_lm would not load the folder without one of them");
            }
        }
    }

    /// That stacks have as many experts as config.json counts.
    private void checkExperts() {
        for (JsonNode step : family.steps()) {
            Matcher to = STACK.matcher(step.path("do").asText().equals("stack") ? step.path("to").asText() : "");
            JsonNode count = settings.path(step.path("count").asText());
            if (!to.matches() || !count.isIntegralNumber()) {
                continue;
            }
            Pattern stack = Pattern.compile(Pattern.quote(to.group(1)) + "\\w+\\.weight$");
            shapes.entrySet().stream().filter(e -> e.getValue().rank() == 3 && e.getValue().dim(0) != count.asLong() && stack.matcher(e.getKey()).find()).limit(MOST)
                    .forEach(e -> problems.add("tensor '" + e.getKey() + "' has " + e.getValue().dim(0) + " experts, but config.json has " + step.path("count").asText() + " = " + count
                            + "; mlx_lm would refuse it"));
        }
    }

    /// That what config.json says of some tensors' sizes is so; one of each kind is told.
    private void checkShapes() {
        for (Map.Entry<String, JsonNode> e : family.rules().path("shapes").properties()) {
            List<String> keys = Family.texts(e.getValue()).toList();
            if (!keys.stream().allMatch(k -> isSize(settings.path(k)))) {
                continue;
            }
            Shape wanted = Shape.of(keys.stream().mapToLong(k -> settings.path(k).asLong()).toArray());
            Pattern name = Family.Paths.pattern(e.getKey());
            shapes.entrySet().stream().filter(s -> name.matcher(s.getKey()).matches() && !s.getValue().equals(wanted)).findFirst()
                    .ifPresent(s -> problems.add("tensor '" + s.getKey() + "' has the shape " + s.getValue() + ", but by " + String.join(" and ", keys) + " of config.json it would have " + wanted
                            + "; mlx_lm would refuse it"));
        }
    }

    private List<String> lacking(List<String> names, int layer) {
        return names.stream().map(n -> n.replace(LAYER, String.valueOf(layer))).filter(n -> !shapes.containsKey(n)).toList();
    }

    private static List<String> projections(String network) {
        return List.of(network + ".gate_proj", network + ".up_proj", network + ".down_proj");
    }

    /// The module that chooses among stacked experts, where the class's lists have it beside them.
    private static Optional<String> router(String network, Set<String> listed) {
        return network.endsWith(".switch_mlp") ? Stream.of("gate", "router").map(n -> Layouts.path(network) + "." + n).filter(listed::contains).findFirst() : Optional.empty();
    }

    /// All that the class has, as paths of modules.
    private Set<String> listed() {
        Set<String> out = new HashSet<>();
        Stream.of("modules", "parameters", "raw").forEach(list -> family.rules().path(list).forEach(n -> out.add(n.asText().replaceFirst("\\.weight$", ""))));
        return out;
    }

    private boolean has(String module, int layer) {
        return shapes.containsKey(module.replace(LAYER, String.valueOf(layer)) + ".weight");
    }

    private void requireBeside(String module, int layer) {
        if (!has(module, layer)) {
            missing(module.replace(LAYER, String.valueOf(layer)) + ".weight");
        }
    }

    private void missing(String tensor) {
        problems.add("tensor '" + tensor + "' is missing; mlx_lm would not load the folder without it");
    }

    private void unknown(String tensor) {
        problems.add("tensor '" + tensor + "' is no parameter of " + family.name() + "; mlx_lm would refuse it");
    }

    /// That what is stored has the biases that the class's rule demands, and no others.
    private void checkBiases() {
        shapes.keySet().stream().filter(n -> n.endsWith(".weight")).map(n -> Layouts.path(n) + ".bias").filter(b -> biases.demand(b) && !shapes.containsKey(b)).limit(MOST).forEach(this::missing);
        shapes.keySet().stream().filter(biases::refuse).limit(MOST).forEach(this::unknown);
    }

    private void checkAll() {
        JsonNode layers = scope.path("num_hidden_layers");
        if (!layers.canConvertToLong() || !layers.isIntegralNumber()) {
            problems.add("config.json has no number of layers as num_hidden_layers; mlx_lm would not load the folder");
            return;
        }
        SIZES.stream().filter(k -> scope.has(k) && !isSize(scope.path(k))).forEach(this::noSize);
        // null and 0 have the class compute them
        COMPUTED_SIZES.stream().filter(k -> scope.hasNonNull(k) && !scope.path(k).isIntegralNumber()).forEach(this::noSize);
        family.rules().path("modules").forEach(m -> {
            // that of the head is checked already
            if (!family.head().is(m.asText())) {
                require(m.asText() + ".weight", layers.longValue());
            }
        });
        family.rules().path("parameters").forEach(p -> {
            if (isDemanded(p.asText())) {
                require(p.asText(), layers.longValue());
            }
        });
        shapes.keySet().stream().filter(n -> Layouts.layer(n) >= layers.longValue()).findFirst()
                .ifPresent(n -> problems.add("tensor '" + n + "' is of a layer beyond the " + layers + " that config.json counts; mlx_lm would refuse it"));
        unlisted(family, scope, shapes.keySet()).forEach(this::unknown);
    }

    private static boolean isSize(JsonNode value) {
        return value.isIntegralNumber() && value.canConvertToLong() && value.longValue() > 0;
    }

    private void noSize(String key) {
        problems.add("config.json has no whole number above 0 as " + key + "; mlx_lm would not load the folder");
    }

    /// Whether the class has this parameter with these settings, where there are any about it.
    private boolean isDemanded(String parameter) {
        if (Family.names(family.rules().path("absent"), settings, false, Layouts.path(parameter))) {
            return false;
        }
        if (parameter.endsWith(".bias")) {
            return biases.areKnown() || settings(family, "bias").findAny().isEmpty();
        }
        if (QUERY_OR_KEY_NORM.matcher(parameter).find()) {
            return settings(family, "qk").findAny().isEmpty() || asksFor(family, settings, "qk");
        }
        return ALWAYS.matcher(parameter).matches();
    }

    /// @param name with `{N}` where each layer has one
    private void require(String name, long layers) {
        for (long n = 0; n < (name.contains(LAYER) ? layers : 1) && problems.size() < MOST; n++) {
            String own = name.replace(LAYER, String.valueOf(n));
            Shape found = shapes.get(own);
            if (found == null) {
                missing(own);
            } else {
                shape(name).filter(wanted -> !wanted.equals(found)).ifPresent(wanted -> problems.add("tensor '" + own + "' has the shape " + found + ", but by config.json it would have "
                        + wanted + "; mlx_lm would refuse it"));
            }
        }
    }

    private Optional<Shape> shape(String name) {
        try {
            return configured(name);
        } catch (ArithmeticException e) {
            problems.add("config.json has sizes that no tensor can have");
            return Optional.empty();
        }
    }

    /// What config.json says of a parameter's shape; empty where it does not say enough.
    ///
    /// @throws ArithmeticException when that is beyond counting
    private Optional<Shape> configured(String name) {
        long hidden = scope.path("hidden_size").asLong();
        long inner = scope.path("intermediate_size").asLong();
        long heads = scope.path("num_attention_heads").asLong();
        JsonNode own = family.settings().anyMatch("head_dim"::equals) ? scope.path("head_dim") : MissingNode.getInstance();
        long length = own.asLong(heads > 0 && !isDefaulted("head_dim") ? hidden / heads : 0);
        long keys = scope.path("num_key_value_heads").asLong(isDefaulted("num_key_value_heads") ? 0 : heads);
        String end = name.replaceFirst("^.*\\{N}\\.", "");
        return switch (end) {
            case "self_attn.q_proj.weight" -> of(Math.multiplyExact(heads, length), hidden);
            case "self_attn.k_proj.weight", "self_attn.v_proj.weight" -> of(Math.multiplyExact(keys, length), hidden);
            case "self_attn.qkv_proj.weight" -> keys == 0 ? Optional.empty() : of(Math.multiplyExact(Math.addExact(heads, 2 * keys), length), hidden);
            case "self_attn.o_proj.weight" -> of(hidden, Math.multiplyExact(heads, length));
            case "mlp.gate_proj.weight", "mlp.up_proj.weight" -> of(inner, hidden);
            case "mlp.gate_up_proj.weight" -> of(2 * inner, hidden);
            case "mlp.down_proj.weight" -> of(hidden, inner);
            default -> end.endsWith("embed_tokens.weight") ? of(scope.path("vocab_size").asLong(), hidden) : end.endsWith("norm.weight") && !QUERY_OR_KEY_NORM.matcher(name).find() ? of(hidden) : Optional.empty();
        };
    }

    /// Whether a key that is left out has a value of the class's own.
    private boolean isDefaulted(String key) {
        JsonNode own = family.rules().path("defaults").path(key);
        JsonNode text = family.rules().path("text_defaults").path(key);
        return !own.isMissingNode() && !own.isNull() || !text.isMissingNode() && !text.isNull();
    }

    private static Optional<Shape> of(long... dims) {
        for (long d : dims) {
            if (d <= 0) {
                return Optional.empty();
            }
        }
        return Optional.of(Shape.of(dims));
    }
}
