package ram.cli;

import java.io.PrintWriter;
import java.io.Writer;
import java.util.Locale;
import java.util.regex.Pattern;

/// What is meant to be one line is one: names of files and tensors may hold line breaks and other characters that a terminal would obey, or a script take for
/// the end of a message. Whole texts, such as help and documents, are printed as they are.
final class Lines extends PrintWriter {
    /// Also those that end a line elsewhere than here, and those that turn the direction of writing.
    private static final Pattern OBEYED = Pattern.compile("[\\p{Cc}\\u2028\\u2029\\u202A-\\u202E\\u2066-\\u2069]");

    Lines(Writer out, boolean autoFlush) {
        super(out, autoFlush);
    }

    @Override
    public void println(String line) {
        super.println(visible(line));
    }

    /// With escapes for what a terminal would obey.
    static String visible(String text) {
        return OBEYED.matcher(text).replaceAll(m -> String.format(Locale.ROOT, "\\\\u%04x", (int) m.group().charAt(0)));
    }
}
