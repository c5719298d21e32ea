package ram.convert;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/// Sees to it that what was written outlasts a computer that stops.
public final class Disk {
    private Disk() {
    }

    /// Forces a regular file's content to disk.
    public static void force(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.force(true);
        }
    }

    /// Forces the names in a folder to disk, where the system can do that.
    public static void forceNames(Path folder) {
        try (FileChannel channel = FileChannel.open(folder)) {
            channel.force(true);
        } catch (IOException _) {
            // Not every system opens folders or forces them; the content of the files is safe all the same.
        }
    }
}
