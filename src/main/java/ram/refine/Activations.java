package ram.refine;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import ram.numeric.Background;
import ram.numeric.Workers;
import ram.safetensors.LittleEndian;

/// One array of activations per piece of the text, in memory or in a file.
final class Activations implements AutoCloseable {
    /// Values that are read or written at once.
    private static final int BLOCK = 1 << 18;

    private final long[] offsets;
    private final float[][] held;
    private final Path file;
    private final boolean kept;
    private final FileChannel channel;
    private final Workers workers;
    private Background<Void> writing;
    private final ThreadLocal<MemorySegment> buffer = ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(4L * BLOCK));

    /// @param tokens of each piece
    /// @param width values per token
    /// @param file where they go; null for memory
    Activations(int[] tokens, int width, Path file, Workers workers) {
        this(tokens, width, file, false, workers);
    }

    /// Those in a file that stays, and may be there already.
    static Activations kept(int[] tokens, int width, Path file, Workers workers) {
        return new Activations(tokens, width, file, true, workers);
    }

    private Activations(int[] tokens, int width, Path file, boolean kept, Workers workers) {
        this.workers = workers;
        this.kept = kept;
        this.offsets = new long[tokens.length + 1];
        for (int i = 0; i < tokens.length; i++) {
            offsets[i + 1] = offsets[i] + Math.multiplyExact((long) tokens[i], width);
        }
        this.file = file;
        this.held = file == null ? new float[tokens.length][] : null;
        try {
            this.channel = file == null ? null : FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be created", e);
        }
    }

    /// May be changed by the caller where it is held in memory.
    float[] get(int piece) {
        if (held != null) {
            return held[piece];
        }
        await();
        float[] out = new float[Math.toIntExact(offsets[piece + 1] - offsets[piece])];
        read(out, offsets[piece]);
        return out;
    }

    /// @param values must not be changed afterwards: they are written in the background, one array at a time
    void put(int piece, float[] values) {
        if (values.length != offsets[piece + 1] - offsets[piece]) {
            throw new IllegalArgumentException(values.length + " values for piece " + piece);
        }
        if (held != null) {
            held[piece] = values;
            return;
        }
        await();
        writing = new Background<>(workers.threads(), () -> {
            write(values, offsets[piece]);
            return null;
        });
        writing.begin();
    }

    /// Until what was put is in the file.
    private void await() {
        if (writing != null) {
            writing.get();
            writing = null;
        }
    }

    private void read(float[] values, long offset) {
        workers.forRanges(values.length, BLOCK, (from, to) -> transfer(values, from, to, offset, buffer.get(), true));
    }

    /// By one thread: several that write to a file wait for each other, busily.
    private void write(float[] values, long offset) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment block = arena.allocate(4L * BLOCK);
            for (int from = 0; from < values.length; from += BLOCK) {
                transfer(values, from, Math.min(values.length, from + BLOCK), offset, block, false);
            }
        }
    }

    private void transfer(float[] values, int from, int to, long offset, MemorySegment block, boolean in) {
        try {
            transfer(values, from, block.asSlice(0, 4L * (to - from)), 4 * (offset + from), in);
        } catch (IOException e) {
            throw new UncheckedIOException(file + (in ? ": cannot be read" : ": cannot be written"), e);
        }
    }

    private void transfer(float[] values, int from, MemorySegment segment, long position, boolean in) throws IOException {
        ByteBuffer buffer = segment.asByteBuffer();
        int count = buffer.capacity() / 4;
        if (!in) {
            MemorySegment.copy(values, from, segment, LittleEndian.FLOAT, 0, count);
        }
        while (buffer.hasRemaining()) {
            long at = position + buffer.position();
            int n = in ? channel.read(buffer, at) : channel.write(buffer, at);
            if (n < 0) {
                throw new IOException("it ends too early");
            }
        }
        if (in) {
            MemorySegment.copy(segment, LittleEndian.FLOAT, 0, values, from, count);
        }
    }

    /// Returns when everything is on disk.
    void force() {
        await();
        try {
            channel.force(true);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be written", e);
        }
    }

    @Override
    public void close() {
        if (channel != null) {
            try {
                channel.close();
                if (!kept) {
                    Files.deleteIfExists(file);
                }
            } catch (IOException _) {
                // goes with the folder that it lies in
            }
        }
    }
}
