package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.function.Function;
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
    private final PositionsReader positions;

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
        positions = new PositionsReader(file, config, numbers, rules);
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
        if (rules.has("rope_positions") && !PositionsReader.linear(said)) {
            return Optional.of("positions are multiplied by " + rules.path("rope_positions") + ", as mlx_lm's " + file.modelType() + " does where rope_scaling is not linear");
        }
        return said.isObject() && !positions.scaling().isObject()
                ? Optional.of("rope_scaling has no effect: mlx_lm's " + file.modelType() + " does not read " + (rules.path("rope_scaling").isArray() ? "this type of it" : "it")) : Optional.empty();
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
        positions.requireLayerTypes(layers);
        List<NetworkShape.Heads> all = IntStream.range(0, layers).mapToObj(l -> heads(l, layers, heads, headDim, latent)).toList();
        List<NetworkShape.Parts> parts = mixer.parts(layers);
        return new NetworkShape(ModuleNames.of(rules.path("prefix").asText(""), rules.path("names")), hidden, layers, vocabulary(), all, positions.read(all, latent.map(NetworkShape.Latent::turned).orElse(headDim)), norms(), dense(layers),
                factors(headDim), new MixtureReader(file, numbers, rules.path("mixture"), rules.path("names").path("feed_forward").asText("mlp")).read(layers, letters), latent, rules.path("gated_queries").asBoolean(), parts, mixer.mixers(parts), layerInputs(), streams());
    }

    /// Whether any layer does; sizes of attention that none has mean nothing.
    private boolean attends() {
        return !rules.path("mixer").path("attends").asText().equals("never");
    }

    /// Those of a layer: in some families, layers without a window have others.
    private NetworkShape.Heads heads(int layer, int layers, int count, int usualDim, Optional<NetworkShape.Latent> latent) {
        JsonNode global = rules.has("global") && !positions.slides(layer) ? rules.path("global") : MissingNode.getInstance();
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
        return IntStream.iterate(own - 1, l -> l >= 0, l -> l - 1).filter(l -> positions.slides(l) == positions.slides(layer)).findFirst().orElseThrow(() -> refused("has a " + key + " of " + json.path(key)
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
        if (positions.turns() && !rules.has("rope_dims") && share != 1 && !ModelClass.reads(file, "partial_rotary_factor")) {
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
    static boolean holds(JsonNode json, JsonNode rule) {
        return rule.isTextual() ? ModelClass.isOn(json.path(rule.asText())) : rule.asBoolean();
    }

    private boolean holds(JsonNode rule) {
        return holds(json, rule);
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
        JsonNode scaling = positions.scaling();
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
        return Optional.of(new NetworkShape.Growth(rope.path("llama_4_scaling_beta").asDouble(), numbers.in(rope).count(PositionsReader.CONTEXT)));
    }

    private InputException refused(String what) {
        return InputException.in(file.file(), what);
    }
}
