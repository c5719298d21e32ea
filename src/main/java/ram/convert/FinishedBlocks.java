package ram.convert;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.zip.CRC32C;
import ram.convert.Converter.Measured;
import ram.journal.Journal;

/// Blocks of a conversion that are written, in a journal: where their bytes are, with checksums, and what was measured.
final class FinishedBlocks {
    /// Some bytes of an output file.
    ///
    /// @param file its number
    record Region(int file, long position, long bytes, int crc) {
    }

    /// One block.
    ///
    /// @param measured one per format that it was coded in
    record Finished(List<Region> regions, List<Measured> measured) {
    }

    private final Optional<Journal> journal;
    private final List<Path> files;
    private final List<FileChannel> channels;
    private final Map<Integer, Finished> earlier = new HashMap<>();

    /// @param files the output files in the order of the plan
    /// @param channels the same, open for reading and writing
    FinishedBlocks(Optional<Journal> journal, List<Path> files, List<FileChannel> channels) {
        this.journal = journal;
        this.files = files;
        this.channels = channels;
        journal.ifPresent(j -> j.earlier().forEach(line -> read(line, earlier)));
    }

    /// Bytes that the lines of a journal say are written.
    static long bytes(List<String> lines) {
        Map<Integer, Finished> finished = new HashMap<>();
        lines.forEach(line -> read(line, finished));
        return finished.values().stream().flatMap(f -> f.regions().stream()).mapToLong(Region::bytes).sum();
    }

    static int crc(ByteBuffer data) {
        CRC32C crc = new CRC32C();
        crc.update(data);
        return (int) crc.getValue();
    }

    /// What an earlier run made of a block, if all its bytes are still what they were.
    Optional<Finished> earlier(int block) {
        return Optional.ofNullable(earlier.get(block)).filter(f -> f.regions().stream().allMatch(this::intact));
    }

    private boolean intact(Region region) {
        if (region.file() >= channels.size()) {
            return false;
        }
        try {
            ByteBuffer buffer = ByteBuffer.allocate(Math.toIntExact(region.bytes()));
            while (buffer.hasRemaining()) {
                if (channels.get(region.file()).read(buffer, region.position() + buffer.position()) < 0) {
                    return false;
                }
            }
            return crc(buffer.flip()) == region.crc();
        } catch (IOException _) {
            // What cannot be read is written again, where a failure is reported.
            return false;
        }
    }

    void add(int block, Finished finished) {
        if (journal.isEmpty() || earlier.containsKey(block) && earlier.get(block).equals(finished)) {
            return;
        }
        StringBuilder line = new StringBuilder().append(block);
        Set<Path> unforced = new HashSet<>();
        for (Region r : finished.regions()) {
            append(line, "r", r.file(), r.position(), r.bytes(), r.crc());
            unforced.add(files.get(r.file()));
        }
        for (Measured m : finished.measured()) {
            append(line, "m", Double.doubleToLongBits(m.squaredError()), Double.doubleToLongBits(m.squaredNorm()));
        }
        journal.get().append(line.toString(), unforced);
    }

    // In a loop, because the compiler takes two thirds of a second for one long chain of appended strings.
    private static void append(StringBuilder line, String kind, long... numbers) {
        line.append(' ').append(kind);
        for (long n : numbers) {
            line.append(' ').append(n);
        }
    }

    private static void read(String line, Map<Integer, Finished> out) {
        String[] words = line.split(" ");
        List<Region> regions = new ArrayList<>();
        List<Measured> measured = new ArrayList<>();
        int i = 1;
        while (i < words.length) {
            if (words[i].equals("r")) {
                regions.add(new Region(Integer.parseInt(words[i + 1]), Long.parseLong(words[i + 2]), Long.parseLong(words[i + 3]), Integer.parseInt(words[i + 4])));
                i += 5;
            } else {
                measured.add(new Measured(Double.longBitsToDouble(Long.parseLong(words[i + 1])), Double.longBitsToDouble(Long.parseLong(words[i + 2]))));
                i += 3;
            }
        }
        out.put(Integer.parseInt(words[0]), new Finished(List.copyOf(regions), List.copyOf(measured)));
    }
}
