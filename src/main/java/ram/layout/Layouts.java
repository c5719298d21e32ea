package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import ram.InputException;
import ram.format.Format;
import ram.format.QuantizedTensor;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.tensor.Rows;
import ram.tensor.StoredTensor;
import ram.tensor.TensorView;
import ram.tensor.Views;

/// Turns the tensors of a checkpoint into the modules that MLX loads, by the rules of the model's family. Reads headers only.
public final class Layouts {
    private static final Pattern LAYER = Pattern.compile("(?:^|\\.)(?:layers|h|blocks|block|kv_reuse_layers)\\.(\\d+)\\.");

    /// Tables that transformers used to store and no class of mlx_lm has as a parameter.
    private static final Pattern ROTARY_TABLE = Pattern.compile("(^|\\.)(rotary_emb|rotary_pos_emb|rope)\\.(inv_freq|original_inv_freq|cos_cached|sin_cached)$");
    private static final Pattern CLASSIFIER = Pattern.compile("For(Sequence|Token)Classification$");
    private static final List<String> LAYER_COUNTS = List.of("num_hidden_layers", "num_layers", "n_layers", "n_layer");
    private static final int MOST_DIGITS = 9;
    private static final int ROWS_COMPARED = 64;
    private static final Pattern NUMBER = Pattern.compile("\\d+");

    private final Checkpoint checkpoint;
    private final ModelConfig config;
    private final LayoutOptions options;
    private final Map<String, String> dropped = new LinkedHashMap<>();
    private final List<String> assumptions = new ArrayList<>();

    private Layouts(Checkpoint checkpoint, ModelConfig config, LayoutOptions options) {
        this.checkpoint = checkpoint;
        this.config = config;
        this.options = options;
    }

    /// @throws InputException when the checkpoint cannot be what its config.json says, or is of a kind that is not supported
    public static Layout of(Checkpoint checkpoint, ModelConfig config) {
        return of(checkpoint, config, LayoutOptions.DEFAULT);
    }

    /// @throws InputException when the checkpoint cannot be what its config.json says, or is of a kind that is not supported
    public static Layout of(Checkpoint checkpoint, ModelConfig config, LayoutOptions options) {
        try {
            return new Layouts(checkpoint, config, options).build();
        } catch (InputException e) {
            throw e.getMessage().startsWith(checkpoint.folder().toString()) ? e : InputException.in(checkpoint.folder(), e.getMessage());
        }
    }

    private Layout build() {
        Map<String, TensorView> tensors = new LinkedHashMap<>();
        checkpoint.tensors().keySet().forEach(name -> tensors.put(name, StoredTensor.of(checkpoint, name)));
        refuseClassifier(tensors.keySet());
        Optional<Family> known = Family.of(config.modelType());
        Family family = known.orElseGet(() -> PlainModels.familyOf(config, tensors.keySet(), assumptions));
        JsonNode given = family.scope(config.json());
        if (!(given instanceof ObjectNode read)) {
            throw InputException.in(config.file(), "has no text_config, which a " + config.modelType() + " model needs; download it again");
        }
        ObjectNode scope = read.deepCopy();
        sayWhetherTied(family, scope, tensors);
        ObjectNode defaults = family.withDefaults(scope);
        Map<String, TensorView> dense = new Sources(config, options, dropped, assumptions).decode(tensors);
        headToEmbedding(family, dense, family.tied(scope));
        sayIfHeadDiffers(family, dense, scope);
        Map<String, TensorView> mlx = new Transforms(dense, scope, defaults, dropped).apply(family);
        missingLayer(mlx.keySet(), scope).ifPresent(l -> {
            throw InputException.in(checkpoint.folder(), "has no tensor of layer " + l + ", although config.json counts more layers than that; the checkpoint is incomplete, download it again");
        });
        dropUnused(family, mlx, scope);
        embeddingToHead(family, mlx, scope);
        requireHead(family, mlx, scope);
        if (known.isPresent()) {
            sayWhatIsUnlisted(family, mlx, scope);
        }
        boolean tied = family.head().map(h -> !mlx.containsKey(h + ".weight")).orElse(true);
        return assemble(family, known.isPresent(), tied, mlx, scope);
    }

