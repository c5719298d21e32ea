package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
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
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import ram.InputException;
import ram.layout.ModelClass;
import ram.layout.ModelConfig;
import ram.numeric.Decoder;
import ram.safetensors.DType;

/// Reads a [NetworkShape] from config.json, by the rules of the family.
final class NetworkReader {
    private static final int LARGEST = 1 << 24;
    private static final int MOST_LAYERS = 10_000;
    private static final String CONTEXT = "original_max_position_embeddings";
    private static final Set<String> SILU = Set.of("silu", "swish");
    private static final Set<String> GELU = Set.of("gelu", "gelu_pytorch_tanh", "gelu_new", "gelu_tanh");

    /// The rules of each family, by model_type. A family `like` another has all rules of that but those that it says itself.
    private static final Map<String, JsonNode> RULES = rules();

    private final ModelConfig file;
    private final JsonNode rules;
    /// The configuration of the language model, with the defaults of its class in mlx_lm.
    private final ModelConfig config;
    private final JsonNode json;

    NetworkReader(ModelConfig file) {
        this.file = file;
        rules = RULES.get(file.modelType());
        if (rules == null) {
            throw refused("is of model_type '" + file.modelType() + "', which the evaluation cannot run; it runs " + String.join(", ", RULES.keySet()));
        }
        config = ModelClass.withDefaults(file);
        json = config.json();
    }

