package ram.format;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.zip.GZIPInputStream;
import ram.numeric.Decoder;
import ram.safetensors.LittleEndian;
import ram.safetensors.Shard;
import ram.safetensors.TensorInfo;

/// Vectors made by MLX on a CPU, one safetensors file per mode and dtype.
final class Golden {
    private static final Map<String, Golden> OPEN = new ConcurrentHashMap<>();

    private final Shard shard;

    private Golden(Shard shard) {
        this.shard = shard;
    }

    static Golden open(String name) {
        return OPEN.computeIfAbsent(name, n -> {
            try (InputStream in = new GZIPInputStream(Golden.class.getResourceAsStream(n + ".safetensors.gz"))) {
                Path file = Files.createTempFile(n, ".safetensors");
                Files.write(file, in.readAllBytes());
                file.toFile().deleteOnExit();
                return new Golden(Shard.open(file));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    TensorInfo info(String tensor) {
        return shard.tensors().get(tensor);
    }

    byte[] bytes(String tensor) {
        return shard.data(info(tensor)).toArray(LittleEndian.BYTE);
    }

    MemorySegment data(String tensor) {
        return shard.data(info(tensor));
    }

    float[] floats(String tensor) {
        TensorInfo info = info(tensor);
        float[] out = new float[Math.toIntExact(info.shape().elements())];
        Decoder.decode(info.dtype(), shard.data(info), 0, out, 0, out.length);
        return out;
    }
}
