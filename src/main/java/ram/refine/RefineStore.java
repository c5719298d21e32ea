package ram.refine;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import ram.format.CodedMatrix;
import ram.format.Format;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// The folder in which refined modules wait to be written, one file each, and from which an interrupted refinement goes on.
public final class RefineStore implements AutoCloseable {
    private static final JsonMapper JSON = new JsonMapper();
    private static final String JOURNAL = "refine.json";

    private final Path folder;
    private final String fingerprint;
    private final Arena arena = Arena.ofShared();
    private final Map<String, CodedMatrix> modules = new TreeMap<>();
    private final Map<String, MemorySegment> fresh = new TreeMap<>();
    private final boolean startedOver;

    /// @param folder is created when it does not exist
    /// @param fingerprint of all that results depend on; what another one left is removed
    public RefineStore(Path folder, String fingerprint) {
        this.folder = folder;
        this.fingerprint = fingerprint;
        try {
            boolean usable = journal().path("fingerprint").asText().equals(fingerprint);
            this.startedOver = Files.exists(folder.resolve(JOURNAL)) && !usable;
            if (Files.exists(folder) && !usable) {
                delete();
            }
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": cannot be created", e);
        }
    }

    /// Whether there was work of other settings or of another source, which has been thrown away. A run that stopped before its first record left none.
    public boolean startedOver() {
        return startedOver;
    }

    /// Layers that an earlier run finished; empty when it did not get so far as the first.
    public Optional<Integer> finishedLayers() {
        JsonNode layers = journal().path("layers");
        return layers.isInt() ? Optional.of(layers.asInt()) : Optional.empty();
    }

    private JsonNode journal() {
        Path file = folder.resolve(JOURNAL);
        try {
            return Files.exists(file) ? JSON.readTree(file.toFile()) : JSON.createObjectNode();
        } catch (IOException _) {
            // torn, and therefore of no use
            return JSON.createObjectNode();
        }
    }

    Path file(String name) {
        return folder.resolve(name);
    }

    SortedMap<String, Gain> gains() {
        SortedMap<String, Gain> out = new TreeMap<>();
        journal().path("gains").forEach(g -> {
            Gain gain = JSON.convertValue(g, Gain.class);
            out.put(gain.path(), gain);
        });
        return out;
    }

    List<int[]> text() {
        List<int[]> out = new ArrayList<>();
        journal().path("text").forEach(s -> out.add(JSON.convertValue(s, int[].class)));
        return out;
    }

    /// Records that everything before a layer is done, once it is on disk.
    void finished(int layers, List<int[]> text, SortedMap<String, Gain> gains) {
        fresh.values().forEach(MemorySegment::force);
        fresh.clear();
        ObjectNode o = JSON.createObjectNode().put("fingerprint", fingerprint).put("layers", layers);
        o.set("gains", JSON.valueToTree(gains.values()));
        o.set("text", JSON.valueToTree(text));
        Path next = file(JOURNAL + ".next");
        try {
            Files.write(next, JSON.writeValueAsBytes(o));
            try (FileChannel channel = FileChannel.open(next, StandardOpenOption.WRITE)) {
                channel.force(true);
            }
            Files.move(next, file(JOURNAL), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            throw new UncheckedIOException(next + ": cannot be written", e);
        }
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
        MemorySegment all = map(file(path + ".coded"), total);
        long scalesAt = sizes.get("weight");
        long biasesAt = scalesAt + sizes.get("scales");
        CodedMatrix matrix = new CodedMatrix(format, stored, rows, columns, all.asSlice(0, scalesAt), all.asSlice(scalesAt, sizes.get("scales")),
                sizes.containsKey("biases") ? all.asSlice(biasesAt) : null);
        modules.put(path, matrix);
        fresh.put(path, all);
        return matrix;
    }

    private MemorySegment map(Path file, long bytes) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            return channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, arena);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be created", e);
        }
    }

    private void delete() {
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.toList()) {
                Files.delete(file);
            }
            Files.delete(folder);
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": cannot be removed", e);
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
