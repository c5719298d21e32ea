package ram.verify;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.LongConsumer;
import java.util.stream.Stream;
import ram.InputException;
import ram.convert.Converter;
import ram.convert.SystemFiles;
import ram.document.JsonDocument;
import ram.format.Format;
import ram.layout.Model;
import ram.layout.ModelClass;
import ram.layout.ModelConfig;
import ram.numeric.Decoder;
import ram.numeric.Workers;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.MappedPages;
import ram.safetensors.TensorInfo;

/// Proves an MLX folder, whoever made it: that stock mlx_lm loads it and reads in it what was meant, and, where the source is at hand,
/// that every tensor is there and every number is what it should be.
public final class Verifier {
    /// Keys that a converter may write otherwise than it found them.
    private static final Set<String> CONVERTED_KEYS = Set.of("quantization", "quantization_config", "_name_or_path", "torch_dtype", "dtype", "transformers_version", "tie_word_embeddings",
            "eos_token_id", "pad_token_id", "bos_token_id", "use_cache");
    private static final int LONGEST_VALUE = 60;

    /// What was found.
    ///
    /// @param problems one sentence each, in a fixed order; empty for a sound folder
    /// @param quantized number of quantized modules
    /// @param tensors number of tensors in the folder
    /// @param errors relative squared error of each quantized module against the source, recomputed from the written bytes; empty without a source
    public record Report(List<String> problems, int quantized, int tensors, SortedMap<String, Double> errors) {
        public Report {
            problems = List.copyOf(problems);
            errors = Collections.unmodifiableSortedMap(new TreeMap<>(errors));
        }

        /// With more problems, before the others.
        public Report with(List<String> more) {
            List<String> all = new ArrayList<>(more);
            all.addAll(problems);
            return new Report(all, quantized, tensors, errors);
        }

        /// Whether nothing is wrong.
        public boolean sound() {
            return problems.isEmpty();
        }

        /// The `ram.verification/1` document.
        ///
        /// @param compared whether it was compared with its source
        public byte[] json(boolean compared) {
            ObjectNode root = JsonDocument.object().put("schema", SCHEMA).put("sound", sound()).put("compared_with_source", compared).put("tensors", tensors).put("quantized_modules", quantized);
            root.set("problems", JsonDocument.texts(problems));
            root.set("relative_errors", JsonDocument.numberMap(errors));
            return JsonDocument.bytes(root);
        }
    }

    /// The `schema` of a report.
    public static final String SCHEMA = "ram.verification/1";

    private final Path folder;
    private final Set<String> nonFinite;
    private final Workers workers;
    private final LongConsumer progress;
    private final List<String> problems = new ArrayList<>();
    private Optional<DType> mainType = Optional.empty();

    private Verifier(Path folder, Set<String> nonFinite, Workers workers, LongConsumer progress) {
        this.folder = folder;
        this.nonFinite = nonFinite;
        this.workers = workers;
        this.progress = progress;
    }

    /// @param source the checkpoint that the folder was made from
    /// @param expected relative squared error of each module as the manifest records it; empty when there is no manifest
    /// @param progress is told the bytes that were checked, from several threads
    public static Report verify(Path folder, Optional<Model> source, Map<String, Double> expected, int threads, LongConsumer progress) {
        return verify(folder, source, expected, Set.of(), threads, progress);
    }

    /// The same for a folder of which the manifest says that some tensors hold what is infinite or not a number.
    ///
    /// @param nonFinite their names
    public static Report verify(Path folder, Optional<Model> source, Map<String, Double> expected, Set<String> nonFinite, int threads, LongConsumer progress) {
        try (Workers workers = new Workers(threads)) {
            return new Verifier(folder, nonFinite, workers, progress).run(source, expected);
        }
    }

