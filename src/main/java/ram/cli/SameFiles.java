package ram.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Two folders that should hold the same.
final class SameFiles {
    private SameFiles() {
    }

    /// @param files how many there are in either folder
    /// @param difference the first one, in words
    record Comparison(int files, Optional<String> difference) {
    }

    /// @throws UncheckedIOException when a file cannot be read
    static Comparison compare(Path one, Path other) {
        try {
            Set<Path> all = new TreeSet<>(files(one));
            all.addAll(files(other));
            for (Path name : all) {
                if (!Files.exists(one.resolve(name)) || !Files.exists(other.resolve(name))) {
                    return new Comparison(all.size(), Optional.of("only one of two runs wrote " + name));
                }
                long at = Files.mismatch(one.resolve(name), other.resolve(name));
                if (at >= 0) {
                    return new Comparison(all.size(), Optional.of("a second run gave other bytes in " + name + ", the first at " + at));
                }
            }
            return new Comparison(all.size(), Optional.empty());
        } catch (IOException e) {
            throw new UncheckedIOException(one + " cannot be compared", e);
        }
    }

    private static Set<Path> files(Path folder) throws IOException {
        try (Stream<Path> tree = Files.walk(folder)) {
            return tree.filter(Files::isRegularFile).map(folder::relativize).collect(Collectors.toCollection(TreeSet::new));
        }
    }
}