    /// Its layers are those of a language model, so that it would load where the head shares the embedding, and say nothing of use.
    private void refuseClassifier(Collection<String> names) {
        config.json().path("architectures").valueStream().map(JsonNode::asText).filter(a -> CLASSIFIER.matcher(a).find()).findFirst().ifPresent(a -> {
            if (names.stream().noneMatch(n -> n.endsWith("lm_head.weight"))) {
                throw InputException.in(config.file(), "says the model is a classifier (" + a + "), which mlx_lm does not run; give a model that generates text");
            }
        });
    }

    /// A key that the class looks for in `text_config` may stand at the top alone. Where it is missing altogether, transformers' default may be another than mlx_lm's.
    private void sayWhetherTied(Family family, ObjectNode scope, Map<String, TensorView> tensors) {
        JsonNode head = family.rules().path("head");
        String key = head.path("tie_key").asText();
        if (key.isEmpty() || scope.has(key)) {
            return;
        }
        if (config.json().has(key)) {
            scope.set(key, config.json().get(key));
        } else if (head.has("tie_unsaid") && tensors.containsKey(family.head().orElse("") + ".weight")) {
            scope.set(key, head.get("tie_unsaid"));
        }
    }

    /// Classes that always have a head of their own do not load without one, whatever config.json says.
    private void embeddingToHead(Family family, Map<String, TensorView> tensors, JsonNode scope) {
        if (!family.rules().path("head").path("present").asText().equals("always") || family.head().isEmpty() || isStored(tensors, family.head().get())) {
            return;
        }
        List<String> embeddings = tensors.keySet().stream().filter(n -> n.endsWith(".weight") && family.embeddings().contains(path(n)) && !isPacked(tensors, path(n))).toList();
        boolean shared = Family.truthy(scope.path("tie_word_embeddings").isMissingNode() ? config.json().get("tie_word_embeddings") : scope.get("tie_word_embeddings"), null);
        if (shared && embeddings.size() == 1) {
            tensors.put(family.head().get() + ".weight", tensors.get(embeddings.getFirst()));
            assumptions.add("the head shares the embedding, and mlx_lm's class needs one of its own: " + embeddings.getFirst() + " is written as " + family.head().get() + ".weight too");
        }
    }

    /// @throws InputException when config.json says at both places, or the only one, that the head is one of its own, and there is none
    private void requireHead(Family family, Map<String, TensorView> tensors, JsonNode scope) {
        String key = family.rules().path("head").path("tie_key").asText();
        boolean own = scope.path(key).isBoolean() && !scope.path(key).asBoolean() && !config.json().path(key).asBoolean(false);
        if (own && !family.tied(scope) && !isStored(tensors, family.head().orElseThrow())) {
            throw InputException.in(checkpoint.folder(), "has no tensor " + family.head().get() + ".weight, but config.json says " + key + " = false; the checkpoint is incomplete, download it again");
        }
    }

    /// @throws InputException when not one tensor is a parameter of the class
    private void sayWhatIsUnlisted(Family family, Map<String, TensorView> tensors, JsonNode scope) {
        List<String> unlisted = ExpectedTensors.unlisted(family, scope, tensors.keySet());
        if (!unlisted.isEmpty() && unlisted.size() == tensors.size()) {
            throw InputException.in(checkpoint.folder(), "has no tensor that mlx_lm's " + family.name() + " would load, but others, such as " + unlisted.getFirst()
                    + "; config.json's model_type '" + config.modelType() + "' is not theirs, or the model is also published in the format of that class");
        }
        String others = unlisted.size() == 1 ? "" : " and " + (unlisted.size() - 1) + " more";
        if (!unlisted.isEmpty() && ExpectedTensors.isPlain(family)) {
            unlisted.forEach(n -> tensors.remove(n).sources().forEach(s -> dropped.putIfAbsent(s, "no parameter of mlx_lm's " + family.name())));
            assumptions.add(unlisted.getFirst() + others + " left out: mlx_lm's " + family.name() + " has no such parameter");
        } else if (!unlisted.isEmpty()) {
            assumptions.add(unlisted.getFirst() + others + (unlisted.size() == 1 ? " is" : " are") + " not among the known parameters of mlx_lm's " + family.name()
                    + "; it refuses the folder if it does not know " + (unlisted.size() == 1 ? "it" : "them"));
        }
    }

