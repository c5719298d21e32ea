package ram.safetensors;

import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/// The safetensors files that a list of tensors is written to, known to the byte before anything is written.
///
/// Tensors keep their order. A file is closed when the next tensor would take its data over [#SHARD_BYTES]; a tensor that is larger
/// has a file of its own. Every header is padded with spaces to the size that it has when each entry takes [#entryBytes], so that the
/// cost of a tensor depends on nothing but itself: total size = Σ ([#entryBytes] + data) + files × [#FILE_BYTES].
///
/// @param shards at least one, in file order
public record ShardPlan(List<ShardFile> shards) {
    /// Most tensor data in a file of several tensors: 5 GiB, as mlx_lm does.
    public static final long SHARD_BYTES = 5L << 30;
    /// What a file costs beside its tensors: the length field and an empty header.
    public static final long FILE_BYTES = 48;

    private static final String OPENING = "{\"__metadata__\":{\"format\":\"mlx\"}";
    // Two offsets within a file of 5 GiB have at most ten digits each; the only tensor of a larger file starts at 0, which leaves nineteen for its end.
    private static final int OFFSET_DIGITS = 20;

    /// A tensor to be written.
    public record Entry(String name, DType dtype, Shape shape) {
        public Entry {
            Objects.requireNonNull(name);
            Objects.requireNonNull(dtype);
            Objects.requireNonNull(shape);
        }

        /// Size of the data in bytes.
        public long bytes() {
            return Math.multiplyExact(shape.elements(), dtype.bytes());
        }
    }

    /// A tensor's place in its file.
    ///
    /// @param offset first byte of the data, counted from the start of the file
    public record Placed(Entry entry, long offset) {
    }

    /// One file.
    ///
    /// @param head everything before the data: the length field and the padded header
    /// @param tensors without gaps, in file order
    /// @param fileBytes size of the whole file
    public record ShardFile(String fileName, byte[] head, List<Placed> tensors, long fileBytes) {
        @Override
        public boolean equals(Object o) {
            return o instanceof ShardFile s && fileName.equals(s.fileName) && Arrays.equals(head, s.head) && tensors.equals(s.tensors) && fileBytes == s.fileBytes;
        }

        @Override
        public int hashCode() {
            return Objects.hash(fileName, Arrays.hashCode(head), tensors, fileBytes);
        }
    }

    public ShardPlan {
        shards = List.copyOf(shards);
    }

    /// @throws IllegalArgumentException when two tensors have one name
    public static ShardPlan of(List<Entry> entries) {
        Set<String> names = new HashSet<>();
        for (Entry e : entries) {
            if (!names.add(e.name())) {
                throw new IllegalArgumentException("two tensors are named " + e.name());
            }
        }
        List<List<Entry>> files = new ArrayList<>();
        List<Entry> current = new ArrayList<>();
        long data = 0;
        for (Entry e : entries) {
            if (!current.isEmpty() && Math.addExact(data, e.bytes()) > SHARD_BYTES) {
                files.add(current);
                current = new ArrayList<>();
                data = 0;
            }
            current.add(e);
            data = Math.addExact(data, e.bytes());
        }
        files.add(current);
        List<ShardFile> shards = new ArrayList<>();
        for (int i = 0; i < files.size(); i++) {
            String name = files.size() == 1 ? "model.safetensors" : String.format(Locale.ROOT, "model-%05d-of-%05d.safetensors", i + 1, files.size());
            shards.add(shard(name, files.get(i)));
        }
        return new ShardPlan(shards);
    }

    private static ShardFile shard(String fileName, List<Entry> entries) {
        StringBuilder json = new StringBuilder(OPENING);
        long headBytes = FILE_BYTES;
        long end = 0;
        for (Entry e : entries) {
            long begin = end;
            end = Math.addExact(begin, e.bytes());
            json.append(description(e)).append(begin).append(',').append(end).append("]}");
            headBytes += entryBytes(e);
        }
        byte[] text = json.append('}').toString().getBytes(StandardCharsets.UTF_8);
        byte[] head = new byte[Math.toIntExact(headBytes)];
        Arrays.fill(head, (byte) ' ');
        ByteBuffer.wrap(head).order(ByteOrder.LITTLE_ENDIAN).putLong(headBytes - Long.BYTES).put(text);
        List<Placed> placed = new ArrayList<>();
        long offset = headBytes;
        for (Entry e : entries) {
            placed.add(new Placed(e, offset));
            offset = Math.addExact(offset, e.bytes());
        }
        return new ShardFile(fileName, head, List.copyOf(placed), offset);
    }

    /// The entry in a header up to its offsets, the comma before it included.
    private static String description(Entry e) {
        return ",\"" + new String(JsonStringEncoder.getInstance().quoteAsString(e.name())) + "\":{\"dtype\":\"" + e.dtype().name() + "\",\"shape\":"
                + e.shape().dims().toString().replace(" ", "") + ",\"data_offsets\":[";
    }

    /// Space that a tensor takes in a header: a multiple of 8 that holds any offsets.
    public static long entryBytes(Entry e) {
        String description = description(e);
        long length = description.length() + OFFSET_DIGITS + ",]}".length();
        for (int i = 0; i < description.length(); i++) {
            if (description.charAt(i) > 0x7f) {
                length += description.getBytes(StandardCharsets.UTF_8).length - description.length();
                break;
            }
        }
        return length + 7 & -8;
    }

    /// What a tensor adds to the files: its data and its place in a header.
    public static long costBytes(Entry e) {
        return Math.addExact(e.bytes(), entryBytes(e));
    }

    /// An upper bound of what the files cost beside their tensors when their total is at most `totalBytes`.
    /// Two neighbouring files always hold more than [#SHARD_BYTES] together.
    public static long mostFileBytes(long totalBytes) {
        return FILE_BYTES * (2 * (totalBytes / SHARD_BYTES) + 1);
    }

    /// Number of files for tensors of these data sizes, in order.
    public static int fileCount(long[] bytes) {
        int files = 1;
        long data = 0;
        boolean empty = true;
        for (long b : bytes) {
            if (!empty && Math.addExact(data, b) > SHARD_BYTES) {
                files++;
                data = 0;
            }
            data = Math.addExact(data, b);
            empty = false;
        }
        return files;
    }

    /// Sum of the sizes of all files.
    public long totalBytes() {
        long sum = 0;
        for (ShardFile s : shards) {
            sum = Math.addExact(sum, s.fileBytes());
        }
        return sum;
    }

    /// Sum of the tensors' data: `total_size` of the index.
    public long dataBytes() {
        long sum = 0;
        for (ShardFile s : shards) {
            sum = Math.addExact(sum, s.fileBytes() - s.head().length);
        }
        return sum;
    }

    /// File name per tensor: `weight_map` of the index.
    public SortedMap<String, String> weightMap() {
        SortedMap<String, String> out = new TreeMap<>();
        for (ShardFile s : shards) {
            s.tensors().forEach(t -> out.put(t.entry().name(), s.fileName()));
        }
        return out;
    }
}
