package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
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
        OutputHead head = OutputHead.of(family, checkpoint.folder(), config, scope, tensors.keySet(), assumptions);
        ObjectNode defaults = family.withDefaults(scope);
        Map<String, TensorView> dense = new Sources(config, options, dropped, assumptions).decode(tensors);
        head.toEmbedding(dense);
        head.sayIfItDiffers(dense);
        Map<String, TensorView> mlx = new Transforms(dense, scope, defaults, dropped).apply(family);
        dropUnused(family, head, mlx, scope);
        missingLayer(mlx.keySet(), scope).ifPresent(l -> {
            throw InputException.in(checkpoint.folder(), "has no tensor of layer " + l + ", although config.json counts more layers than that; the checkpoint is incomplete, download it again");
        });
        head.fromEmbedding(mlx);
        head.require(mlx);
        if (known.isPresent()) {
            sayWhatIsUnlisted(family, mlx, scope);
        }
        return assemble(family, known.isPresent(), !head.isIn(mlx), mlx, scope);
    }

    /// Its layers are those of a language model, so that it would load where the head shares the embedding, and say nothing of use.
    private void refuseClassifier(Collection<String> names) {
        config.json().path("architectures").valueStream().map(JsonNode::asText).filter(a -> CLASSIFIER.matcher(a).find()).findFirst().ifPresent(a -> {
            if (names.stream().noneMatch(n -> n.endsWith("lm_head.weight"))) {
                throw InputException.in(config.file(), "says the model is a classifier (" + a + "), which mlx_lm does not run; give a model that generates text");
            }
        });
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

    /// mlx_lm refuses tensors that are no parameters, and only some of its classes leave these out themselves.
    private void dropUnused(Family family, OutputHead head, Map<String, TensorView> tensors, JsonNode scope) {
        JsonNode layers = scope.path("num_hidden_layers");
        if (layers.isIntegralNumber() && ExpectedTensors.isPlain(family)) {
            tensors.keySet().stream().filter(n -> layer(n) >= Math.max(0, layers.asLong())).findFirst().ifPresent(n -> {
                throw InputException.in(config.file(), "counts " + layers + " layers, but the model has the tensor " + n + "; the two do not belong together, download both again");
            });
        }
        tensors.entrySet().removeIf(e -> {
            String why = null;
            if (ROTARY_TABLE.matcher(e.getKey()).find()) {
                why = "rotary table, computed anew when the model is loaded";
            } else if (layers.isIntegralNumber() && layer(e.getKey()) >= layers.asLong()) {
                why = "layer beyond the " + layers + " that config.json counts (multi-token prediction), which mlx_lm does not run";
            } else if (head.leavesOut(e.getKey())) {
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
        head.sayIfSharingIsAssumed(dropped.keySet());
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
        RopeScaling.problem(family, family.scope(written), family.scope(config.json())).ifPresent(p -> {
            throw InputException.in(config.file(), p);
        });
        Architecture architecture = new Architecture(config.modelType(), family.name(), known, classifier.structure(modules, names), tied, assumptions);
        return new Layout(architecture, modules, plain, prequantized, out, written);
    }

    static boolean isFloat(TensorView view) {
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

    /// Embeddings, layers, the rest, the head.
    private static int rank(String name) {
        return layer(name) >= 0 ? 1 : name.contains("embed") || name.endsWith("wte.weight") || name.endsWith("wpe.weight") ? 0 : name.contains("lm_head") ? 3 : 2;
    }

    /// Numbers inside names in their numeric order.
    private static String naturally(String name) {
        return NUMBER.matcher(name).replaceAll(m -> "0".repeat(Math.max(0, MOST_DIGITS - m.group().length())) + m.group());
    }
}