    private static boolean isStored(Map<String, TensorView> tensors, String path) {
        return tensors.keySet().stream().anyMatch(n -> n.startsWith(path + "."));
    }

    /// mlx_lm refuses tensors that are no parameters, and only some of its classes leave these out themselves.
    private void dropUnused(Family family, Map<String, TensorView> tensors, JsonNode scope) {
        JsonNode layers = scope.path("num_hidden_layers");
        if (layers.isIntegralNumber() && ExpectedTensors.isPlain(family)) {
            tensors.keySet().stream().filter(n -> layer(n) >= Math.max(0, layers.asLong())).findFirst().ifPresent(n -> {
                throw InputException.in(config.file(), "counts " + layers + " layers, but the model has the tensor " + n + "; the two do not belong together, download both again");
            });
        }
        boolean tied = family.head().isPresent() && family.rules().path("head").path("present").asText().equals("unless_tied") && family.tied(scope)
                && family.steps().findValuesAsText("do").stream().noneMatch("copy"::equals);
        tensors.entrySet().removeIf(e -> {
            String why = null;
            if (ROTARY_TABLE.matcher(e.getKey()).find()) {
                why = "rotary table, computed anew when the model is loaded";
            } else if (layers.isIntegralNumber() && layer(e.getKey()) >= layers.asLong()) {
                why = "layer beyond the " + layers + " that config.json counts (multi-token prediction), which mlx_lm does not run";
            } else if (tied && e.getKey().startsWith(family.head().get() + ".")) {
                why = "the head shares the embedding";
            }
            if (why == null) {
                return false;
            }
            for (String source : e.getValue().sources()) {
                dropped.putIfAbsent(source, why);
            }
            return true;
        });
        JsonNode head = family.rules().path("head");
        boolean silent = head.path("tie_default").asBoolean(false) && !scope.has(head.path("tie_key").asText());
        if (silent && family.tied(scope) && dropped.keySet().stream().anyMatch(n -> n.endsWith("lm_head.weight"))) {
            assumptions.add("config.json does not say whether the head shares the embedding: as in mlx_lm it is assumed to, and the stored lm_head.weight is left out; "
                    + "if the two differ, set " + head.path("tie_key").asText() + " to false");
        }
    }

    /// A head of its own that training changed is lost where config.json has it shared.
    private void sayIfHeadDiffers(Family family, Map<String, TensorView> tensors, JsonNode scope) {
        JsonNode rules = family.rules().path("head");
        Optional<TensorView> head = only(tensors, "lm_head.weight");
        Optional<TensorView> embedding = only(tensors, "embed_tokens.weight");
        if (!rules.path("present").asText().equals("unless_tied") || !family.tied(scope) || head.isEmpty() || embedding.isEmpty()) {
            return;
        }
        if (!head.get().shape().equals(embedding.get().shape()) || !sameRows(Rows.of(head.get()), Rows.of(embedding.get()))) {
            assumptions.add("the stored lm_head.weight differs from the embedding, and is left out, as config.json has the head share the embedding: mlx_lm does the same; "
                    + "to keep it, set " + rules.path("tie_key").asText() + " to false");
        }
    }

    /// The matrix whose name has this end, where there is one and it is stored as numbers.
    private static Optional<TensorView> only(Map<String, TensorView> tensors, String end) {
        List<TensorView> found = tensors.entrySet().stream().filter(e -> e.getKey().endsWith(end)).map(Map.Entry::getValue).toList();
        return found.size() == 1 && isFloat(found.getFirst()) && found.getFirst().shape().rank() == 2 ? Optional.of(found.getFirst()) : Optional.empty();
    }

