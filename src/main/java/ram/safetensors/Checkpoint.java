package ram.safetensors;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.CharConversionException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ram.InputException;
import ram.NotJson;

/// A folder of safetensors files read as one set of tensors.
///
/// Which files belong to it: those that `model.safetensors.index.json` names, else `model.safetensors`, else every `model*.safetensors`,
/// else every `*.safetensors`.
public final class Checkpoint implements AutoCloseable {
    /// The file that says which tensor is in which of several files.
    public static final String INDEX = "model.safetensors.index.json";
    private static final String SINGLE = "model.safetensors";
    private static final long MAX_INDEX_BYTES = 256_000_000;

    private static final Pattern NUMBERED = Pattern.compile("(.*)-\\d{1,9}-of-(\\d{1,9})\\.safetensors");

    private final Path folder;
    private final List<Shard> shards;
    private final SortedMap<String, Shard> shardOf;

    private Checkpoint(Path folder, List<Shard> shards, SortedMap<String, Shard> shardOf) {
        this.folder = folder;
        this.shards = List.copyOf(shards);
        this.shardOf = shardOf;
    }

    /// Opens a checkpoint and checks all headers; no tensor data is read.
    ///
    /// @throws InputException when the folder, an index or a header is not usable
    public static Checkpoint open(Path folder) {
        if (!Files.isDirectory(folder)) {
            OtherFolders.refuseFile(folder);
            throw InputException.in(folder, Files.exists(folder) ? "is not a folder; give the folder that holds config.json and the *.safetensors files"
                    : "does not exist; give the folder that holds config.json and the *.safetensors files");
        }
        OtherFolders.refusePipeline(folder);
        Path index = folder.resolve(INDEX);
        try {
            return Files.exists(index) ? openIndexed(folder, index) : openAll(folder, discover(folder));
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": cannot be read", e);
        }
    }

    private static List<Path> discover(Path folder) throws IOException {
        Path single = folder.resolve(SINGLE);
        if (Files.exists(single)) {
            return List.of(single);
        }
        // Not the hidden ones, which macOS makes beside every file on some disks.
        for (String glob : List.of("model*.safetensors", "[!.]*.safetensors")) {
            List<Path> files = new ArrayList<>();
            try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder, glob)) {
                stream.forEach(files::add);
            }
            if (!files.isEmpty()) {
                Collections.sort(files);
                requireAll(folder, files);
                return files;
            }
        }
        throw InputException.in(folder, OtherFolders.whyWithoutWeights(folder));
    }

    /// Without an index only the names say of how many files a model is made.
    private static void requireAll(Path folder, List<Path> files) {
        Map<String, Integer> found = new TreeMap<>();
        for (Path file : files) {
            Matcher m = NUMBERED.matcher(file.getFileName().toString());
            if (m.matches()) {
                found.merge(m.group(1) + " " + m.group(2), 1, Integer::sum);
            }
        }
        found.forEach((name, count) -> {
            long all = Long.parseLong(name.substring(name.lastIndexOf(' ') + 1));
            if (count < all) {
                throw InputException.in(folder, "holds " + count + " of " + all + " files of the model; download the others, or the folder again");
            }
        });
    }

    private static Checkpoint openIndexed(Path folder, Path index) throws IOException {
        Map<String, String> weightMap = readIndex(index);
        List<Path> files = new TreeSet<>(weightMap.values()).stream().map(folder::resolve).toList();
        Checkpoint checkpoint = openAll(folder, files);
        try {
            for (Map.Entry<String, String> entry : weightMap.entrySet()) {
                Shard shard = checkpoint.shardOf.get(entry.getKey());
                if (shard == null) {
                    throw InputException.in(index, "lists the tensor '" + entry.getKey() + "', but " + entry.getValue() + " does not hold it; download both again");
                }
                if (!shard.file().getFileName().toString().equals(entry.getValue())) {
                    throw InputException.in(index, "says the tensor '" + entry.getKey() + "' is in " + entry.getValue() + ", but it is in "
                            + shard.file().getFileName() + "; the index does not belong to these files, download it again");
                }
            }
            for (String name : checkpoint.shardOf.keySet()) {
                if (!weightMap.containsKey(name)) {
                    throw InputException.in(index, "does not list the tensor '" + name + "' of " + checkpoint.shardOf.get(name).file().getFileName()
                            + "; the index does not belong to these files, download it again");
                }
            }
            if (!weightMap.containsValue(SINGLE)) {
                refuseCopyBeside(folder, weightMap);
            }
            return checkpoint;
        } catch (RuntimeException e) {
            checkpoint.close();
            throw e;
        }
    }

    /// Loaders that find both a single file and an index do not agree on which counts: mlx_lm reads all files, and takes a tensor from the last.
    private static void refuseCopyBeside(Path folder, Map<String, String> weightMap) {
        Path single = folder.resolve(SINGLE);
        if (!Files.isRegularFile(single)) {
            return;
        }
        Set<String> names;
        try (Shard shard = Shard.open(single)) {
            names = shard.tensors().keySet();
        } catch (InputException e) {
            // as little read as one with names of its own
            return;
        }
        names.stream().filter(weightMap::containsKey).findFirst().ifPresent(name -> {
            throw InputException.in(folder, "the tensor '" + name + "' is stored in " + SINGLE + ", and by " + INDEX + " in " + weightMap.get(name)
                    + " too, so that it is unclear which one counts; remove " + SINGLE + ", or " + INDEX + " with its files");
        });
    }

    private static Map<String, String> readIndex(Path index) throws IOException {
        if (!Files.isRegularFile(index)) {
            throw InputException.in(index, "is not a regular file; download it again");
        }
        if (Files.size(index) > MAX_INDEX_BYTES) {
            throw InputException.in(index, "is over " + MAX_INDEX_BYTES + " bytes long; it is not an index");
        }
        JsonNode map;
        try {
            map = new ObjectMapper().readTree(Files.readAllBytes(index)).path("weight_map");
        } catch (JsonProcessingException | CharConversionException e) {
            throw NotJson.in(index, e, "download it again");
        }
        if (!map.isObject() || map.isEmpty()) {
            throw InputException.in(index, "has no weight_map; download it again");
        }
        Map<String, String> out = new TreeMap<>();
        for (Map.Entry<String, JsonNode> entry : map.properties()) {
            String file = entry.getValue().asText("");
            boolean plainName = file.endsWith(".safetensors") && !file.contains("/") && !file.contains("\\") && !file.contains("\0");
            if (!entry.getValue().isTextual() || !plainName) {
                throw InputException.in(index, "maps the tensor '" + entry.getKey() + "' to '" + file + "', which is not the name of a safetensors file in this folder");
            }
            out.put(entry.getKey(), file);
        }
        return out;
    }

    /// For those who find that what they read at different times does not agree.
    ///
    /// @throws InputException when one of the files was written to since it was opened
    public void requireUnchanged() {
        shards.forEach(Shard::requireUnchanged);
    }

    private static Checkpoint openAll(Path folder, List<Path> files) {
        List<Shard> shards = new ArrayList<>();
        SortedMap<String, Shard> shardOf = new TreeMap<>();
        try {
            for (Path file : files) {
                Shard shard = Shard.open(file);
                shards.add(shard);
                for (String name : shard.tensors().keySet()) {
                    Shard other = shardOf.put(name, shard);
                    if (other != null) {
                        throw InputException.in(folder, "the tensor '" + name + "' is stored twice, in " + other.file().getFileName() + " and in "
                                + file.getFileName() + "; remove the file that does not belong");
                    }
                }
            }
            OtherFolders.refuseTensors(folder, shards, shardOf.keySet());
            return new Checkpoint(folder, shards, shardOf);
        } catch (RuntimeException e) {
            shards.forEach(Shard::close);
            throw e;
        }
    }

    /// As it was given.
    public Path folder() {
        return folder;
    }

    /// The files, in name order.
    public List<Shard> shards() {
        return shards;
    }

    /// All tensor names, sorted.
    public SortedMap<String, TensorInfo> tensors() {
        SortedMap<String, TensorInfo> out = new TreeMap<>();
        shardOf.forEach((name, shard) -> out.put(name, shard.tensors().get(name)));
        return Collections.unmodifiableSortedMap(out);
    }

    /// Empty when no file has a tensor of that name.
    public Optional<TensorInfo> tensor(String name) {
        return Optional.ofNullable(shardOf.get(name)).map(s -> s.tensors().get(name));
    }

    /// The file that holds a tensor.
    ///
    /// @throws IllegalArgumentException when there is no such tensor
    public Path fileOf(String name) {
        return shard(name).file();
    }

    /// The stored bytes of a tensor, mapped read-only and valid until the checkpoint is closed.
    ///
    /// @throws IllegalArgumentException when there is no such tensor
    public MemorySegment data(String name) {
        Shard shard = shard(name);
        return shard.data(shard.tensors().get(name));
    }

    private Shard shard(String name) {
        Shard shard = shardOf.get(name);
        if (shard == null) {
            throw new IllegalArgumentException(folder + ": no tensor '" + name + "'");
        }
        return shard;
    }

    @Override
    public void close() {
        shards.forEach(Shard::close);
    }
}
