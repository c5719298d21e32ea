package ram.safetensors;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/// Writes small safetensors files for tests, right ones and, through [#raw], wrong ones.
public final class SafetensorsFile {
    private record Entry(DType dtype, Shape shape, byte[] data) {
    }

    private final Map<String, Entry> entries = new LinkedHashMap<>();
    private String format = "pt";

    /// The tensors of a file, to be changed and written again.
    public static SafetensorsFile of(Path file) {
        SafetensorsFile out = new SafetensorsFile();
        try (Shard shard = Shard.open(file)) {
            shard.tensors().values().forEach(t -> out.add(t.name(), t.dtype(), t.shape(), shard.data(t).toArray(ValueLayout.JAVA_BYTE)));
        }
        return out;
    }

    /// The mark of the program that wrote the file, `pt` by default.
    public SafetensorsFile format(String name) {
        format = name;
        return this;
    }

    public Set<String> names() {
        return Set.copyOf(entries.keySet());
    }

    public byte[] data(String name) {
        return entries.get(name).data();
    }

    public Shape shape(String name) {
        return entries.get(name).shape();
    }

    public SafetensorsFile add(String name, DType dtype, Shape shape, byte[] data) {
        if (data.length != shape.elements() * dtype.bytes()) {
            throw new IllegalArgumentException(name + ": " + data.length + " bytes for " + shape + " of " + dtype);
        }
        entries.put(name, new Entry(dtype, shape, data));
        return this;
    }

    public SafetensorsFile floats(String name, Shape shape, float... values) {
        ByteBuffer buffer = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
        for (float v : values) {
            buffer.putFloat(v);
        }
        return add(name, DType.F32, shape, buffer.array());
    }

    /// Values are cut to bfloat16 by dropping the low bits.
    public SafetensorsFile bfloat16(String name, Shape shape, float... values) {
        ByteBuffer buffer = ByteBuffer.allocate(values.length * 2).order(ByteOrder.LITTLE_ENDIAN);
        for (float v : values) {
            buffer.putShort((short) (Float.floatToRawIntBits(v) >>> 16));
        }
        return add(name, DType.BF16, shape, buffer.array());
    }

    public Path write(Path file) throws IOException {
        int total = entries.values().stream().mapToInt(e -> e.data().length).sum();
        ByteBuffer data = ByteBuffer.allocate(total);
        StringBuilder json = new StringBuilder("{\"__metadata__\":{\"format\":\"" + format + "\"}");
        entries.forEach((name, e) -> {
            int begin = data.position();
            data.put(e.data());
            json.append(",\"").append(name).append("\":{\"dtype\":\"").append(e.dtype()).append("\",\"shape\":")
                    .append(e.shape().dims().stream().map(String::valueOf).collect(Collectors.joining(",", "[", "]")))
                    .append(",\"data_offsets\":[").append(begin).append(',').append(data.position()).append("]}");
        });
        return raw(file, json.append('}').toString(), data.array());
    }

    /// A file with exactly this header text and data.
    public static Path raw(Path file, String json, byte[] data) throws IOException {
        byte[] header = json.getBytes(StandardCharsets.UTF_8);
        ByteBuffer out = ByteBuffer.allocate(8 + header.length + data.length).order(ByteOrder.LITTLE_ENDIAN);
        out.putLong(header.length).put(header).put(data);
        return Files.write(file, out.array());
    }
}
