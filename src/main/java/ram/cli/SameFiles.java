package ram.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Two folders that should hold the same.
final class SameFiles {
    private SameFiles() {
    }

    /// @return how many files there are
    /// @throws UncheckedIOException when a file is in one folder only, or differs
    static int require(Path one, Path other) {
        try {
            Set<Path> names = files(one);
            Set<Path> all = new TreeSet<>(names);
            all.addAll(files(other));
            for (Path name : all) {
                if (!Files.exists(one.resolve(name)) || !Files.exists(other.resolve(name))) {
                    throw new UncheckedIOException(one.resolve(name).toString(), new IOException("only one of two runs wrote it; the output is not reproducible, report this"));
                }
                long at = Files.mismatch(one.resolve(name), other.resolve(name));
                if (at >= 0) {
                    throw new UncheckedIOException(one.resolve(name).toString(), new IOException("a second run gave other bytes, the first at " + at + "; the output is not reproducible, report this"));
                }
            }
            return all.size();
        } catch (IOException e) {
            throw new UncheckedIOException(one + " cannot be compared", e);
        }
    }

    private static Set<Path> files(Path folder) throws IOException {
        try (Stream<Path> tree = Files.walk(folder)) {
            return tree.filter(Files::isRegularFile).map(folder::relativize).collect(Collectors.toCollection(TreeSet::new));
        }
    }

    static void delete(Path folder) {
        if (!Files.exists(folder)) {
            return;
        }
        try (Stream<Path> tree = Files.walk(folder)) {
            List<Path> deepestFirst = tree.sorted(Comparator.reverseOrder()).toList();
            for (Path path : deepestFirst) {
                Files.delete(path);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(folder + " cannot be removed", e);
        }
    }
}