    /// Bytes that a verification reports to its progress.
    public static long work(Path folder, Optional<Model> source) {
        long sum = 0;
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            for (TensorInfo t : checkpoint.tensors().values()) {
                sum += t.dtype().isMlxFloat() ? t.bytes() : 0;
            }
        } catch (InputException e) {
            return 0;
        }
        return sum + source.map(m -> Converter.work(m.layout())).orElse(0L);
    }

    private Report run(Optional<Model> source, Map<String, Double> expected) {
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            ModelConfig config = ModelConfig.read(folder);
            checkFiles(checkpoint);
            // what follows is judged by config.json
            source.ifPresent(s -> {
                compareConfigs(config.json(), s.config().json(), s.layout().config(), "");
                compareDefaults(config, s);
            });
            SortedMap<String, Format> formats = LoadCheck.of(checkpoint, config, problems::add);
            mainType = mainType(checkpoint);
            checkTypes(checkpoint, formats);
            checkFinite(checkpoint);
            SortedMap<String, Double> errors = source.isEmpty() ? Collections.emptySortedMap()
                    : new SourceComparison(checkpoint, source.get(), mainType, workers, progress, problems::add).run(formats, expected);
            return new Report(problems, formats.size(), checkpoint.tensors().size(), errors);
        } catch (InputException e) {
            problems.add(e.getMessage());
            return new Report(problems, 0, 0, Collections.emptySortedMap());
        }
    }

    /// mlx_lm loads every `model*.safetensors` and ignores the index, so a file that the index does not name is merged in all the same.
    private void checkFiles(Checkpoint checkpoint) {
        Set<String> known = new HashSet<>();
        checkpoint.shards().forEach(s -> known.add(s.file().getFileName().toString()));
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, "*.safetensors")) {
            List<String> names = new ArrayList<>();
            files.forEach(f -> names.add(f.getFileName().toString()));
            Collections.sort(names);
            names.removeIf(SystemFiles::contain);
            for (String name : names) {
                if (!name.startsWith("model")) {
                    problems.add(name + " is not named model*.safetensors; mlx_lm would not find it");
                } else if (!known.contains(name)) {
                    problems.add(name + " does not belong to the index; mlx_lm would load it all the same, remove it");
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": cannot be listed", e);
        }
        for (var shard : checkpoint.shards()) {
            if (!"mlx".equals(shard.header().metadata().get("format"))) {
                problems.add(shard.file().getFileName() + " lacks the metadata format: mlx");
            }
        }
    }

    /// What the source's config.json says and the folder's says otherwise; types, ids and the head are the converter's to change.
    private void compareConfigs(ObjectNode stored, ObjectNode source, JsonNode completed, String at) {
        for (Map.Entry<String, JsonNode> entry : source.properties()) {
            JsonNode here = stored.get(entry.getKey());
            if (here == null || CONVERTED_KEYS.contains(entry.getKey())) {
                continue;
            }
            if (here instanceof ObjectNode inner && entry.getValue() instanceof ObjectNode innerSource) {
                compareConfigs(inner, innerSource, completed.path(entry.getKey()), at + entry.getKey() + ".");
            } else if (!same(here, entry.getValue()) && !same(here, completed.path(entry.getKey()))) {
                problems.add("config.json has " + at + entry.getKey() + " = " + shortly(here) + ", but the source's has " + shortly(entry.getValue()));
            }
        }
    }

    /// Settings that stand in one of the two alone, where what the class takes in their place is something else. A converter may complete what the class has no default for.
    private void compareDefaults(ModelConfig config, Model source) {
        JsonNode stored = ModelClass.scope(config);
        JsonNode given = ModelClass.scope(source.config());
        JsonNode completed = ModelClass.scope(new ModelConfig(config.file(), source.layout().config()));
        JsonNode here = ModelClass.withDefaults(config).json();
        JsonNode there = ModelClass.withDefaults(source.config()).json();
        Stream.of(stored, given).flatMap(JsonNode::propertyStream).map(Map.Entry::getKey).distinct()
                .filter(k -> ModelClass.reads(config, k) && !CONVERTED_KEYS.contains(k) && stored.has(k) != given.has(k) && !same(here.path(k), there.path(k)) && !same(stored.path(k), completed.path(k)))
                .forEach(k -> problems.add(stored.has(k) ? "config.json has " + k + " = " + shortly(stored.get(k)) + ", but the source's has none"
                        : "config.json has no " + k + ", but the source's has " + shortly(given.get(k))));
    }

    private static boolean same(JsonNode a, JsonNode b) {
        return a.equals(b) || a.isNumber() && b.isNumber() && a.asDouble() == b.asDouble() || (a.isNull() || a.isMissingNode()) && (b.isNull() || b.isMissingNode());
    }

    private static String shortly(JsonNode value) {
        String text = value.toString();
        return text.length() <= LONGEST_VALUE ? text : text.substring(0, LONGEST_VALUE) + "…";
    }

    /// Mixed float types load silently and promote the activations.
    private void checkTypes(Checkpoint checkpoint, SortedMap<String, Format> formats) {
        for (String path : formats.keySet()) {
            TensorInfo scales = checkpoint.tensor(path + ".scales").orElseThrow();
            if (formats.get(path).mode() == Format.Mode.AFFINE && scales.dtype() != mainType.orElseThrow()) {
                problems.add("tensor '" + path + ".scales' is " + scales.dtype() + " in a model of " + mainType.get() + "; mlx_lm would load it and silently compute in float32");
            }
        }
        for (TensorInfo tensor : checkpoint.tensors().values()) {
            if (tensor.dtype() == DType.F64) {
                problems.add("tensor '" + tensor.name() + "' is F64, which MLX refuses");
            } else if (tensor.dtype().name().startsWith("F8_")) {
                problems.add("tensor '" + tensor.name() + "' is " + tensor.dtype() + ", which MLX does not read");
            } else if (!tensor.dtype().isFloating() && tensor.name().matches(".*norm\\.(weight|bias)")) {
                problems.add("tensor '" + tensor.name() + "' is " + tensor.dtype() + ", and a norm is a vector of floats");
            }
        }
    }

    /// The float type that most bytes have.
    private static Optional<DType> mainType(Checkpoint checkpoint) {
        Map<DType, Long> bytes = new TreeMap<>();
        checkpoint.tensors().values().stream().filter(t -> t.dtype().isMlxFloat()).forEach(t -> bytes.merge(t.dtype(), t.bytes(), Long::sum));
        return bytes.entrySet().stream().max(Map.Entry.comparingByValue()).map(Map.Entry::getKey);
    }

    private void checkFinite(Checkpoint checkpoint) {
        List<TensorInfo> floats = checkpoint.tensors().values().stream().filter(t -> t.dtype().isMlxFloat()).toList();
        workers.map(floats, tensor -> {
            Optional<String> problem = nonFinite.contains(tensor.name()) ? Optional.empty() : nonFinite(tensor, checkpoint.data(tensor.name()));
            progress.accept(tensor.bytes());
            return problem;
        }).forEach(problem -> problem.ifPresent(problems::add));
    }

    private static Optional<String> nonFinite(TensorInfo tensor, MemorySegment data) {
        long elements = tensor.shape().elements();
        float[] values = new float[(int) Math.min(1 << 16, elements)];
        for (long first = 0; first < elements; first += values.length) {
            int n = (int) Math.min(values.length, elements - first);
            try {
                Decoder.decode(tensor.dtype(), data, first, values, 0, n);
                MappedPages.touched((long) n * tensor.dtype().bytes());
            } catch (InternalError e) {
                throw MappedPages.unreadable(e, data);
            }
            for (int i = 0; i < n; i++) {
                if (!Float.isFinite(values[i])) {
                    return Optional.of("tensor '" + tensor.name() + "' holds " + values[i] + " at index " + (first + i));
                }
            }
        }
        return Optional.empty();
    }
}
