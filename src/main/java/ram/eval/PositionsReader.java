package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.IntStream;
import ram.layout.ModelClass;
import ram.layout.ModelConfig;

/// Reads from config.json how the layers of a decoder see positions: through windows, and by rotations.
final class PositionsReader {
    /// The key with the length of the training.
    static final String CONTEXT = "original_max_position_embeddings";
    private static final String SLIDING = "sliding_attention";
    private static final String FULL = "full_attention";

    private final ModelConfig file;
    private final ModelConfig config;
    private final JsonNode json;
    private final Numbers numbers;
    private final JsonNode rules;

    /// @param file config.json as it is
    /// @param config of the language model, with the defaults of its class in mlx_lm; `numbers` those in it
    /// @param rules of the family
    PositionsReader(ModelConfig file, ModelConfig config, Numbers numbers, JsonNode rules) {
        this.file = file;
        this.config = config;
        this.json = numbers.json();
        this.numbers = numbers;
        this.rules = rules;
    }

    /// Those of each layer, whose attention has heads of `headDim` dimensions that turn, unless each type of layer turns in its own way.
    List<NetworkShape.Positions> read(List<NetworkShape.Heads> heads, int headDim) {
        return rules.has("rope_by_type") ? byType(heads) : byWindow(heads.size(), headDim);
    }

    /// The scaling of rotations that the class reads; a missing node where it reads none.
    JsonNode scaling() {
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

    /// Whether any layers of the family turn queries and keys by their positions.
    boolean turns() {
        return rules.path("rope").asBoolean(true);
    }

    private List<NetworkShape.Positions> byWindow(int layers, int headDim) {
        if (!turns()) {
            return Collections.nCopies(layers, new NetworkShape.Positions(0, Optional.empty()));
        }
        String windows = rules.path("windows").asText();
        if (windows.equals("sliding_window_pattern") && numbers.count("sliding_window_pattern") > layers) {
            throw numbers.refused("has no layer without a window, as its sliding_window_pattern is larger than the number of layers; mlx_lm does not run such a model, correct it");
        }
        String letters = windows.equals("letters") ? letters() : "";
        if (!letters.isEmpty() && (letters.indexOf('L') < 0 || letters.indexOf('G') < 0)) {
            throw numbers.refused("has a sliding_window_pattern without L or without G; mlx_lm does not run such a model, correct it");
        }
        JsonNode types = windows.equals("layer_types") ? json.path("layer_types") : MissingNode.getInstance();
        if (types.isArray() && (types.size() != layers || types.valueStream().noneMatch(t -> t.asText().equals(FULL)))) {
            throw numbers.refused("has layer_types that do not name one type for each layer, or none with full attention; mlx_lm does not run such a model, correct them");
        }
        if (!types.isArray() && rules.path("whole_patterns").asBoolean() && layers % rules.path("usual_pattern").asInt() != 0) {
            throw numbers.refused("has " + layers + " layers and no layer_types, and mlx_lm's " + file.modelType() + " would leave out those after the last whole pattern of "
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

    /// That each layer has a type, and one that is known, where a class knows no others.
    void requireLayerTypes(int layers) {
        JsonNode types = json.path("layer_types");
        if (!rules.path("windows").asText().equals("known_layer_types") || types.isNull() && rules.has("usual_pattern")) {
            return;
        }
        if (types.size() < layers) {
            throw numbers.refused("has layer_types for " + types.size() + " layers, but " + layers + " layers; mlx_lm does not run such a model, correct them");
        }
        types.valueStream().limit(layers).map(JsonNode::asText).filter(t -> !t.equals(SLIDING) && !t.equals(FULL)).findFirst().ifPresent(t -> {
            throw numbers.refused("says '" + t + "' in its layer_types, which the evaluation does not know; it knows " + FULL + " and " + SLIDING);
        });
    }

    /// Where the types of layers turn each in their own way.
    private List<NetworkShape.Positions> byType(List<NetworkShape.Heads> heads) {
        Map<String, Rope> ropes = new TreeMap<>();
        return IntStream.range(0, heads.size()).mapToObj(l -> new NetworkShape.Positions(slides(l) ? window() : 0,
                Optional.of(ropes.computeIfAbsent(slides(l) ? SLIDING : FULL, type -> ropeOf(type, heads.get(l).dim()))))).toList();
    }

    private Rope ropeOf(String layerType, int headDim) {
        String key = rules.path("rope_by_type").asText();
        JsonNode rope = json.path(key).path(layerType);
        if (!rope.isObject()) {
            throw numbers.refused("says nothing of layers of the type " + layerType + " in its " + key + ", so that it is not known how they turn; add it");
        }
        boolean reads = rope.path("type").asText(rope.path("rope_type").asText()).equals("proportional");
        if (!reads && rope.path("partial_rotary_factor").asDouble(1) != 1) {
            throw numbers.refused("has a partial_rotary_factor for layers of the type " + layerType + ", which mlx_lm's " + file.modelType()
                    + " reads only where the rope_type is proportional: it turns all of a head; correct it if the model was trained otherwise");
        }
        return rope(headDim, numbers.in(rope).number("rope_theta", 10_000), rope);
    }

    /// How many positions a layer with a window sees; all where config.json does not say it.
    private int window() {
        int window = numbers.whole("sliding_window", Integer.MAX_VALUE);
        if (window < 1) {
            throw numbers.refused("has a sliding_window of " + window + ", in which no token sees itself; download it again");
        }
        return window;
    }

    private Rope rope(int headDim, double base, JsonNode scaling) {
        boolean adjacent = rules.path("rope_adjacent").asBoolean() || ModelClass.reads(file, "rope_traditional") && ModelClass.isOn(json.path("rope_traditional"));
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

    static boolean linear(JsonNode scaling) {
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
    boolean slides(int layer) {
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
            throw numbers.refused("has " + rules.path("rope_layers").asText() + " for " + listed.size() + " layers, but " + layers + " layers; download it again");
        }
        return listed.path(layer).asInt() != 0;
    }
}
