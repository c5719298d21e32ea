package ram.convert;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.format.Format;
import ram.layout.Layout;
import ram.layout.Model;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.plan.MlxVersion;
import ram.profile.Profile;
import ram.safetensors.Checkpoint;
import ram.safetensors.ShardPlan;

/// The files of an MLX folder beside its tensors.
public final class OutputFolder {
    /// Room for config, index, card and manifest when free space is checked: so much for each output, and a share of its tensors, as they name each of them.
    private static final long SMALL_FILES = 1_000_000;
    private static final long SMALL_SHARE = 1000;

    private OutputFolder() {
    }

    /// Writes config.json, the index, and copies of the tokenizer and other files that the model needs, beside the tensors of a variant.
    ///
    /// @param written what was measured of each quantized module, by path
    /// @return the plan with that
    public static Manifest writeSideFiles(Model model, Profile profile, Manifest plan, Converter.Variant variant, Map<String, Converter.Measured> written) {
        SortedMap<String, Format> quantized = new TreeMap<>(variant.formats());
        quantized.values().removeIf(Format::isDense);
        profile.prequantized().forEach(p -> quantized.put(p.path(), p.format()));
        // MLX before 0.29 refuses the key
        boolean modeKey = plan.mlxVersion().map(MlxVersion::knowsMode).orElse(true);
        Path folder = variant.folder();
        SideFiles.copy(model.checkpoint().folder(), folder);
        write(folder.resolve("config.json"), OutputConfig.write(model.layout().config(), quantized, modeKey));
        write(folder.resolve(Checkpoint.INDEX), index(variant.plan(), model.layout()));
        Map<String, Double> errors = new TreeMap<>();
        written.forEach((path, measured) -> errors.put(path, measured.relativeError()));
        return plan.withWrittenErrors(errors);
    }

    private static String index(ShardPlan plan, Layout layout) {
        ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.putObject("metadata").put("total_size", plan.dataBytes()).put("total_parameters", parameters(layout));
        ObjectNode map = root.putObject("weight_map");
        plan.weightMap().forEach(map::put);
        return OutputConfig.print(root);
    }

    /// Weights of the model, packed ones counted as what they stand for.
    static long parameters(Layout layout) {
        long sum = 0;
        for (var m : layout.modules()) {
            sum = Math.addExact(sum, m.weight().shape().elements());
        }
        for (var p : layout.plain()) {
            sum = Math.addExact(sum, p.view().shape().elements());
        }
        for (var p : layout.prequantized()) {
            sum = Math.addExact(sum, p.shape().elements());
        }
        return sum;
    }

    /// Whether a model's folder has a file that a tokenizer can be made from.
    public static boolean hasTokenizer(Path model) {
        return SideFiles.hasVocabulary(model);
    }

    /// Whether a model's folder has a file of this name that a loader reads: weights, their index, configuration, tokenizer and the like.
    public static boolean isModelFile(String name) {
        return name.endsWith(".safetensors") || name.endsWith(".safetensors.index.json") || name.equals("config.json") || SideFiles.isCarried(name);
    }

    /// The names of the files in a model's folder that a loader reads, sorted; those of templates begin with their folder's.
    public static List<String> modelFiles(Path folder) {
        return SideFiles.names(folder).filter(OutputFolder::isModelFile).toList();
    }

    /// Creates a folder, unless it is there, and returns it.
    public static Path create(Path folder) {
        try {
            return Files.createDirectories(folder);
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": cannot be created", e);
        }
    }

    /// Writes one small text file in UTF-8.
    public static void write(Path file, String text) {
        write(file, text.getBytes(StandardCharsets.UTF_8));
    }

    /// Writes one small file.
    public static void write(Path file, byte[] content) {
        try {
            Files.write(file, content);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be written", e);
        }
    }

    /// @param model whose other files are copied into each output
    /// @param outputs how many there will be
    /// @param bytes of all tensors and whatever else is to be written
    /// @throws UncheckedIOException when the disk has less free space than that and the files beside it will take
    public static void requireSpace(Path target, Path model, int outputs, long bytes) {
        Path existing = target.toAbsolutePath().normalize();
        while (existing != null && !Files.exists(existing)) {
            existing = existing.getParent();
        }
        long beside = Math.addExact(bytes / SMALL_SHARE, Math.multiplyExact(outputs, SideFiles.bytes(model) + SMALL_FILES));
        long needed = Math.addExact(bytes, beside);
        try {
            long free = Files.getFileStore(existing).getUsableSpace();
            if (free < needed) {
                throw new UncheckedIOException(target + ": cannot be written", new IOException("it takes " + ByteSize.format(needed) + ", but its disk has only "
                        + ByteSize.format(free) + " free; free some space or choose another disk"));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(target + ": its disk cannot be examined", e);
        }
    }
}
