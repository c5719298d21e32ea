package ram;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/// SHA-256 in lower-case hexadecimal digits, of pieces that are added one after the other or of a whole.
public final class Sha256 {
    private static final int BUFFER = 1 << 20;

    private final MessageDigest digest;

    /// Of nothing yet.
    public Sha256() {
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java platform has SHA-256", e);
        }
    }

    /// Adds all of the bytes.
    public Sha256 add(byte[] bytes) {
        digest.update(bytes);
        return this;
    }

    /// Adds what remains in the buffer, and takes it from there.
    public Sha256 add(ByteBuffer bytes) {
        digest.update(bytes);
        return this;
    }

    /// Adds a text in UTF-8.
    public Sha256 add(String text) {
        return add(text.getBytes(StandardCharsets.UTF_8));
    }

    /// Of all that was added; begins anew.
    public String hex() {
        return HexFormat.of().formatHex(digest.digest());
    }

    /// Of a whole file.
    ///
    /// @throws UncheckedIOException when it cannot be read
    public static String of(Path file) {
        try (FileChannel channel = FileChannel.open(file)) {
            Sha256 sha256 = new Sha256();
            ByteBuffer buffer = ByteBuffer.allocate(BUFFER);
            while (channel.read(buffer) >= 0) {
                sha256.add(buffer.flip());
                buffer.clear();
            }
            return sha256.hex();
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }
}
