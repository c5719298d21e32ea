package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.IntBinaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import ram.InputException;
import ram.layout.ModelClass;
import ram.layout.ModelConfig;
import ram.numeric.Decoder;
import ram.safetensors.DType;

/// Reads a [NetworkShape] from config.json, by the rules of the family.
final class NetworkReader {
    private static final int MOST_LAYERS = 10_000;
    private static final String CONTEXT = "original_max_position_embeddings";
    private static final String SLIDING = "sliding_attention";
    private static final String FULL = "full_attention";
    private static final List<String> GELU = List.of("gelu", "gelu_pytorch_tanh", "gelu_new", "gelu_tanh");
    /// What config.json may call each, its usual name first. Which of two kinds of gelu a model has is a matter of its family.
    private static final Map<Activation, List<String>> ACTIVATIONS = Map.of(Activation.SILU, List.of("silu", "swish"), Activation.GELU, GELU, Activation.GELU_TANH, GELU,
            Activation.RELU_SQUARED, List.of("relu2"), Activation.CLAMPED, List.of("silu", "swish"));

    /// The rules of each family, by model_type; of a wrapper, where they depend on it, by that, a slash and the model_type of its language model.
    /// A family `like` another has all rules of that but those that it says itself.
    private static final Map<String, JsonNode> RULES = rules();

    private final ModelConfig file;
    private final JsonNode rules;
    /// The configuration of the language model, with the defaults of its class in mlx_lm.
    private final ModelConfig config;
    private final JsonNode json;
    private final Numbers numbers;

    NetworkReader(ModelConfig file) {
        this.file = file;
        String inside = ModelClass.scope(file).path("model_type").asText();
        rules = RULES.getOrDefault(file.modelType() + "/" + inside, RULES.get(file.modelType()));
        if (rules == null) {
            throw refused("is of model_type '" + file.modelType() + "', which the evaluation cannot run; it runs "
                    + RULES.keySet().stream().filter(t -> t.indexOf('/') < 0).collect(Collectors.joining(", ")));
        }
        config = renamed(ModelClass.withDefaults(file), rules.path("keys"));
        json = withRopeKeys(config.json());
        numbers = new Numbers(file.file(), json, rules.path("keys"), "");
    }

    /// Some classes take settings of rotations from `rope_parameters`, where there are any, and then look at no other keys.
    private JsonNode withRopeKeys(JsonNode own) {
        JsonNode rope = own.path("rope_parameters");
        if (!rules.has("rope_keys") || !rope.isObject() || rope.isEmpty()) {
            return own;
        }
        ObjectNode out = ((ObjectNode) own).deepCopy();
        rules.path("rope_keys").propertyStream().forEach(e -> out.set(e.getKey(), rope.path(e.getKey()).isMissingNode() ? e.getValue() : rope.path(e.getKey())));
        return out.set("rope_scaling", rope);
    }

    /// The configuration with the usual names of what a family calls otherwise.
    private static ModelConfig renamed(ModelConfig config, JsonNode keys) {
        ObjectNode out = config.json().deepCopy();
        keys.propertyStream().forEach(e -> out.set(e.getKey(), config.json().path(e.getValue().asText())));
        return keys.isMissingNode() ? config : new ModelConfig(config.file(), out);
    }

