package ram.journal;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.zip.CRC32C;
import ram.UsageException;

/// The finished steps of a long run, one line each, so that the same run goes on where it was stopped, however it was stopped.
///
/// The first line says what the steps depend on. Each line carries a checksum; from the first one that is torn on, nothing counts.
/// Lines are written about once a second by a thread of their own, after the data that they speak of has been forced to disk.
/// A journal that cannot be written costs nothing but the possibility to resume, so that is no failure of the run.
public final class Journal implements AutoCloseable {
    private static final long INTERVAL_MILLIS = 1000;
    private static final int CHECKSUM_DIGITS = 8;
    /// Bytes that a first line is looked for in.
    private static final int FIRST_LINE = 1 << 20;
    /// Far more than the steps of any model take; more could not be held in memory.
    private static final long MAX_BYTES = 1_000_000_000;

    private final Path file;
    private final FileChannel channel;
    private final boolean startedOver;
    private final Thread writer = new Thread(this::run, "ram-journal");
    // Guarded by this.
    private List<String> earlier = List.of();
    private List<String> waiting = new ArrayList<>();
    private Set<Path> unforced = new LinkedHashSet<>();
    private boolean closing;
    private boolean broken;
    private boolean holdsSteps;

    private Journal(Path file, FileChannel channel, String fingerprint) throws IOException {
        this.file = file;
        this.channel = channel;
        if (channel.size() > MAX_BYTES) {
            throw new UsageException(file + " is too large for a resume file of ram; remove it or give --fresh");
        }
        boolean filled = channel.size() > 0;
        byte[] content = content(channel);
        requireJournal(file, content);
        List<String> lines = new ArrayList<>();
        long whole = read(content, lines);
        channel.truncate(whole).position(whole);
        startedOver = filled && (lines.isEmpty() || !lines.getFirst().equals(fingerprint));
        if (lines.isEmpty() || startedOver) {
            channel.truncate(0);
            write(line(fingerprint));
        } else {
            earlier = List.copyOf(lines.subList(1, lines.size()));
            holdsSteps = !earlier.isEmpty();
        }
        writer.setDaemon(true);
        writer.start();
    }

