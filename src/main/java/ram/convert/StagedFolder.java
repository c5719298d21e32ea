package ram.convert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import ram.UsageException;

/// An output folder that does not exist under its own name until it is complete.
///
/// Everything is written into a hidden sibling, which [#publish()] renames. [#close()] without a publish removes it, so a failed run leaves nothing;
/// what a killed run leaves is a folder whose name says what it is and that the next run into the same place removes. A lock beside it keeps two runs apart.
public final class StagedFolder implements AutoCloseable {
    private final Path target;
    private final Path staging;
    private final Path lockFile;
    private final boolean replace;
    private final FileChannel lockChannel;
    private final FileLock lock;
    private boolean published;

    private StagedFolder(Path target, boolean replace, FileChannel lockChannel, FileLock lock, Path lockFile) {
        this.target = target;
        this.staging = sibling(target, ".partial");
        this.replace = replace;
        this.lockChannel = lockChannel;
        this.lock = lock;
        this.lockFile = lockFile;
    }

    /// @param replace whether an existing target may be replaced at publication
    /// @throws UsageException when the target exists and may not be replaced, or another run is writing it
    public static StagedFolder create(Path target, boolean replace) {
        Path absolute = target.toAbsolutePath().normalize();
        refuseExisting(target, replace);
        try {
            Files.createDirectories(absolute.getParent());
            Path lockFile = sibling(absolute, ".lock");
            FileChannel channel = FileChannel.open(lockFile, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            FileLock lock = tryLock(channel);
            if (lock == null) {
                channel.close();
                throw new UsageException(target + " is being written by another run; wait for it or choose another output folder");
            }
            StagedFolder folder = new StagedFolder(absolute, replace, channel, lock, lockFile);
            deleteTree(folder.staging);
            Files.createDirectory(folder.staging);
            return folder;
        } catch (IOException e) {
            throw new UncheckedIOException(target + ": cannot be created", e);
        }
    }

    /// @throws UsageException when `target` exists and may not be replaced
    public static void refuseExisting(Path target, boolean replace) {
        if (Files.exists(target, LinkOption.NOFOLLOW_LINKS) && !replace) {
            throw new UsageException(target + " exists already; choose another output folder or give --force to replace it");
        }
        if (replace && Files.exists(target) && !Files.isDirectory(target)) {
            throw new UsageException(target + " is not a folder; choose another output folder");
        }
    }

    private static FileLock tryLock(FileChannel channel) throws IOException {
        try {
            return channel.tryLock();
        } catch (OverlappingFileLockException e) {
            return null;
        }
    }

    private static Path sibling(Path target, String suffix) {
        return target.resolveSibling("." + target.getFileName() + suffix);
    }

    /// The folder to write into.
    public Path path() {
        return staging;
    }

    /// Makes the folder appear under its own name. The data is forced to disk first.
    public void publish() {
        try {
            try (var files = Files.walk(staging)) {
                for (Path file : files.filter(Files::isRegularFile).toList()) {
                    force(file);
                }
            }
            Path old = sibling(target, ".old");
            deleteTree(old);
            if (replace && Files.exists(target)) {
                Files.move(target, old, StandardCopyOption.ATOMIC_MOVE);
            }
            Files.move(staging, target, StandardCopyOption.ATOMIC_MOVE);
            published = true;
            deleteTree(old);
        } catch (IOException e) {
            throw new UncheckedIOException(target + ": cannot be published", e);
        }
    }

    private static void force(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.force(true);
        }
    }

    /// Releases the lock and, when nothing was published, removes what was written.
    @Override
    public void close() {
        try {
            if (!published) {
                deleteTree(staging);
            }
            Files.deleteIfExists(lockFile);
            lock.release();
            lockChannel.close();
        } catch (IOException e) {
            throw new UncheckedIOException(staging + ": cannot be removed", e);
        }
    }

    /// Deletes a folder and its content; symbolic links are removed, not followed.
    static void deleteTree(Path root) throws IOException {
        if (!Files.exists(root, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path folder, IOException failure) throws IOException {
                if (failure != null) {
                    throw failure;
                }
                Files.delete(folder);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}
