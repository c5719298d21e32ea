package ram.cli;

import ram.plan.ByteSize;

/// A size given on the command line, such as `16GB`.
///
/// @param text as it was written, without spaces
record Size(long bytes, String text) {
    /// @throws IllegalArgumentException when it is no size
    static Size parse(String text) {
        return new Size(ByteSize.parse(text), text.replaceAll("\\s", ""));
    }
}
