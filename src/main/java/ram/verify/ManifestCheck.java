package ram.verify;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.stream.Collectors;
import ram.InputException;
import ram.convert.OutputFolder;
import ram.format.Format;
import ram.layout.ModelConfig;
import ram.plan.Manifest;
import ram.plan.Manifest.Fate;
import ram.plan.Manifest.ModulePlan;
import ram.safetensors.Checkpoint;
import ram.safetensors.Shape;
import ram.safetensors.Shard;
import ram.safetensors.TensorInfo;

/// What a manifest says about the folder that it lies in, against what is there: programs decide by it without opening the folder.
public final class ManifestCheck {
    private final Checkpoint checkpoint;
    private final Manifest manifest;
    private final SortedMap<String, Format> stored;
    private final List<String> problems = new ArrayList<>();

    private ManifestCheck(Checkpoint checkpoint, Manifest manifest, SortedMap<String, Format> stored) {
        this.checkpoint = checkpoint;
        this.manifest = manifest;
        this.stored = stored;
    }

    /// One sentence for each thing that differs; none for a folder that cannot be opened, which [Verifier] says.
    public static List<String> problems(Path folder, Manifest manifest) {
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            ManifestCheck check = new ManifestCheck(checkpoint, manifest, StoredFormats.read(checkpoint, ModelConfig.read(folder), _ -> { }));
            check.modules();
            check.sizes();
            check.files();
            return check.problems;
        } catch (InputException e) {
            return List.of();
        }
    }

    private void modules() {
        Set<String> known = new HashSet<>();
        for (ModulePlan m : manifest.modules()) {
            known.add(m.path());
            Optional<TensorInfo> weight = checkpoint.tensor(m.path() + ".weight");
            Format format = stored.getOrDefault(m.path(), Format.DENSE);
            if (weight.isEmpty()) {
                problems.add("the manifest lists the module " + m.path() + ", which is not in the folder");
            } else if (!format.equals(m.format())) {
                problems.add("the manifest says that module " + m.path() + " is " + m.format() + ", but it is stored as " + format);
            } else {
                Shape shape = format.isDense() ? weight.get().shape() : format.decodedShape(weight.get().shape());
                long bytes = bytes(m.path(), format);
                if (!shape.equals(m.shape()) || bytes != m.bytes()) {
                    problems.add("the manifest says that module " + m.path() + " is " + m.shape() + " in " + m.bytes() + " bytes, but it is " + shape + " in " + bytes);
                }
            }
        }
        // what the source stored quantized already is no module of the plan
        manifest.tensors().stream().filter(t -> t.fate() != Fate.QUANTIZED).forEach(t -> known.addAll(t.targets()));
        stored.keySet().stream().filter(path -> !known.contains(path)).forEach(path -> problems.add("module " + path + " is quantized, but the manifest does not list it"));
    }

    private long bytes(String path, Format format) {
        List<String> suffixes = format.isDense() ? List.of(".weight") : List.of(".weight", ".scales", ".biases");
        return suffixes.stream().map(s -> checkpoint.tensor(path + s)).flatMap(Optional::stream).mapToLong(TensorInfo::bytes).sum();
    }

    private void sizes() {
        long bytes = checkpoint.shards().stream().mapToLong(Shard::size).sum();
        if (bytes != manifest.sizes().files() || checkpoint.shards().size() != manifest.sizes().fileCount()) {
            problems.add("the manifest says " + manifest.sizes().files() + " bytes in " + manifest.sizes().fileCount() + " safetensors files, but there are " + bytes + " in "
                    + checkpoint.shards().size());
        }
    }

    private void files() {
        Set<String> listed = manifest.files().stream().map(Manifest.OutputFile::name).collect(Collectors.toSet());
        List<String> needed = new ArrayList<>(List.of("config.json"));
        checkpoint.shards().forEach(s -> needed.add(s.file().getFileName().toString()));
        needed.stream().filter(n -> !listed.contains(n)).forEach(n -> problems.add("the manifest does not list the file " + n + ", so it cannot be told whether it is the one that was written"));
        OutputFolder.modelFiles(checkpoint.folder()).stream().filter(n -> !n.endsWith(".safetensors") && !needed.contains(n) && !listed.contains(n))
                .forEach(n -> problems.add("the file " + n + " was added later, and programs that load the folder read it; remove it"));
    }
}
