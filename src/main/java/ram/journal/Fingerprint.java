package ram.journal;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import ram.Sha256;
import ram.layout.Model;
import ram.safetensors.Shard;

/// A digest of all that the steps of a run depend on.
public final class Fingerprint {
    private final Sha256 digest = new Sha256();

    private Fingerprint() {
    }

    /// Of a model: its configuration, and name, size, time of the last change, header and the first bytes of every tensor of its files.
    ///
    /// @param kind what the run does
    /// @param toolVersion which program does it
    public static Fingerprint of(String kind, String toolVersion, Model model) {
        Fingerprint f = new Fingerprint().add(kind).add(toolVersion);
        Path config = model.checkpoint().folder().resolve("config.json");
        try {
            f.add(Files.readAllBytes(config));
        } catch (IOException e) {
            throw new UncheckedIOException(config + ": cannot be read", e);
        }
        for (Shard shard : model.checkpoint().shards()) {
            f.add(shard.file().getFileName() + " " + shard.size() + " " + modified(shard.file())).add(shard.header().json());
            f.add(shard.startsSha256());
        }
        return f;
    }

    private static long modified(Path file) {
        try {
            return Files.getLastModifiedTime(file).toMillis();
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    /// Adds a text in UTF-8; see [#add(byte\[\])].
    public Fingerprint add(String text) {
        return add(text.getBytes(StandardCharsets.UTF_8));
    }

    /// Adds bytes with their length, so that no two sequences of additions are alike.
    public Fingerprint add(byte[] bytes) {
        digest.add(bytes.length + ":").add(bytes);
        return this;
    }

    /// Ends the digest.
    ///
    /// @return one line
    public String line() {
        return "ram.journal/1 " + digest.hex();
    }
}
