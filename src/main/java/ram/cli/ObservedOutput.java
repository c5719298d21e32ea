package ram.cli;

import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Optional;

/// Remembers the first failure of a stream, which writers above it only note.
final class ObservedOutput extends FilterOutputStream {
    private IOException failure;

    ObservedOutput(OutputStream out) {
        super(out);
    }

    /// What went wrong, unless the reader of a pipe had seen enough.
    Optional<IOException> failure() {
        return Optional.ofNullable(failure).filter(e -> !String.valueOf(e.getMessage()).contains("Broken pipe"));
    }

    @Override
    public void write(int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int from, int count) throws IOException {
        try {
            out.write(bytes, from, count);
        } catch (IOException e) {
            failure = failure == null ? e : failure;
            throw e;
        }
    }
}
