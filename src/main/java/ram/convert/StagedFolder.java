package ram.convert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ram.UsageException;

/// An output folder that does not exist under its own name until it is complete.
///
/// Everything is written into a hidden sibling `.OUT.partial`: the output itself in a folder within it, which [#publish()] renames, and journals of what is
/// finished, and parts of it, beside that. What a run leaves that was killed, interrupted or ran out of space is taken up by the next run into the same place;
/// [#discard()] removes it. A lock keeps two runs apart.
public final class StagedFolder implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(StagedFolder.class);
    private static final String OUTPUT = "out";
    private static final String REPLACED = "replaced";
    /// What is in the hidden folder: the output, the one that it replaces, folders of refined modules, a second output to compare with, and its own siblings.
    private static final Pattern OWN_FOLDERS = Pattern.compile(OUTPUT + "|" + REPLACED + "|refine-\\d+|again|\\.again\\.partial");
    private static final Pattern OWN_FILES = Pattern.compile("(analyze|write)\\.journal|\\.again\\.lock");

    private final Path target;
    private final Path staging;
    private final Path output;
    private final boolean replace;
    private final OutputLock lock;
    private boolean remove;
    private boolean published;

    private StagedFolder(Path target, boolean replace, OutputLock lock) {
        this.target = target;
        this.staging = sibling(target, ".partial");
        this.output = staging.resolve(OUTPUT);
        this.replace = replace;
        this.lock = lock;
    }

    /// @param replace whether an existing target may be replaced at publication
    /// @param fresh whether what an earlier run left is removed
    /// @throws UsageException when the target exists and may not be replaced, another run is writing it, or what has the name of the hidden folder or of the lock is
    /// something else
    public static StagedFolder open(Path target, boolean replace, boolean fresh) {
        refuseExisting(target, replace);
        Path absolute = behindLink(target);
        try {
            Files.createDirectories(absolute.getParent());
            OutputLock lock = OutputLock.take(sibling(absolute, ".lock"), target);
            StagedFolder folder = new StagedFolder(absolute, replace, lock);
            try {
                requireOwn(folder.staging);
            } catch (IOException | RuntimeException e) {
                folder.close();
                throw e;
            }
            try {
                if (fresh) {
                    deleteTree(folder.staging);
                }
                Files.createDirectories(folder.output);
                refuseExisting(target, replace);
                return folder;
            } catch (IOException | RuntimeException e) {
                folder.remove = e instanceof UsageException;
                folder.close();
                throw e;
            }
        } catch (IOException e) {
            throw new UncheckedIOException(target + ": cannot be created", e);
        }
    }

    /// @throws UsageException when `target` exists and may not be replaced
    public static void refuseExisting(Path target, boolean replace) {
        if (target.toString().isEmpty()) {
            throw new UsageException("the name of the output folder is empty; give one");
        }
        if (Files.exists(target, LinkOption.NOFOLLOW_LINKS) && !replace) {
            throw new UsageException(target + " exists already; choose another output folder or give --force to replace it");
        }
        if (replace && Files.exists(target) && !Files.isDirectory(target)) {
            throw new UsageException(target + " is not a folder; choose another output folder");
        }
        if (Files.isSymbolicLink(target) && !Files.exists(target)) {
            throw new UsageException(target + " is a link that leads nowhere; choose another output folder or remove the link");
        }
        if (replace && Files.isDirectory(target)) {
            requireMovable(target);
            OwnOutput.objection(target).ifPresent(why -> {
                throw new UsageException(target + " " + why + ", so --force does not replace it; choose another output folder, or remove it by hand");
            });
        }
    }

    /// A folder is replaced by renaming, which neither the root of a file system nor the folder that a shell is in should see.
    private static void requireMovable(Path target) {
        try {
            Path real = target.toRealPath();
            if (Path.of("").toRealPath().startsWith(real)) {
                throw new UsageException(target + " is the working directory or contains it; choose another output folder");
            }
            if (real.getParent() == null || !Files.getFileStore(real).equals(Files.getFileStore(real.getParent()))) {
                throw new UsageException(target + " is where a file system is mounted, so it cannot be replaced; choose a folder within it");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(target + ": cannot be examined", e);
        }
    }

    /// What is replaced is what a link leads to: the link stays.
    private static Path behindLink(Path target) {
        try {
            return Files.isSymbolicLink(target) ? target.toRealPath() : target.toAbsolutePath().normalize();
        } catch (IOException e) {
            throw new UncheckedIOException(target + ": cannot be examined", e);
        }
    }

    /// @param inputs files and folders that are read
    /// @throws UsageException when replacing `target` would remove one of them
    public static void refuseInputs(Path target, List<Path> inputs) {
        if (!Files.exists(target)) {
            return;
        }
        try {
            Path real = target.toRealPath();
            for (Path input : inputs) {
                if (Files.exists(input) && input.toRealPath().startsWith(real)) {
                    throw new UsageException(target + (Files.isSameFile(target, input) ? " is itself an input" : " contains the input " + input) + "; choose another output folder");
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(target + ": cannot be examined", e);
        }
    }

    private static void requireOwn(Path staging) throws IOException {
        Optional<String> objection = objection(staging);
        if (objection.isPresent()) {
            throw new UsageException(staging + " " + objection.get() + ", so it was not touched; choose another output folder or remove it");
        }
    }

    /// Why what has the name of the hidden folder was not left by an earlier run, in words that follow its name; nothing when there is none, or it is empty.
    private static Optional<String> objection(Path staging) throws IOException {
        if (!Files.exists(staging, LinkOption.NOFOLLOW_LINKS)) {
            return Optional.empty();
        }
        if (!Files.isDirectory(staging, LinkOption.NOFOLLOW_LINKS)) {
            return Optional.of("is not a folder of ram");
        }
        try (Stream<Path> entries = Files.list(staging)) {
            return entries.filter(e -> !isOwn(e)).map(e -> e.getFileName().toString()).sorted().findFirst().map(name -> "holds " + name + ", which is not of ram");
        }
    }

    private static boolean isOwn(Path entry) {
        String name = entry.getFileName().toString();
        return SystemFiles.contain(name) || OWN_FOLDERS.matcher(name).matches() && Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS)
                || OWN_FILES.matcher(name).matches() && Files.isRegularFile(entry, LinkOption.NOFOLLOW_LINKS);
    }

    /// Whether an earlier run into this place was stopped and left something to go on with.
    public static boolean resumable(Path target) {
        Path staging = sibling(behindLink(target), ".partial");
        try {
            return Files.isDirectory(staging, LinkOption.NOFOLLOW_LINKS) && objection(staging).isEmpty();
        } catch (IOException e) {
            throw new UncheckedIOException(staging + ": cannot be examined", e);
        }
    }

    private static Path sibling(Path target, String suffix) {
        return target.resolveSibling("." + target.getFileName() + suffix);
    }

    /// The folder to write into. It may hold what an earlier run wrote.
    public Path path() {
        return output;
    }

    /// Where a journal or other work in progress of this name belongs: beside what is written, not published.
    ///
    /// @throws IllegalArgumentException when the next run would take it for something that is not of this program, or for the folder to write into
    public Path beside(String name) {
        Path file = staging.resolve(name);
        if (file.equals(output) || !OWN_FOLDERS.matcher(name).matches() && !OWN_FILES.matcher(name).matches()) {
            throw new IllegalArgumentException(name);
        }
        return file;
    }

    /// Removes from the folder to write into all files but these, and folders without any of them.
    ///
    /// @param kept relative to the folder
    public void keepOnly(Set<Path> kept) {
        try (var files = Files.walk(output)) {
            Set<Path> needed = new HashSet<>(Set.of(output));
            for (Path file : kept) {
                for (Path p = output.resolve(file); needed.add(p); ) {
                    p = p.getParent();
                }
            }
            // what is in a folder before the folder
            for (Path file : files.filter(f -> !needed.contains(f)).sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(output + ": what an earlier run left cannot be removed", e);
        }
    }

    /// Makes [#close()] remove what was written: nothing of it is of use.
    public void discard() {
        remove = true;
    }

    /// Makes the folder appear under its own name. The data is forced to disk first.
    public void publish() {
        try {
            try (var files = Files.walk(output)) {
                for (Path file : files.toList()) {
                    if (Files.isRegularFile(file)) {
                        Disk.force(file);
                    } else {
                        Disk.forceNames(file);
                    }
                }
            }
            Path old = staging.resolve(REPLACED);
            deleteTree(old);
            boolean replaces = replace && Files.exists(target);
            if (replaces) {
                Files.move(target, old, StandardCopyOption.ATOMIC_MOVE);
            }
            try {
                Files.move(output, target, StandardCopyOption.ATOMIC_MOVE);
            } catch (IOException e) {
                if (replaces) {
                    Files.move(old, target, StandardCopyOption.ATOMIC_MOVE);
                }
                throw e;
            }
            // before what it replaces, and the journals, are removed
            Disk.forceNames(target.getParent());
            published = true;
        } catch (IOException e) {
            throw new UncheckedIOException(target + ": cannot be published", e);
        }
    }

    /// The output is complete, so what cannot be removed beside it is no failure.
    private void cleanUp(Path left) {
        try {
            deleteTree(left);
        } catch (IOException e) {
            LOG.warn("{} is complete, but {} cannot be removed ({}); remove it by hand", target, left, e.getMessage());
        }
    }

    /// Releases the lock. What was not published stays for the next run, unless it was discarded.
    @Override
    public void close() {
        try (lock) {
            if (published) {
                cleanUp(staging);
                cleanUp(lock.file());
            } else {
                if (remove) {
                    deleteTree(staging);
                }
                Files.deleteIfExists(lock.file());
            }
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