    /// Whether a few rows, evenly spread, are equal.
    private static boolean sameRows(Rows a, Rows b) {
        float[] x = new float[a.columns()];
        float[] y = new float[a.columns()];
        long step = Math.max(1, a.rows() / ROWS_COMPARED);
        for (long row = 0; row < a.rows(); row += step) {
            a.read(row, 1, x);
            b.read(row, 1, y);
            if (!Arrays.equals(x, y)) {
                return false;
            }
        }
        return true;
    }

    /// A tied model may be stored with its head alone.
    private void headToEmbedding(Family family, Map<String, TensorView> tensors, boolean tied) {
        if (!tied || family.head().isEmpty() && !family.rules().path("head").path("present").asText().equals("never")) {
            return;
        }
        for (String head : List.of("lm_head.weight", "language_model.lm_head.weight")) {
            String prefix = head.substring(0, head.length() - "lm_head.weight".length());
            String embedding = prefix + "model.embed_tokens.weight";
            boolean stored = tensors.keySet().stream().anyMatch(n -> n.endsWith("embed_tokens.weight") || n.endsWith("embeddings.weight") || n.endsWith("wte.weight"));
            if (tensors.containsKey(head) && !stored) {
                tensors.put(embedding, tensors.remove(head));
                assumptions.add("only " + head + " is stored, and the head shares the embedding: it is taken for " + embedding);
            }
        }
    }

    /// Decodes what the rules would pass through, when it is to be quantized anew.
    private void decodePacked(Classifier classifier, Map<String, TensorView> tensors) {
        List<String> packed = tensors.keySet().stream().filter(n -> n.endsWith(".weight")).map(Layouts::path).filter(p -> isPacked(tensors, p)).toList();
        for (String path : packed) {
            Layout.Prequantized p = prequantized(classifier, path, tensors);
            QuantizedTensor stored = QuantizedTensor.of(p.format(), p.weight(), p.scales(), p.biases().orElse(null));
            tensors.put(path + ".weight", new DecodedView(stored, p.biases().isPresent() ? p.scales().dtype() : DType.BF16));
            tensors.remove(path + ".scales");
            tensors.remove(path + ".biases");
        }
        if (!packed.isEmpty()) {
            assumptions.add("the source stores " + packed.size() + " modules quantized; they are " + Architecture.REQUANTIZED);
        }
    }

    private Layout assemble(Family family, boolean known, boolean tied, Map<String, TensorView> tensors, JsonNode scope) {
        Classifier classifier = new Classifier(family);
        if (options.requantize()) {
            decodePacked(classifier, tensors);
        }
        List<Module> modules = new ArrayList<>();
        List<Layout.Plain> plain = new ArrayList<>();
        List<Layout.Prequantized> prequantized = new ArrayList<>();
        record Key(String name, int rank, String natural) {
        }
        List<String> names = tensors.keySet().stream().map(n -> new Key(n, rank(n), naturally(n)))
                .sorted(Comparator.comparingInt(Key::rank).thenComparing(Key::natural)).map(Key::name).toList();
        Set<String> packed = new LinkedHashSet<>();
        for (String name : names) {
            if (name.endsWith(".weight") && isPacked(tensors, path(name))) {
                Layout.Prequantized p = prequantized(classifier, path(name), tensors);
                packed.addAll(p.tensors().keySet());
                prequantized.add(p);
            }
        }
        for (String name : names) {
            if (packed.contains(name)) {
                continue;
            }
            TensorView view = tensors.get(name);
            String path = path(name);
            int layer = layer(name);
            if (name.endsWith(".weight") && view.shape().rank() >= 2 && classifier.isModule(path) && isFloat(view)) {
                if (view.shape().elements() == 0) {
                    throw new InputException("tensor '" + name + "' is empty; the checkpoint is incomplete, download it again");
                }
                if (tensors.containsKey(path + ".scales") || tensors.containsKey(path + ".biases")) {
                    throw new InputException("tensor '" + name + "' is " + view.dtype() + ", but has scales or biases as if it were quantized; download the checkpoint again");
                }
                modules.add(new Module(path, classifier.kind(path), layer, view, parts(name, view), classifier.preset(path),
                        classifier.mustStayDense(path, view, scope), view.shape().rank() == 3 && classifier.isExpert(path), classifier.isSharedExpert(path)));
            } else {
                plain.add(new Layout.Plain(name, view, classifier.why(name, view), classifier.keepDType(name)));
            }
        }
        Set<String> used = new LinkedHashSet<>();
        tensors.values().forEach(v -> used.addAll(v.sources()));
        List<Layout.Dropped> out = new ArrayList<>();
        dropped.forEach((tensor, why) -> {
            if (!used.contains(tensor)) {
                out.add(new Layout.Dropped(tensor, why));
            }
        });
        if (modules.isEmpty() && plain.isEmpty() && prequantized.isEmpty()) {
            throw InputException.in(checkpoint.folder(), "has no tensor that MLX would load for model_type '" + config.modelType() + "'; check config.json, or download the model again");
        }
        ObjectNode written = OutputKeys.of(config, family, tied, tensors, assumptions);
        Architecture architecture = new Architecture(config.modelType(), family.name(), known, classifier.structure(modules, names), tied, assumptions);
        return new Layout(architecture, modules, plain, prequantized, out, written);
    }

