package ram.convert;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Optional;
import java.util.UUID;
import ram.UsageException;

/// Keeps two runs apart that would write the same output, in one process or in several: a file beside it, which is locked as long as this is open.
final class OutputLock implements AutoCloseable {
    private static final int TOKEN = 36;

    private final Path file;
    private final FileChannel channel;
    private final FileLock lock;
    private final FileChannel witness;

    private OutputLock(Path file, FileChannel channel, FileLock lock, FileChannel witness) {
        this.file = file;
        this.channel = channel;
        this.lock = lock;
        this.witness = witness;
    }

    /// @param file beside the output; it is created where it is missing
    /// @param output for messages
    /// @throws UsageException when another run has the lock, or what has the name of the file is something else
    static OutputLock take(Path file, Path output) throws IOException {
        while (true) {
            requireLockFile(file);
            FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
            try {
                requireToken(file, channel);
                FileLock lock = tryLock(channel);
                if (lock == null) {
                    throw new UsageException(output + " is being written by another run; wait for it or choose another output folder");
                }
                Optional<FileChannel> witness = witness(file, channel);
                if (witness.isPresent()) {
                    return new OutputLock(file, channel, lock, witness.get());
                }
            } catch (IOException | RuntimeException e) {
                channel.close();
                throw e;
            }
            // The run that held the lock has ended and removed the file in between.
            channel.close();
        }
    }

    /// Refuses before it is opened what would block, be followed, or lose its content.
    private static void requireLockFile(Path file) throws IOException {
        try {
            BasicFileAttributes found = Files.readAttributes(file, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
            if (!found.isRegularFile() || found.size() != 0 && found.size() != TOKEN) {
                throw notALock(file);
            }
        } catch (NoSuchFileException _) {
            // It is to be created.
        }
    }

    /// Reads through the channel that is there: to close another one would give up a lock that another thread of this process holds.
    private static void requireToken(Path file, FileChannel channel) throws IOException {
        ByteBuffer content = ByteBuffer.allocate(TOKEN + 1);
        channel.read(content, 0);
        String text = StandardCharsets.ISO_8859_1.decode(content.flip()).toString();
        if (!text.isEmpty() && !text.matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")) {
            throw notALock(file);
        }
    }

    private static UsageException notALock(Path file) {
        return new UsageException(file + " is not a lock of ram, so it was not touched; choose another output folder or remove it");
    }

    /// Null when the lock is held already, by this process or by another.
    private static FileLock tryLock(FileChannel channel) throws IOException {
        try {
            return channel.tryLock();
        } catch (OverlappingFileLockException e) {
            return null;
        }
    }

    /// Opens the file of that name if it still is the locked one, shown by something written into that. To be closed no sooner than the lock is given up:
    /// on Unix a process loses its locks on a file as soon as it closes any channel to it.
    private static Optional<FileChannel> witness(Path file, FileChannel locked) throws IOException {
        ByteBuffer token = ByteBuffer.wrap(UUID.randomUUID().toString().getBytes(StandardCharsets.US_ASCII));
        locked.truncate(0).write(token.duplicate(), 0);
        FileChannel witness;
        try {
            witness = FileChannel.open(file);
        } catch (NoSuchFileException _) {
            return Optional.empty();
        }
        ByteBuffer found = ByteBuffer.allocate(token.capacity());
        witness.read(found, 0);
        if (found.flip().equals(token)) {
            return Optional.of(witness);
        }
        witness.close();
        return Optional.empty();
    }

    /// To be removed while it is locked: another run that opens the file before and locks it after sees that it is gone.
    Path file() {
        return file;
    }

    /// Gives up the lock; the file stays.
    @Override
    public void close() throws IOException {
        // closed in the opposite order: the lock is given up before the witness goes
        try (FileChannel _ = channel; FileChannel _ = witness; FileLock _ = lock) {
            // nothing more to do
        }
    }
}