    private static Map<String, JsonNode> rules() {
        try (InputStream in = NetworkReader.class.getResourceAsStream("networks.json")) {
            Map<String, JsonNode> out = new TreeMap<>();
            for (JsonNode own : new ObjectMapper().readTree(in)) {
                ObjectNode family = own.deepCopy();
                if (own.has("like")) {
                    family = out.get(own.path("like").asText()).deepCopy();
                    family.setAll((ObjectNode) own);
                }
                for (JsonNode type : own.path("types")) {
                    out.put(type.asText(), family);
                }
            }
            return out;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// @throws InputException for a family that cannot be run
    static void requireFamily(ModelConfig config) {
        new NetworkReader(config).requireKnown();
    }

    /// What config.json asks for that mlx_lm's class does not do.
    static List<String> notes(ModelConfig config) {
        NetworkReader reader = new NetworkReader(config);
        JsonNode scaling = reader.json.path("rope_scaling");
        return scaling.isObject() && !reader.scaling().isObject()
                ? List.of("rope_scaling has no effect: mlx_lm's " + config.modelType() + " does not read " + (reader.rules.path("rope_scaling").isArray() ? "this type of it" : "it")) : List.of();
    }

    /// The scaling of rotations that the class reads; a missing node where it reads none.
    private JsonNode scaling() {
        JsonNode scaling = json.path("rope_scaling");
        JsonNode known = rules.path("rope_scaling");
        if (!known.isArray()) {
            return known.asBoolean(true) ? scaling : MissingNode.getInstance();
        }
        boolean read = known.valueStream().anyMatch(t -> t.asText().equals(scaling.path("type").asText()));
        // such a class reads the length of its training beside it
        return read ? ((ObjectNode) scaling).deepCopy().set(CONTEXT, json.path(CONTEXT)) : MissingNode.getInstance();
    }

    NetworkShape read() {
        requireKnown();
        int hidden = number("hidden_size");
        int layers = number("num_hidden_layers");
        int heads = number("num_attention_heads");
        int kvHeads = json.path("num_key_value_heads").asInt(heads);
        int given = ModelClass.reads(file, "head_dim") ? json.path("head_dim").asInt() : 0;
        int headDim = given == 0 ? hidden / heads : given;
        if (kvHeads < 1 || heads % kvHeads != 0 || headDim < 2 || headDim % 2 != 0) {
            throw refused("has " + heads + " heads, " + kvHeads + " key-value heads and a head_dim of " + headDim + ", which do not go together");
        }
        Activation activation = Activation.valueOf(rules.path("activation").asText("silu").toUpperCase(Locale.ROOT));
        return new NetworkShape(rules.path("prefix").asText(""), hidden, layers, vocabulary(), heads, kvHeads, headDim, positions(layers, headDim), norms(),
                activation, factors(hidden, headDim), mixture(layers));
    }

    private void requireKnown() {
        String text = json.path("model_type").asText();
        if (rules.has("text_types") && file.json().has("text_config") && !text.isEmpty() && rules.path("text_types").valueStream().noneMatch(t -> t.asText().equals(text))) {
            throw refused("has a language model of model_type '" + text + "', which the evaluation cannot run");
        }
        String activation = json.path("hidden_act").asText("");
        Set<String> usual = rules.has("activation") ? GELU : SILU;
        if (!activation.isEmpty() && !usual.contains(activation)) {
            throw refused("asks for the activation '" + activation + "'; the evaluation knows " + (rules.has("activation") ? "gelu" : "silu") + " only in models of this type");
        }
        if (json.path("partial_rotary_factor").asDouble(1) != 1 && !ModelClass.reads(file, "partial_rotary_factor")) {
            throw refused("has a partial_rotary_factor, which mlx_lm's " + file.modelType() + " does not read: it turns all of a head; remove it if the model was trained so");
        }
        if (json.path("clip_qkv").isNumber()) {
            throw refused("asks for clip_qkv, which the evaluation does not know");
        }
    }

    /// A model of more than text may say it outside the part about text.
    private int vocabulary() {
        return rules.path("vocabulary").asText().equals("root") && file.json().has("vocab_size") ? number(file.json(), "vocab_size") : number("vocab_size");
    }

    private int number(String key) {
        return number(json, key);
    }

    private int number(JsonNode from, String key) {
        JsonNode node = from.path(key);
        int value = node.canConvertToInt() ? node.intValue() : 0;
        if (value < 1 || value > LARGEST || key.equals("num_hidden_layers") && value > MOST_LAYERS) {
            throw refused("has no usable " + key + "; download it again");
        }
        return value;
    }

    private float positive(String key) {
        double value = json.path(key).asDouble();
        if (!(value > 0 && value <= Float.MAX_VALUE)) {
            throw refused("has no usable " + key + "; download it again");
        }
        return (float) value;
    }

    private List<NetworkShape.Positions> positions(int layers, int headDim) {
        if (rules.path("windows").asText().equals("sliding_window_pattern") && number("sliding_window_pattern") > layers) {
            throw refused("has no layer without a window, as its sliding_window_pattern is larger than the number of layers; mlx_lm does not run such a model, correct it");
        }
        JsonNode types = rules.path("windows").asText().equals("layer_types") ? json.path("layer_types") : MissingNode.getInstance();
        if (types.isArray() && (types.size() != layers || types.valueStream().noneMatch(t -> t.asText().equals("full_attention")))) {
            throw refused("has layer_types that do not name one type for each layer, or none with full attention; mlx_lm does not run such a model, correct them");
        }
        Optional<Rope> global = Optional.of(Rope.of(config, headDim, json.path("rope_theta").asDouble(10_000), scaling(), adjacent()));
        Optional<Rope> local = !rules.has("window_rope_theta") ? global
                : Optional.of(Rope.of(config, headDim, json.path(rules.path("window_rope_theta").asText()).asDouble(), MissingNode.getInstance(), adjacent()));
        List<NetworkShape.Positions> out = new ArrayList<>();
        for (int l = 0; l < layers; l++) {
            int window = slides(l) ? json.path("sliding_window").asInt(0) : 0;
            out.add(new NetworkShape.Positions(window, !turns(l, layers) ? Optional.empty() : slides(l) ? local : global));
        }
        return out;
    }

    private boolean adjacent() {
        return ModelClass.reads(file, "rope_traditional") && json.path("rope_traditional").asBoolean();
    }

    /// As in mlx_lm, only layers that `layer_types` calls sliding have a window, in families whose class reads that: a `sliding_window` without `layer_types`
    /// has no effect there. In others all but every so-manieth have.
    private boolean slides(int layer) {
        return switch (rules.path("windows").asText()) {
            case "layer_types" -> json.path("layer_types").path(layer).asText("").equals("sliding_attention");
            case "sliding_window_pattern" -> (layer + 1) % number("sliding_window_pattern") != 0;
            default -> false;
        };
    }

    /// Whether a layer turns queries and keys by their positions.
    private boolean turns(int layer, int layers) {
        if (!rules.has("rope_layers")) {
            return true;
        }
        JsonNode listed = json.path(rules.path("rope_layers").asText());
        if (!listed.isArray()) {
            return (layer + 1) % number(rules.path("rope_interval").asText()) != 0;
        }
        if (listed.size() != layers) {
            throw refused("has " + rules.path("rope_layers").asText() + " for " + listed.size() + " layers, but " + layers + " layers; download it again");
        }
        return listed.path(layer).asInt() != 0;
    }

    private NetworkShape.Norms norms() {
        NetworkShape.QkNorm heads = NetworkShape.QkNorm.valueOf(rules.path("qk_norm").asText("none").toUpperCase(Locale.ROOT));
        return new NetworkShape.Norms((float) json.path("rms_norm_eps").asDouble(1e-6), (float) rules.path("norm_offset").asDouble(), heads,
                norm("attention", "input_layernorm"), norm("attention_output", null), norm("feed_forward", "post_attention_layernorm"), norm("feed_forward_output", null));
    }

    private Optional<String> norm(String place, String usual) {
        JsonNode named = rules.path("norms").path(place);
        return Optional.ofNullable(named.isMissingNode() ? usual : named.textValue());
    }

    private NetworkShape.Factors factors(int hidden, int headDim) {
        float embedding = switch (rules.path("embedding_factor").asText("")) {
            case "" -> 1;
            case "sqrt(hidden_size)" -> (float) Math.sqrt(hidden);
            case "bfloat16(sqrt(hidden_size))" -> Decoder.round(DType.BF16, (float) Math.sqrt(hidden));
            case String key -> positive(key);
        };
        float score = rules.has("score_scalar") ? (float) (1 / Math.sqrt(positive(rules.path("score_scalar").asText())))
                : rules.has("score_factor") ? positive(rules.path("score_factor").asText()) : (float) (1 / Math.sqrt(headDim));
        return new NetworkShape.Factors(embedding, score, optional("score_cap", 0), optional("branch_factor", 1), 1 / optional("logit_divisor", 1), optional("logit_cap", 0));
    }

    private float optional(String rule, float otherwise) {
        return rules.has(rule) ? positive(rules.path(rule).asText()) : otherwise;
    }

    private NetworkShape.Mixture mixture(int layers) {
        JsonNode mixture = rules.path("mixture");
        if (mixture.isMissingNode()) {
            return new NetworkShape.Mixture("mlp", Collections.nCopies(layers, 0), 0, false, false);
        }
        int experts = number(mixture.path("experts").asText());
        int perToken = number("num_experts_per_tok");
        if (perToken > experts) {
            throw refused("sends each token to " + perToken + " of " + experts + " experts; download it again");
        }
        Set<Integer> dense = json.path("mlp_only_layers").valueStream().map(JsonNode::asInt).collect(Collectors.toSet());
        int step = Math.max(1, json.path("decoder_sparse_step").asInt(1));
        boolean everyLayer = mixture.path("every_layer").asBoolean(true);
        List<Integer> byLayer = IntStream.range(0, layers).mapToObj(l -> everyLayer || !dense.contains(l) && (l + 1) % step == 0 ? experts : 0).toList();
        JsonNode normalized = mixture.path("normalized");
        return new NetworkShape.Mixture(mixture.path("block").asText("mlp"), byLayer, perToken,
                normalized.isBoolean() ? normalized.booleanValue() : json.path(normalized.asText()).asBoolean(false), mixture.path("shared_expert").asBoolean());
    }

    private InputException refused(String what) {
        return InputException.in(file.file(), what);
    }
}