    /// @param fingerprint one line that names all that the steps depend on; what was recorded under another one is dropped
    /// @throws UsageException when another run holds this journal, or the file is something else or too large
    public static Journal open(Path file, String fingerprint) {
        try {
            Files.createDirectories(file.toAbsolutePath().getParent());
            FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
            try {
                if (!locked(channel)) {
                    throw new UsageException(file + " is in use by another run; wait for it or choose another output");
                }
                return new Journal(file, channel, fingerprint);
            } catch (IOException | RuntimeException e) {
                channel.close();
                throw e;
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be written", e);
        }
    }

    /// Removes what an earlier run left; nothing when there is nothing.
    ///
    /// @throws UsageException when the file is something else
    public static void remove(Path file) {
        try {
            if (!Files.exists(file)) {
                return;
            }
            byte[] start;
            try (InputStream in = Files.newInputStream(file)) {
                start = in.readNBytes(FIRST_LINE);
            }
            requireJournal(file, start);
            Files.delete(file);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be removed", e);
        }
    }

    private static void requireJournal(Path file, byte[] content) {
        if (!isJournal(content)) {
            throw new UsageException(file + " is not a resume file of ram, so it was not touched; choose another name");
        }
    }

    /// Whether a file's first line is one of a journal, or was to become one.
    private static boolean isJournal(byte[] content) {
        int end = 0;
        while (end < content.length && content[end] != '\n') {
            end++;
        }
        String text = new String(content, 0, end, StandardCharsets.UTF_8);
        // a computer that stopped may leave a part of it, or zeros in place of what was not on disk yet
        return isLine(text) || end == content.length && text.matches("[0-9a-f]{0," + CHECKSUM_DIGITS + "}( .*)?") || content[0] == 0;
    }

    private static boolean locked(FileChannel channel) throws IOException {
        try {
            return channel.tryLock() != null;
        } catch (OverlappingFileLockException e) {
            return false;
        }
    }

    private static byte[] content(FileChannel channel) throws IOException {
        byte[] bytes = new byte[Math.toIntExact(channel.size())];
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        while (buffer.hasRemaining() && channel.read(buffer, buffer.position()) > 0) {
            // until everything is there
        }
        return bytes;
    }

    /// Reads up to the first torn line.
    ///
    /// @param lines receives the others
    /// @return how many bytes those take
    private static int read(byte[] bytes, List<String> lines) {
        int begin = 0;
        for (int i = 0; i < bytes.length; i++) {
            if (bytes[i] == '\n') {
                String text = new String(bytes, begin, i - begin, StandardCharsets.UTF_8);
                if (!isLine(text)) {
                    break;
                }
                lines.add(text.substring(CHECKSUM_DIGITS + 1));
                begin = i + 1;
            }
        }
        return begin;
    }

    private static boolean isLine(String text) {
        return text.length() > CHECKSUM_DIGITS && (text + "\n").equals(line(text.substring(CHECKSUM_DIGITS + 1)));
    }

    private static String line(String text) {
        CRC32C crc = new CRC32C();
        crc.update(text.getBytes(StandardCharsets.UTF_8));
        return HexFormat.of().toHexDigits((int) crc.getValue()) + " " + text + "\n";
    }

    private void write(String text) throws IOException {
        ByteBuffer buffer = ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
        while (buffer.hasRemaining()) {
            channel.write(buffer);
        }
    }

    /// Whether there were steps of another source, of other options or of another version, which have been dropped.
    public boolean startedOver() {
        return startedOver;
    }

    /// The steps that earlier runs finished, in the order in which they were recorded.
    public synchronized List<String> earlier() {
        return earlier;
    }

    /// Whether a run that opens this file again finds a finished step in it; what was recorded last counts once the journal is closed.
    public synchronized boolean holdsSteps() {
        return holdsSteps;
    }

    /// Records a finished step. Returns at once.
    ///
    /// @param step no line breaks
    /// @param files what is to be forced to disk before the step counts as finished
    public synchronized void append(String step, Set<Path> files) {
        if (!broken) {
            waiting.add(step);
            unforced.addAll(files);
        }
    }

    private void run() {
        boolean last = false;
        while (!last) {
            List<String> lines;
            Set<Path> files;
            synchronized (this) {
                long end = System.nanoTime() + INTERVAL_MILLIS * 1_000_000;
                for (long left = INTERVAL_MILLIS; !closing && left > 0; left = (end - System.nanoTime()) / 1_000_000) {
                    try {
                        wait(left);
                    } catch (InterruptedException _) {
                        // Nobody interrupts this thread; if someone does, lines are written a little earlier.
                        break;
                    }
                }
                last = closing;
                lines = waiting;
                files = unforced;
                waiting = new ArrayList<>();
                unforced = new LinkedHashSet<>();
            }
            try {
                flush(lines, files);
            } catch (IOException _) {
                // The run itself will find out whether the disk is unusable; without its lines it only cannot be resumed.
                synchronized (this) {
                    broken = true;
                    waiting.clear();
                    unforced.clear();
                }
                return;
            }
        }
    }

    private void flush(List<String> lines, Set<Path> files) throws IOException {
        if (lines.isEmpty()) {
            return;
        }
        for (Path data : files) {
            try (FileChannel written = FileChannel.open(data, StandardOpenOption.WRITE)) {
                written.force(false);
            }
        }
        StringBuilder text = new StringBuilder();
        lines.forEach(l -> text.append(line(l)));
        write(text.toString());
        channel.force(false);
        synchronized (this) {
            holdsSteps = true;
        }
    }

    /// Writes what is waiting and keeps the file.
    @Override
    public void close() {
        synchronized (this) {
            closing = true;
            notifyAll();
        }
        boolean interrupted = false;
        while (writer.isAlive()) {
            try {
                writer.join();
            } catch (InterruptedException _) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        try {
            channel.close();
        } catch (IOException _) {
            // Everything that counts was forced before.
        }
    }

    /// Removes the file: the run is complete, or what it left is of no use. To be called before [#close()].
    public void delete() {
        try {
            Files.deleteIfExists(file);
            synchronized (this) {
                holdsSteps = false;
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be removed", e);
        }
    }
}