    private static boolean isFloat(TensorView view) {
        return view.dtype().isMlxFloat() || view.dtype() == DType.F64;
    }

    /// Whether a module's weight is stored as codes that MLX reads.
    static boolean isPacked(Map<String, TensorView> tensors, String path) {
        TensorView weight = tensors.get(path + ".weight");
        return weight != null && weight.dtype() == DType.U32 && tensors.containsKey(path + ".scales");
    }

    private static Layout.Prequantized prequantized(Classifier classifier, String path, Map<String, TensorView> tensors) {
        TensorView scales = tensors.get(path + ".scales");
        Optional<TensorView> biases = Optional.ofNullable(tensors.get(path + ".biases"));
        TensorView weight = tensors.get(path + ".weight");
        try {
            if (scales.shape().rank() == 0 || scales.shape().elements() == 0) {
                throw new IllegalArgumentException("its scales are empty");
            }
            Format format = biases.isPresent() ? Format.affine(4, Math.toIntExact(weight.shape().columns() * 8 / scales.shape().columns())) : Format.MXFP4;
            return new Layout.Prequantized(path, classifier.kind(path), layer(path), format, weight, scales, biases);
        } catch (IllegalArgumentException | ArithmeticException e) {
            throw new InputException("module " + path + " is not stored in a form that MLX loads: " + e.getMessage() + "; download the checkpoint again", e);
        }
    }

    /// One part per expert of a stack, named after its source, else one for all.
    private static List<Module.Part> parts(String name, TensorView view) {
        long rows = view.shape().rows();
        List<TensorView> stacked = Views.stacked(view);
        List<String> sources = stacked.isEmpty() ? view.sources() : List.of();
        if (view.shape().rank() != 3 || view.shape().dim(0) == 0) {
            return List.of(new Module.Part(sources.size() == 1 ? sources.getFirst() : name, 0, rows));
        }
        int experts = Math.toIntExact(view.shape().dim(0));
        long each = rows / experts;
        List<Module.Part> parts = new ArrayList<>();
        for (int e = 0; e < experts; e++) {
            String part = stacked.isEmpty() ? sources.getFirst() + "[" + e + "]" : stacked.get(e).sources().getFirst();
            parts.add(new Module.Part(part, e * each, each));
        }
        return parts;
    }

    static String path(String tensor) {
        int dot = tensor.lastIndexOf('.');
        return dot < 0 ? tensor : tensor.substring(0, dot);
    }

    static int layer(String name) {
        Matcher m = LAYER.matcher(name);
        return m.find() ? index(m.group(1), name) : -1;
    }

