package ram.safetensors;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.Map;
import ram.InputException;
import ram.Sha256;

/// One safetensors file. The header is read when it is opened, the data is mapped, as one segment of any size, when it is first asked for.
public final class Shard implements AutoCloseable {
    private static final int START_BYTES = 256;

    private final Path file;
    private final long size;
    private final Header header;
    private final FileTime written;
    private final Arena arena = Arena.ofShared();
    private MemorySegment mapped;
    private String starts;

    private Shard(Path file, long size, FileTime written, Header header) {
        this.file = file;
        this.size = size;
        this.written = written;
        this.header = header;
    }

    /// @throws InputException when the file is missing or its header is not valid
    public static Shard open(Path file) {
        if (!Files.isRegularFile(file)) {
            throw InputException.in(file, "is missing or not a regular file; download it again");
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            FileTime written = Files.getLastModifiedTime(file);
            return new Shard(file, channel.size(), written, Header.read(file, channel));
        } catch (NoSuchFileException e) {
            throw InputException.in(file, "is missing; download it again");
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    /// The file that is mapped.
    public Path file() {
        return file;
    }

    /// Size of the file in bytes when it was opened.
    public long size() {
        return size;
    }

    /// In bytes, now; 0 when the file is gone.
    long currentSize() {
        try {
            return Files.size(file);
        } catch (IOException _) {
            return 0;
        }
    }

    /// @throws InputException when the file was written to since it was opened
    void requireUnchanged() {
        try {
            if (!Files.getLastModifiedTime(file).equals(written)) {
                throw InputException.in(file, "was changed while it was being read; run again when nothing writes to it");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be examined", e);
        }
    }

    /// What stands before the data.
    public Header header() {
        return header;
    }

    /// By name, in the order of the data.
    public Map<String, TensorInfo> tensors() {
        return header.tensors();
    }

    /// The data of one of this file's tensors, read-only and valid until the shard is closed. Who reads it tells [MappedPages].
    ///
    /// @throws InputException when the file has changed size since its header was read
    public MemorySegment data(TensorInfo tensor) {
        return map().asSlice(tensor.offset(), tensor.bytes());
    }

    private synchronized MemorySegment map() {
        if (mapped == null) {
            try (FileChannel channel = open()) {
                mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
                MappedPages.add(mapped, this);
            } catch (IOException e) {
                throw new UncheckedIOException(file + ": cannot be mapped", e);
            }
        }
        return mapped;
    }

    /// SHA-256 of the first 256 bytes of every tensor, as they were when this was first asked for: other weights under the same names hardly ever begin alike.
    ///
    /// @throws InputException when the file has changed size since its header was read
    public synchronized String startsSha256() {
        // A mapped file that was removed can still be read.
        if (starts == null || Files.exists(file)) {
            try (FileChannel channel = open()) {
                if (starts == null) {
                    starts = startsSha256(channel);
                }
            } catch (IOException e) {
                throw new UncheckedIOException(file + ": cannot be read", e);
            }
        }
        return starts;
    }

    /// Not through the mapping: for each page that is missing there the kernel reads a window of some megabytes, so that of a file of many tensors all would be read.
    private String startsSha256(FileChannel channel) throws IOException {
        Sha256 digest = new Sha256();
        ByteBuffer buffer = ByteBuffer.allocate(START_BYTES);
        for (TensorInfo tensor : tensors().values()) {
            buffer.clear().limit((int) Math.min(START_BYTES, tensor.bytes()));
            while (buffer.hasRemaining()) {
                if (channel.read(buffer, tensor.offset() + buffer.position()) < 0) {
                    throw otherSize(channel);
                }
            }
            digest.add(buffer.flip());
        }
        return digest.hex();
    }

    private FileChannel open() throws IOException {
        FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
        try {
            if (channel.size() != size) {
                throw otherSize(channel);
            }
            return channel;
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    private InputException otherSize(FileChannel channel) throws IOException {
        return InputException.in(file, "changed from " + size + " to " + channel.size() + " bytes while it was being read; run again when nothing writes to it");
    }

    @Override
    public synchronized void close() {
        if (mapped == null) {
            arena.close();
        } else {
            MappedPages.remove(mapped, arena::close);
        }
    }
}
