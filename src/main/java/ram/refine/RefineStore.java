package ram.refine;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import ram.format.CodedMatrix;
import ram.format.Format;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// The folder in which refined modules wait to be written, one file each: codes, scales, biases.
public final class RefineStore implements AutoCloseable {
    private final Path folder;
    private final Arena arena = Arena.ofShared();
    private final Map<String, CodedMatrix> modules = new TreeMap<>();
    private final Map<String, MemorySegment> files = new TreeMap<>();

    /// @param folder is created when it does not exist
    public RefineStore(Path folder) {
        this.folder = folder;
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": cannot be created", e);
        }
    }

    Path folder() {
        return folder;
    }

    /// A refined module.
    public Optional<CodedMatrix> module(String path) {
        return Optional.ofNullable(modules.get(path));
    }

    /// Makes room for a module, or finds it where an earlier run left it.
    CodedMatrix open(String path, Format format, DType stored, long rows, int columns) {
        Map<String, Long> sizes = new TreeMap<>();
        long total = 0;
        for (Format.Component c : format.components(Shape.of(rows, columns), stored)) {
            sizes.put(c.suffix(), c.bytes());
            total += c.bytes();
        }
        MemorySegment all = map(folder.resolve(path + ".coded"), total);
        long scalesAt = sizes.get("weight");
        long biasesAt = scalesAt + sizes.get("scales");
        CodedMatrix matrix = new CodedMatrix(format, stored, rows, columns, all.asSlice(0, scalesAt), all.asSlice(scalesAt, sizes.get("scales")),
                sizes.containsKey("biases") ? all.asSlice(biasesAt) : null);
        modules.put(path, matrix);
        files.put(path, all);
        return matrix;
    }

    private MemorySegment map(Path file, long bytes) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            return channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, arena);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be created", e);
        }
    }

    /// Forces what was written to disk.
    void force(String path) {
        files.get(path).force();
    }

    @Override
    public void close() {
        arena.close();
    }
}