    /// A number in a tensor's name.
    ///
    /// @throws InputException when no layer or expert can have it
    static int index(String digits, String name) {
        if (digits.length() > MOST_DIGITS) {
            throw new InputException("tensor '" + name + "' has a number in its name that no layer or expert has; the checkpoint is damaged, download it again");
        }
        return Integer.parseInt(digits);
    }

    /// The first layer that config.json counts and of which no tensor is there; empty where layers are not told by number.
    ///
    /// @param scope the part of config.json that speaks of the language model
    public static OptionalInt missingLayer(Collection<String> tensors, JsonNode scope) {
        Set<Integer> found = new HashSet<>();
        tensors.forEach(t -> found.add(layer(t)));
        found.remove(-1);
        // two lists of layers, each numbered from 0
        boolean apart = tensors.stream().anyMatch(t -> t.contains(".kv_reuse_layers."));
        // layers that do nothing have no tensors
        if (apart || found.isEmpty() || scope.has("block_configs")) {
            return OptionalInt.empty();
        }
        // a config.json may have several of them, of which its class reads one
        int layers = LAYER_COUNTS.stream().filter(k -> scope.path(k).isInt()).mapToInt(k -> scope.path(k).asInt()).min().orElse(0);
        return IntStream.range(0, layers).filter(l -> !found.contains(l)).findFirst();
    }

    /// Whether mlx_lm is known to have a class for a model of this type.
    public static boolean isKnown(ModelConfig config) {
        return Family.of(config.modelType()).isPresent();
    }

    /// The part of config.json that the model's class reads; the root for a class that is not known.
    public static JsonNode scope(ModelConfig config) {
        return Family.of(config.modelType()).map(f -> f.scope(config.json())).orElse(config.json());
    }

    /// What config.json says of the language model, with the class's defaults where it says nothing.
    public static JsonNode settings(Layout layout) {
        JsonNode text = layout.config().path("text_config");
        Optional<Family> family = Family.of(layout.architecture().family());
        JsonNode read = family.map(f -> f.scope(layout.config())).orElse(layout.config());
        JsonNode own = text.isObject() && !read.has("num_hidden_layers") ? text : read;
        return family.map(f -> (JsonNode) f.withDefaults(own)).orElse(own);
    }

    /// The configuration of the language model, with the values of its class for keys that it leaves out.
    public static ModelConfig withDefaults(ModelConfig config) {
        return Family.of(config.modelType()).map(f -> new ModelConfig(config.file(), f.withDefaults(f.scope(config.json())))).orElse(config);
    }

    /// Whether a known class reads this key of the configuration of the language model.
    public static boolean reads(ModelConfig config, String key) {
        return Family.of(config.modelType()).filter(f -> f.reads(key)).isPresent();
    }

    /// Whether the lists of a known class name this path as that of a module.
    public static boolean isModule(ModelConfig config, String path) {
        return Family.of(config.modelType()).filter(f -> f.modules().contains(path)).isPresent();
    }

    /// Whether a known class loads this tensor only as it is, never as codes and scales.
    public static boolean isRaw(ModelConfig config, String tensor) {
        return Family.of(config.modelType()).filter(f -> f.raw().contains(tensor)).isPresent();
    }

    /// Whether mlx_lm's class has no output head of its own with this config.json, and so refuses tensors of one. Of a class that is not known nothing is known.
    public static boolean refusesHead(ModelConfig config) {
        return Family.of(config.modelType()).filter(f -> f.refusesHead(f.scope(config.json()))).isPresent();
    }

    /// Embeddings, layers, the rest, the head.
    private static int rank(String name) {
        return layer(name) >= 0 ? 1 : name.contains("embed") || name.endsWith("wte.weight") || name.endsWith("wpe.weight") ? 0 : name.contains("lm_head") ? 3 : 2;
    }

    /// Numbers inside names in their numeric order.
    private static String naturally(String name) {
        return NUMBER.matcher(name).replaceAll(m -> "0".repeat(Math.max(0, MOST_DIGITS - m.group().length())) + m.group());
    }
}
