package ram.convert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import ram.Sha256;
import ram.layout.Model;
import ram.numeric.Workers;
import ram.plan.Manifest;

/// SHA-256 of whole files, as the manifest records them.
public final class Receipts {
    /// The one file that cannot hold its own receipt.
    private static final String MANIFEST = "manifest.json";

    private Receipts() {
    }

    /// Of all files of an output folder but the manifest, by name.
    public static List<Manifest.OutputFile> of(Path folder, int threads) {
        return of(folder, SideFiles.names(folder).filter(n -> Files.isRegularFile(folder.resolve(n)) && !n.equals(MANIFEST)).toList(), threads);
    }

    /// Of the files that a model's tensors are in, in their order.
    public static List<Manifest.OutputFile> of(Model source, int threads) {
        return of(source.checkpoint().folder(), source.checkpoint().shards().stream().map(shard -> shard.file().getFileName().toString()).toList(), threads);
    }

    private static List<Manifest.OutputFile> of(Path folder, List<String> names, int threads) {
        try (Workers workers = new Workers(threads)) {
            return workers.map(names, n -> new Manifest.OutputFile(n, size(folder.resolve(n)), Sha256.of(folder.resolve(n))));
        }
    }

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    /// A file as a manifest lists it.
    ///
    /// @param remedy what to do when it is missing or another one
    public record Listed(Path folder, Manifest.OutputFile file, String remedy) {
    }

    /// One sentence for each file that is missing or is not the one that was recorded, in the order of the list. Large files begin first.
    public static List<String> problems(List<Listed> files, Workers workers) {
        List<Listed> largestFirst = files.stream().sorted(Comparator.comparingLong(f -> -f.file().bytes())).toList();
        Map<Listed, String> problems = new IdentityHashMap<>();
        List<String> found = workers.map(largestFirst, f -> problem(f.folder().resolve(f.file().name()), f.file()));
        for (int i = 0; i < found.size(); i++) {
            if (!found.get(i).isEmpty()) {
                problems.put(largestFirst.get(i), found.get(i) + "; " + largestFirst.get(i).remedy());
            }
        }
        return files.stream().map(problems::get).filter(Objects::nonNull).toList();
    }

    private static String problem(Path file, Manifest.OutputFile recorded) {
        String name = recorded.name();
        if (!SideFiles.isName(name)) {
            return "the manifest lists '" + name + "', which is not the name of a file in this folder";
        }
        if (!Files.isRegularFile(file)) {
            return name + " is missing, but the manifest lists it";
        }
        if (size(file) != recorded.bytes()) {
            return name + " has " + size(file) + " bytes, but the manifest says " + recorded.bytes();
        }
        return Sha256.of(file).equals(recorded.sha256()) ? "" : name + " is not the file that the manifest lists: its SHA-256 differs";
    }
}
