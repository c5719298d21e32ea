package ram.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;
import ram.UsageException;
import ram.convert.Disk;
import ram.convert.OutputFolder;

/// Single output files: written beside their place, forced to disk and renamed, so that no half-written one is ever found there.
final class OutputFiles {
    private OutputFiles() {
    }

    /// @param inputs files that the command reads; null for none
    /// @throws UsageException when the file exists and may not be replaced; inputs and files of a model never may
    static void refuseExisting(Path file, boolean force, Path... inputs) {
        if (file.toString().isEmpty()) {
            throw new UsageException("the name of the output is empty; give one");
        }
        if (Files.isDirectory(file)) {
            throw new UsageException(file + " is a folder; give the name of a file");
        }
        if (!Files.exists(file)) {
            if (Files.isSymbolicLink(file)) {
                throw new UsageException(file + " is a link to a file that does not exist; choose another name");
            }
            return;
        }
        if (isSpecial(file)) {
            return;
        }
        if (!force) {
            throw new UsageException(file + " exists already; choose another name or give --force to replace it");
        }
        String name = file.toAbsolutePath().getFileName().toString();
        if (Files.exists(file.toAbsolutePath().resolveSibling("config.json")) && (OutputFolder.isModelFile(name) || name.equals("manifest.json"))) {
            throw new UsageException(file + " has the name of a model's file, which is never replaced; choose another name");
        }
        try {
            for (Path input : inputs) {
                if (input != null && Files.exists(input) && Files.isSameFile(file, input)) {
                    throw new UsageException(file + " is an input; choose another name");
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be examined", e);
        }
    }

    /// Where the journal of the steps towards a file belongs.
    static Path journal(Path file) {
        Path target = file.toAbsolutePath().normalize();
        return target.resolveSibling("." + target.getFileName() + ".partial");
    }

    /// Whether something is there that is written into, not replaced: a device, a pipe, standard output.
    static boolean isSpecial(Path file) {
        return Files.exists(file) && !Files.isRegularFile(file) && !Files.isDirectory(file);
    }

    /// Two runs may write one file at once; it is then the whole of one of them. It outlasts a computer that stops once this returns, so that a journal may go.
    static void write(Path file, byte[] content) {
        if (isSpecial(file)) {
            writeInto(file, content);
            return;
        }
        Path target = followed(file.toAbsolutePath());
        Path partial = target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID() + ".new");
        try {
            Files.createDirectories(target.getParent());
            Files.write(partial, content);
            Disk.force(partial);
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
            Disk.forceNames(target.getParent());
        } catch (IOException e) {
            try {
                Files.deleteIfExists(partial);
            } catch (IOException suppressed) {
                e.addSuppressed(suppressed);
            }
            throw new UncheckedIOException(file + ": cannot be written", e);
        }
    }

    /// Where a link leads, so that it stays one.
    private static Path followed(Path file) {
        try {
            return Files.isSymbolicLink(file) ? file.toRealPath() : file;
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be written", e);
        }
    }

    private static void writeInto(Path file, byte[] content) {
        try (OutputStream out = Files.newOutputStream(file, StandardOpenOption.WRITE)) {
            out.write(content);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be written", e);
        }
    }
}