    private static Map<String, JsonNode> rules() {
        try (InputStream in = NetworkReader.class.getResourceAsStream("networks.json")) {
            Map<String, JsonNode> out = new TreeMap<>();
            for (JsonNode own : new ObjectMapper().readTree(in)) {
                ObjectNode family = (ObjectNode) completed(own, out::get);
                own.propertyStream().forEach(e -> family.set(e.getKey(), completed(e.getValue(), type -> out.get(type).path(e.getKey()))));
                for (JsonNode type : own.path("types")) {
                    out.put(type.asText(), family);
                }
            }
            return out;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// An object with those members of the one that it is `like` that it does not say itself; anything else as it is.
    private static JsonNode completed(JsonNode own, Function<String, JsonNode> earlier) {
        if (!own.has("like")) {
            return own.deepCopy();
        }
        ObjectNode out = earlier.apply(own.path("like").asText()).deepCopy();
        return out.setAll((ObjectNode) own);
    }

    /// @throws InputException for a family that cannot be run
    static void requireFamily(ModelConfig config) {
        new NetworkReader(config).requireKnown();
    }

    /// What config.json asks for that mlx_lm's class does not do.
    static List<String> notes(ModelConfig config) {
        NetworkReader reader = new NetworkReader(config);
        List<String> out = new ArrayList<>();
        JsonNode said = ModelClass.scope(config);
        reader.rules.path("unmultiplied").propertyStream().filter(e -> said.path(e.getKey()).asDouble(1) != 1).forEach(e -> out.add(e.getValue().asText()
                + " are not multiplied by " + e.getKey() + ": mlx_lm's " + config.modelType() + " does not do it"));
        JsonNode mixer = reader.rules.path("mixer");
        if (mixer.path("norm").asText().equals("whole") && reader.isOn(mixer.path("norm_if").asText()) && reader.json.path("mamba_n_groups").asInt() > 1) {
            out.add("what state spaces read is normalised as a whole and not by groups, as mlx_lm's " + config.modelType() + " does it");
        }
        reader.scalingNote().ifPresent(out::add);
        return out;
    }

    private Optional<String> scalingNote() {
        JsonNode said = json.path("rope_scaling");
        if (rules.has("rope_positions") && !linear(said)) {
            return Optional.of("positions are multiplied by " + rules.path("rope_positions") + ", as mlx_lm's " + file.modelType() + " does where rope_scaling is not linear");
        }
        return said.isObject() && !scaling().isObject()
                ? Optional.of("rope_scaling has no effect: mlx_lm's " + file.modelType() + " does not read " + (rules.path("rope_scaling").isArray() ? "this type of it" : "it")) : Optional.empty();
    }

    /// The scaling of rotations that the class reads; a missing node where it reads none.
    private JsonNode scaling() {
        JsonNode scaling = json.path(rules.has("rope_in") ? rules.path("rope_in").asText() : "rope_scaling");
        JsonNode known = rules.path("rope_scaling");
        if (!known.isArray()) {
            return known.isTextual() ? readAs(known.asText(), scaling) : known.asBoolean(true) ? scaling : MissingNode.getInstance();
        }
        boolean read = known.valueStream().anyMatch(t -> t.asText().equals(scaling.path("type").asText()));
        // such a class reads the length of its training beside it
        return read ? ((ObjectNode) scaling).deepCopy().set(CONTEXT, json.path(CONTEXT)) : MissingNode.getInstance();
    }

    /// A scaling as a class sees it that takes every one for the same type.
    private static JsonNode readAs(String type, JsonNode scaling) {
        if (!scaling.isObject() || type.equals("alpha")) {
            return scaling;
        }
        ObjectNode out = ((ObjectNode) scaling).deepCopy().put("type", type);
        if (type.equals("longrope") && !out.has("long_factor")) {
            out.put("long_factor", 1);
        }
        // only the class that knows all types reads this
        out.remove("attention_factor");
        return out;
    }

    NetworkShape read() {
        requireKnown();
        int hidden = numbers.count("hidden_size");
        MixerReader mixer = new MixerReader(numbers, rules.path("mixer"));
        Optional<String> letters = mixer.letters();
        int layers = numbers.count("num_hidden_layers");
        if (layers > MOST_LAYERS) {
            throw refused("has " + layers + " layers, which no model has; download it again");
        }
        int heads = attends() ? numbers.count("num_attention_heads") : 1;
        Optional<NetworkShape.Latent> latent = latent();
        int given = attends() && ModelClass.reads(file, "head_dim") ? numbers.whole("head_dim", 0) : 0;
        int headDim = latent.map(NetworkShape.Latent::headDim).orElse(given == 0 ? hidden / heads : given);
        requireLayerTypes(layers);
        List<NetworkShape.Heads> all = IntStream.range(0, layers).mapToObj(l -> heads(l, layers, heads, headDim, latent)).toList();
        List<NetworkShape.Positions> positions = rules.has("rope_by_type") ? positionsByType(all) : positions(layers, latent.map(NetworkShape.Latent::turned).orElse(headDim));
        List<NetworkShape.Parts> parts = mixer.parts(layers);
        return new NetworkShape(ModuleNames.of(rules.path("prefix").asText(""), rules.path("names")), hidden, layers, vocabulary(), all, positions, norms(), dense(layers),
                factors(headDim), mixture(layers, letters), latent, rules.path("gated_queries").asBoolean(), parts, mixer.mixers(parts), layerInputs(), streams());
    }

    /// Whether any layer does; sizes of attention that none has mean nothing.
    private boolean attends() {
        return !rules.path("mixer").path("attends").asText().equals("never");
    }

    /// Those of a layer: in some families, layers without a window have others.
    private NetworkShape.Heads heads(int layer, int layers, int count, int usualDim, Optional<NetworkShape.Latent> latent) {
        JsonNode global = rules.has("global") && !slides(layer) ? rules.path("global") : MissingNode.getInstance();
        boolean keysAsValues = isOn(global.path("keys_as_values").asText());
        int other = numbers.whole(global.path("head_dim").asText(), 0);
        int dim = other == 0 ? usualDim : other;
        int usual = latent.isPresent() || !attends() ? count : numbers.count("num_key_value_heads", count);
        int kv = keysAsValues ? numbers.count(global.path("kv_heads").asText(), usual) : usual;
        if (kv < 1 || count % kv != 0 || dim < 2 || dim % 2 != 0 && latent.isEmpty()) {
            throw refused("has " + count + " heads, " + kv + " key-value heads and a head_dim of " + dim + ", which do not go together; download it again");
        }
        return new NetworkShape.Heads(count, kv, dim, latent.map(NetworkShape.Latent::value).orElse(dim), keysAsValues, source(layer, layers));
    }

    /// The layer whose keys and values a layer attends to: the last layers make none, and have those of the last of the same type before them.
    private int source(int layer, int layers) {
        String key = rules.path("shared_keys").asText();
        int own = layers - numbers.whole(key, 0);
        if (layer < own) {
            return layer;
        }
        return IntStream.iterate(own - 1, l -> l >= 0, l -> l - 1).filter(l -> slides(l) == slides(layer)).findFirst().orElseThrow(() -> refused("has a " + key + " of " + json.path(key)
                + " among " + layers + " layers, by which layer " + layer + " has no layer of its type before it whose keys and values it could use; correct it"));
    }

    private Optional<NetworkShape.LayerInputs> layerInputs() {
        JsonNode rule = rules.path("layer_inputs");
        int width = numbers.whole(rule.path("width").asText(), 0);
        if (width == 0 && !rules.has("streams")) {
            return Optional.empty();
        }
        int known = numbers.count(rule.path("tokens").asText());
        if (known < vocabulary() && !rule.path("beyond").asBoolean()) {
            throw refused("has inputs of layers for " + known + " tokens, but a vocabulary of " + vocabulary() + "; download it again");
        }
        return Optional.of(new NetworkShape.LayerInputs(numbers.count(rule.path("width").asText()), known));
    }

    private Optional<NetworkShape.Latent> latent() {
        JsonNode rule = rules.path("latent");
        if (rule.isMissingNode()) {
            return Optional.empty();
        }
        int queryRank = json.path("q_lora_rank").isNull() ? 0 : numbers.count("q_lora_rank");
        int turned = numbers.count("qk_rope_head_dim");
        int value = rule.has("value") ? (int) value(rule.path("value").asText()) : numbers.count("v_head_dim");
        if (turned % 2 != 0 || value < 1) {
            throw refused("has heads of which " + turned + " dimensions turn, and whose values have " + value + "; download it again");
        }
        int reach = rule.has("reach") ? numbers.count(rule.path("reach").asText()) : Integer.MAX_VALUE;
        return Optional.of(new NetworkShape.Latent(queryRank, numbers.count("kv_lora_rank"), numbers.count("qk_nope_head_dim"), turned, value, (float) value(rule.path("eps").asText()), reach));
    }

    private void requireKnown() {
        String text = json.path("model_type").asText();
        if (rules.has("text_types") && file.json().has("text_config") && !text.isEmpty() && rules.path("text_types").valueStream().noneMatch(t -> t.asText().equals(text))) {
            throw refused("has a language model of model_type '" + text + "', which the evaluation cannot run");
        }
        String activation = json.path("hidden_act").asText("");
        List<String> usual = ACTIVATIONS.get(activation());
        if (!activation.isEmpty() && !usual.contains(activation)) {
            throw refused("asks for the activation '" + activation + "'; the evaluation knows " + usual.getFirst() + " only in models of this type");
        }
        rules.path("unknown").valueStream().map(JsonNode::asText).filter(this::isOn).findFirst().ifPresent(key -> {
            throw refused("asks for " + key + ", which the evaluation does not know");
        });
        double share = json.path("partial_rotary_factor").asDouble(json.at("/rope_parameters/partial_rotary_factor").asDouble(1));
        if (turns() && !rules.has("rope_dims") && share != 1 && !ModelClass.reads(file, "partial_rotary_factor")) {
            throw refused("has a partial_rotary_factor, which mlx_lm's " + file.modelType() + " does not read: it turns all of a head; remove it if the model was trained so");
        }
        rules.path("expected").propertyStream().filter(e -> !json.path(e.getKey()).isMissingNode() && e.getValue().valueStream().noneMatch(v -> same(v, json.path(e.getKey()))))
                .findFirst().ifPresent(e -> {
                    throw refused("asks for a " + e.getKey() + " of " + json.path(e.getKey()).asText() + ", but mlx_lm's " + file.modelType() + " computes as with "
                            + e.getValue().valueStream().map(JsonNode::asText).collect(Collectors.joining(" or ")) + "; correct it if the model was trained so");
                });
        if (json.path("clip_qkv").isNumber()) {
            throw refused("asks for clip_qkv, which the evaluation does not know");
        }
    }

    private static boolean same(JsonNode expected, JsonNode said) {
        return said.isNull() || (expected.isNumber() ? said.isNumber() && expected.asDouble() == said.asDouble() : expected.equals(said));
    }

    /// A model of more than text may say it outside the part about text.
    private int vocabulary() {
        return rules.path("vocabulary").asText().equals("root") && file.json().has("vocab_size") ? numbers.in(file.json()).count("vocab_size") : numbers.count("vocab_size");
    }

    /// What a rule asks for: a number, a key of config.json, or `a/b`, `sqrt(a)` or `bfloat16(a)` of such.
    private double value(String formula) {
        int slash = formula.indexOf('/');
        if (slash > 0) {
            return value(formula.substring(0, slash)) / value(formula.substring(slash + 1));
        }
        int open = formula.indexOf('(');
        if (open > 0) {
            double inner = value(formula.substring(open + 1, formula.length() - 1));
            return formula.startsWith("sqrt") ? Math.sqrt(inner) : Decoder.round(DType.BF16, (float) inner);
        }
        return Character.isDigit(formula.charAt(0)) ? Double.parseDouble(formula) : numbers.positive(formula);
    }

    private float factor(String rule, double otherwise) {
        return (float) (rules.has(rule) ? value(rules.path(rule).asText()) : otherwise);
    }

    private boolean isOn(String key) {
        return ModelClass.isOn(json.path(key));
    }

    /// Whether a rule holds: `true`, or the key of config.json that says so.
    private boolean holds(JsonNode rule) {
        return rule.isTextual() ? isOn(rule.asText()) : rule.asBoolean();
    }

    /// Whether any layers of the family turn queries and keys by their positions.
    private boolean turns() {
        return rules.path("rope").asBoolean(true);
    }

    private List<NetworkShape.Positions> positions(int layers, int headDim) {
        if (!turns()) {
            return Collections.nCopies(layers, new NetworkShape.Positions(0, Optional.empty()));
        }
        String windows = rules.path("windows").asText();
        if (windows.equals("sliding_window_pattern") && numbers.count("sliding_window_pattern") > layers) {
            throw refused("has no layer without a window, as its sliding_window_pattern is larger than the number of layers; mlx_lm does not run such a model, correct it");
        }
        String letters = windows.equals("letters") ? letters() : "";
        if (!letters.isEmpty() && (letters.indexOf('L') < 0 || letters.indexOf('G') < 0)) {
            throw refused("has a sliding_window_pattern without L or without G; mlx_lm does not run such a model, correct it");
        }
        JsonNode types = windows.equals("layer_types") ? json.path("layer_types") : MissingNode.getInstance();
        if (types.isArray() && (types.size() != layers || types.valueStream().noneMatch(t -> t.asText().equals(FULL)))) {
            throw refused("has layer_types that do not name one type for each layer, or none with full attention; mlx_lm does not run such a model, correct them");
        }
        if (!types.isArray() && rules.path("whole_patterns").asBoolean() && layers % rules.path("usual_pattern").asInt() != 0) {
            throw refused("has " + layers + " layers and no layer_types, and mlx_lm's " + file.modelType() + " would leave out those after the last whole pattern of "
                    + rules.path("usual_pattern") + "; add layer_types");
        }
        boolean nested = (rules.has("rope_in") || ModelClass.reads(file, "rope_parameters")) && json.path("rope_parameters").has("rope_theta");
        JsonNode bases = nested ? json.path("rope_parameters") : json;
        Optional<Rope> global = Optional.of(rope(headDim, numbers.in(bases).number("rope_theta", 10_000), scaling()));
        Optional<Rope> local = !rules.has("window_rope_theta") ? global
                : Optional.of(rope(headDim, numbers.number(rules.path("window_rope_theta").asText(), 0), MissingNode.getInstance()));
        List<NetworkShape.Positions> out = new ArrayList<>();
        for (int l = 0; l < layers; l++) {
            int window = slides(l) ? window() : 0;
            out.add(new NetworkShape.Positions(window, !turns(l, layers) ? Optional.empty() : slides(l) ? local : global));
        }
        return out;
    }

    private Optional<NetworkShape.Streams> streams() {
        JsonNode rule = rules.path("streams");
        if (rule.isMissingNode()) {
            return Optional.empty();
        }
        int count = numbers.count(rule.path("count").asText());
        int active = numbers.whole(rule.path("active").asText(), 0);
        if (active < 0 || active >= count) {
            throw refused("has an " + rule.path("active").asText() + " of " + active + " among " + count + " states of a token; download it again");
        }
        String clip = rule.path("clip").asText();
        float most = json.path(clip).isNull() ? Float.POSITIVE_INFINITY : (float) numbers.positive(clip);
        return Optional.of(new NetworkShape.Streams(count, active, most, isOn(rule.path("scaled").asText())));
    }

    /// Shares of gates that are to be 0, by layer, as standard deviations of a normal distribution.
    private List<OptionalDouble> cuts(int layers) {
        JsonNode shares = json.path(rules.path("sparsity").asText());
        if (!rules.has("sparsity") || shares.isNull()) {
            return List.of();
        }
        boolean usable = shares.size() >= layers && shares.valueStream().limit(layers).allMatch(s -> s.isNumber() && s.asDouble() < 1);
        if (!usable) {
            throw refused("has no " + rules.path("sparsity").asText() + " with a share below 1 for each of " + layers + " layers; download it again");
        }
        return shares.valueStream().limit(layers).mapToDouble(JsonNode::asDouble)
                .mapToObj(s -> s > 0 ? OptionalDouble.of(Statistics.normalQuantile(s)) : OptionalDouble.empty()).toList();
    }

    /// That each layer has a type, and one that is known, where a class knows no others.
    private void requireLayerTypes(int layers) {
        JsonNode types = json.path("layer_types");
        if (!rules.path("windows").asText().equals("known_layer_types") || types.isNull() && rules.has("usual_pattern")) {
            return;
        }
        if (types.size() < layers) {
            throw refused("has layer_types for " + types.size() + " layers, but " + layers + " layers; mlx_lm does not run such a model, correct them");
        }
        types.valueStream().limit(layers).map(JsonNode::asText).filter(t -> !t.equals(SLIDING) && !t.equals(FULL)).findFirst().ifPresent(t -> {
            throw refused("says '" + t + "' in its layer_types, which the evaluation does not know; it knows " + FULL + " and " + SLIDING);
        });
    }

    /// Where the types of layers turn each in their own way.
    private List<NetworkShape.Positions> positionsByType(List<NetworkShape.Heads> heads) {
        Map<String, Rope> ropes = new TreeMap<>();
        return IntStream.range(0, heads.size()).mapToObj(l -> new NetworkShape.Positions(slides(l) ? window() : 0,
                Optional.of(ropes.computeIfAbsent(slides(l) ? SLIDING : FULL, type -> ropeOf(type, heads.get(l).dim()))))).toList();
    }

    private Rope ropeOf(String layerType, int headDim) {
        String key = rules.path("rope_by_type").asText();
        JsonNode rope = json.path(key).path(layerType);
        if (!rope.isObject()) {
            throw refused("says nothing of layers of the type " + layerType + " in its " + key + ", so that it is not known how they turn; add it");
        }
        boolean reads = rope.path("type").asText(rope.path("rope_type").asText()).equals("proportional");
        if (!reads && rope.path("partial_rotary_factor").asDouble(1) != 1) {
            throw refused("has a partial_rotary_factor for layers of the type " + layerType + ", which mlx_lm's " + file.modelType()
                    + " reads only where the rope_type is proportional: it turns all of a head; correct it if the model was trained otherwise");
        }
        return rope(headDim, numbers.in(rope).number("rope_theta", 10_000), rope);
    }

    /// How many positions a layer with a window sees; all where config.json does not say it.
    private int window() {
        int window = numbers.whole("sliding_window", Integer.MAX_VALUE);
        if (window < 1) {
            throw refused("has a sliding_window of " + window + ", in which no token sees itself; download it again");
        }
        return window;
    }

    private Rope rope(int headDim, double base, JsonNode scaling) {
        boolean adjacent = rules.path("rope_adjacent").asBoolean() || ModelClass.reads(file, "rope_traditional") && isOn("rope_traditional");
        String key = rules.path("rope_dims").asText();
        boolean byShare = key.isEmpty() || json.path(key).isNull() && ModelClass.reads(file, "partial_rotary_factor");
        double dims = byShare ? headDim * numbers.number("partial_rotary_factor", 1) : numbers.count(key);
        if (rules.path("rope_scaling").asText().equals("alpha")) {
            // whatever type it says
            double alpha = Numbers.ofScaling(file.file(), scaling).number("alpha", 1);
            return Rope.of(config, headDim, dims, base * StrictMath.pow(alpha, headDim / (headDim - 2.0)), MissingNode.getInstance(), adjacent);
        }
        if (rules.has("rope_positions")) {
            // a base that grows with the text is for text that is generated: it depends on the tokens before those of the call
            double times = linear(scaling) ? 1 / Numbers.ofScaling(file.file(), scaling).positive("factor") : rules.path("rope_positions").asDouble();
            return Rope.of(config, headDim, dims, base, MissingNode.getInstance(), adjacent).faster(times);
        }
        if (rules.has("rope_magnitude")) {
            return longRope(headDim, base, scaling);
        }
        return Rope.of(config, headDim, dims, base, scaling, adjacent);
    }

    private static boolean linear(JsonNode scaling) {
        return scaling.path("rope_type").asText().equals("linear");
    }

    /// Whatever type it says; it may have one factor for all frequencies, and the length of training stands beside it.
    private Rope longRope(int headDim, double base, JsonNode scaling) {
        ObjectNode all = JsonNodeFactory.instance.objectNode().put("type", "longrope");
        all.set("long_factor", scaling.path("long_factor"));
        all.set(CONTEXT, json.path(CONTEXT));
        Rope rope = Rope.of(config, headDim, headDim, base, all, false);
        double magnitude = Numbers.ofScaling(file.file(), scaling).number(rules.path("rope_magnitude").asText(), 0);
        return magnitude > 0 ? new Rope(rope.frequencies(), magnitude, false) : rope;
    }

    /// Of the layers in turn, again and again: L has a window, G none. Empty where config.json says none.
    private String letters() {
        JsonNode letters = json.path("sliding_window_pattern");
        return letters.isTextual() ? letters.asText() : "";
    }

    /// As in mlx_lm, only layers that `layer_types` calls sliding have a window, in families whose class reads that: a `sliding_window` without `layer_types`
    /// has no effect there, unless a rule says what is then usual. In others all but every so-manieth have, or those with the letter L.
    private boolean slides(int layer) {
        return switch (rules.path("windows").asText()) {
            case "layer_types" -> json.path("layer_types").isArray() ? json.path("layer_types").path(layer).asText("").equals(SLIDING)
                    : rules.has("usual_pattern") && (layer + 1) % rules.path("usual_pattern").asInt() != 0;
            case "known_layer_types" -> json.path("layer_types").isArray() ? json.path("layer_types").path(layer).asText().equals(SLIDING)
                    : (layer + 1) % numbers.count(rules.path("usual_pattern").asText()) != 0;
            case "sliding_window_pattern" -> (layer + 1) % numbers.count("sliding_window_pattern") != 0;
            case "letters" -> !letters().isEmpty() && letters().charAt(layer % letters().length()) == 'L';
            default -> false;
        };
    }

    /// Whether a layer turns queries and keys by their positions.
    private boolean turns(int layer, int layers) {
        switch (rules.path("rope_only").asText()) {
            case "windows" -> {
                return slides(layer);
            }
            case "windows_if_any" -> {
                return slides(layer) || IntStream.range(0, layers).noneMatch(this::slides);
            }
            default -> { }
        }
        if (rules.path("rope_unless").propertyStream().anyMatch(e -> json.path(e.getKey()).equals(e.getValue()))) {
            return false;
        }
        if (!rules.has("rope_layers")) {
            return true;
        }
        JsonNode listed = json.path(rules.path("rope_layers").asText());
        if (!listed.isArray()) {
            return (layer + 1) % numbers.count(rules.path("rope_interval").asText()) != 0;
        }
        if (listed.size() != layers) {
            throw refused("has " + rules.path("rope_layers").asText() + " for " + listed.size() + " layers, but " + layers + " layers; download it again");
        }
        return listed.path(layer).asInt() != 0;
    }

    private NetworkShape.Norms norms() {
        boolean without = rules.has("qk_norm_if") && !holds(rules.path("qk_norm_if"));
        NetworkShape.QkNorm kind = without ? NetworkShape.QkNorm.NONE : NetworkShape.QkNorm.valueOf(rules.path("qk_norm").asText("none").toUpperCase(Locale.ROOT));
        NetworkShape.HeadNorms heads = new NetworkShape.HeadNorms(kind, rules.path("norms").path("queries").asText("q_norm"), rules.path("norms").path("keys").asText("k_norm"),
                rules.path("qk_norm_after_rope").asBoolean(), rules.path("values_normed").asBoolean());
        JsonNode eps = rules.path("norm_eps");
        return new NetworkShape.Norms(eps(eps), eps(rules.has("last_norm_eps") ? rules.path("last_norm_eps") : eps),
                rules.path("norm_centered").asBoolean(), rules.path("norm_plain").asBoolean(),
                (float) rules.path("norm_offset").asDouble(), heads, norm("attention", "input_layernorm"), norm("attention_output", null),
                norm("feed_forward", parallel() ? "input_layernorm" : "post_attention_layernorm"), norm("feed_forward_output", null));
    }

    private float eps(JsonNode rule) {
        return (float) (rule.isNumber() ? rule.asDouble() : numbers.number(rule.asText("rms_norm_eps"), 1e-6));
    }

    private boolean parallel() {
        return holds(rules.path("parallel"));
    }

    private Activation activation() {
        return Activation.valueOf(rules.path("activation").asText("silu").toUpperCase(Locale.ROOT));
    }

    private NetworkShape.Dense dense(int layers) {
        JsonNode names = rules.path(rules.has("ungated") ? "ungated" : "gated");
        return new NetworkShape.Dense(parallel(), activation(), !rules.has("ungated"), names.path("gate").asText("gate_proj"), names.path("up").asText("up_proj"),
                names.path("down").asText("down_proj"), names.path("both").asText("gate_up_proj"), names.path("up_first").asBoolean(), cuts(layers));
    }

    private Optional<String> norm(String place, String usual) {
        JsonNode named = rules.path("norms").path(place);
        return Optional.ofNullable(named.isMissingNode() ? usual : named.textValue());
    }

    private NetworkShape.Factors factors(int headDim) {
        return new NetworkShape.Factors(factor("embedding_factor", 1), factor("score_factor", magnitude() / Math.sqrt(headDim)), factor("score_cap", 0), factor("branch_factor", 1),
                factor(rules.has("tied_logit_factor") && isOn("tie_word_embeddings") ? "tied_logit_factor" : "logit_factor", 1), factor("logit_cap", 0), growth(), Optional.ofNullable(rules.path("layer_factor").textValue()));
    }

    /// What scores are multiplied by for the sake of stretched rotations: as much as if dimensions that do not turn had grown with the others.
    private double magnitude() {
        JsonNode scaling = scaling();
        double mscale = rules.path("latent").path("mscale").asBoolean() ? Numbers.ofScaling(file.file(), scaling).number("mscale_all_dim", 0) : 0;
        if (mscale == 0) {
            return 1;
        }
        if (!scaling.path("factor").isNumber()) {
            throw refused("has a rope scaling with mscale_all_dim but without a factor; download it again");
        }
        double root = Rope.magnitude(Numbers.ofScaling(file.file(), scaling).positive("factor"), mscale);
        return root * root;
    }

    private Optional<NetworkShape.Growth> growth() {
        if (!rules.path("query_growth").asBoolean()) {
            return Optional.empty();
        }
        JsonNode rope = json.path("rope_parameters");
        if (!rope.path("llama_4_scaling_beta").isNumber()) {
            throw refused("has no llama_4_scaling_beta in its rope_parameters; mlx_lm does not run such a model, download it again");
        }
        return Optional.of(new NetworkShape.Growth(rope.path("llama_4_scaling_beta").asDouble(), numbers.in(rope).count(CONTEXT)));
    }

    /// @param letters of [MixerReader#letters]
    private NetworkShape.Mixture mixture(int layers, Optional<String> letters) {
        JsonNode mixture = rules.path("mixture");
        JsonNode count = json.path(mixture.path("experts").asText());
        boolean none = letters.map(s -> s.indexOf('E') < 0).orElse(count.isNull()) || mixture.has("least") && count.isInt() && count.asInt() >= 0 && count.asInt() < mixture.path("least").asInt();
        if (mixture.isMissingNode() || (mixture.has("if") ? !holds(mixture.path("if")) : none)) {
            return NetworkShape.Mixture.none(rules.path("names").path("feed_forward").asText("mlp"), layers);
        }
        int experts = numbers.count(mixture.path("experts").asText());
        int perToken = numbers.count(mixture.path("per_token").asText("num_experts_per_tok"));
        if (perToken > experts) {
            throw refused("sends each token to " + perToken + " of " + experts + " experts; download it again");
        }
        if (mixture.path("layers").asText().equals("is_moe_layer") && json.path("is_moe_layer").size() != layers) {
            throw refused("has is_moe_layer for " + json.path("is_moe_layer").size() + " layers, but " + layers + " layers; download it again");
        }
        List<Integer> byLayer = IntStream.range(0, layers).mapToObj(l -> letters.map(s -> s.charAt(l) == 'E').orElseGet(() -> hasExperts(mixture.path("layers").asText(), l, layers)) ? experts : 0).toList();
        JsonNode shared = mixture.path("shared");
        boolean alone = shared.isMissingNode() || shared.has("if") && !holds(shared.path("if")) || shared.has("count") && numbers.whole(shared.path("count").asText(), 0) == 0
                || shared.has("unless_null") && json.path(shared.path("unless_null").asText()).isNull();
        Optional<NetworkShape.Shared> any = alone ? Optional.empty()
                : Optional.of(new NetworkShape.Shared(shared.path("name").asText(), Optional.ofNullable(shared.path("gate").textValue()), shared.path("beside").asBoolean(),
                shared.path("fused").asText("gate_up_proj"), shared.path("down").asText("down_proj")));
        return new NetworkShape.Mixture(mixture.path("block").asText("mlp"), mixture.path("router").asText("gate"), mixture.path("stack").asText("switch_mlp"),
                mixture.path("up").asText("up_proj"), mixture.path("down").asText("down_proj"), narrow(mixture.path("narrow")), byLayer, perToken, routing(mixture, experts, perToken), any,
                beside(mixture.path("dense")));
    }

    private Optional<NetworkShape.Narrow> narrow(JsonNode rule) {
        String width = rule.path("width").asText();
        return rule.isMissingNode() || json.path(width).isNull() ? Optional.empty()
                : Optional.of(new NetworkShape.Narrow(numbers.count(width), rule.path("in").asText(), rule.path("out").asText()));
    }

    private static Optional<NetworkShape.Beside> beside(JsonNode names) {
        return names.isMissingNode() ? Optional.empty() : Optional.of(new NetworkShape.Beside(names.path("output").asText(), names.path("experts").asText(),
                names.path("experts_output").asText(), names.path("router_scale").asText()));
    }

    private boolean hasExperts(String which, int layer, int layers) {
        return switch (which) {
            case "sparse_step" -> json.path("mlp_only_layers").valueStream().noneMatch(l -> l.asInt() == layer) && (layer + 1) % Math.max(1, numbers.whole("decoder_sparse_step", 1)) == 0;
            case "after_dense" -> layer >= numbers.whole("first_k_dense_replace", 0) && (!ModelClass.reads(file, "moe_layer_freq") || layer % Math.max(1, numbers.whole("moe_layer_freq", 1)) == 0);
            case "offset" -> (layer + numbers.whole("expert_layer_offset", 0)) % numbers.count("expert_layer_period") == 0;
            case "num_dense_layers" -> layer >= numbers.whole("num_dense_layers", 0);
            case "is_moe_layer" -> json.path("is_moe_layer").path(layer).asBoolean();
            case "range" -> layer >= bound("moe_layer_start_index", 0, Math::min) && layer <= bound("moe_layer_end_index", layers - 1, Math::max)
                    && (layer + 1) % Math.max(1, numbers.whole("moe_layer_interval", 1)) == 0;
            default -> true;
        };
    }

    /// A number, or the outermost of several.
    private int bound(String key, int otherwise, IntBinaryOperator outer) {
        JsonNode bound = json.path(key);
        return bound.isArray() ? bound.valueStream().mapToInt(JsonNode::asInt).reduce(outer).orElse(otherwise) : numbers.whole(key, otherwise);
    }

    private NetworkShape.Routing routing(JsonNode mixture, int experts, int perToken) {
        String scores = mixture.path("scores").asText("softmax");
        NetworkShape.Scores kind = switch (json.path(scores).asText(scores)) {
            case "softmax" -> NetworkShape.Scores.SOFTMAX;
            case "sigmoid" -> NetworkShape.Scores.SIGMOID;
            case String other -> throw refused("chooses experts by '" + other + "', which the evaluation does not know");
        };
        JsonNode grouped = mixture.path("groups");
        int groups = grouped.isTextual() && json.path("topk_method").asText().equals(grouped.asText()) || grouped.asBoolean() ? numbers.whole("n_group", 1) : 1;
        int ranking = mixture.path("group_ranking").asInt(2);
        int best = groups > 1 ? numbers.count("topk_group") : groups;
        if (groups < 1 || experts % groups != 0 || best > groups || best < groups && experts / groups < ranking || experts / groups * best < perToken) {
            throw refused("chooses " + perToken + " experts from " + best + " of " + groups + " groups of " + experts + " experts; download it again");
        }
        boolean normalized = holds(mixture.path("normalized")) && (perToken > 1 || !mixture.path("single_as_it_is").asBoolean());
        float factor = mixture.has("factor") ? (float) numbers.positive(mixture.path("factor").asText()) : 1;
        boolean corrected = !mixture.has("correction_if") || holds(mixture.path("correction_if"));
        return new NetworkShape.Routing(kind, normalized, mixture.path("normalized_eps").asDouble(), factor,
                Optional.ofNullable(mixture.path("correction").textValue()).filter(_ -> corrected), groups, best, ranking, Optional.ofNullable(mixture.path("share_scale").textValue()));
    }

    private InputException refused(String what) {
        return InputException.in(file.file(), what);
    }
}
