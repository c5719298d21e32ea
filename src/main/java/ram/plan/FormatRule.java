package ram.plan;

import java.util.List;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import ram.UsageException;
import ram.format.Format;

/// A wish of the user for the modules whose path a pattern is found in. Of several that match, the last one counts.
///
/// @param option how it was written, for messages
public record FormatRule(String option, Pattern pattern, Format format) {
    /// `--keep REGEX`: stay dense.
    ///
    /// @throws UsageException when the pattern is not a regular expression
    public static FormatRule keep(String regex) {
        return new FormatRule("--keep '" + regex + "'", compile("--keep", regex), Format.DENSE);
    }

    /// `--set REGEX=FORMAT`, such as `embed=8:64`.
    ///
    /// @throws UsageException when the text has not this form
    public static FormatRule set(String text) {
        int split = text.lastIndexOf('=');
        if (split <= 0) {
            throw new UsageException("--set: '" + text + "' is not REGEX=FORMAT, such as 'embed_tokens=8:64'");
        }
        try {
            return new FormatRule("--set '" + text + "'", compile("--set", text.substring(0, split)), Format.parse(text.substring(split + 1)));
        } catch (IllegalArgumentException e) {
            throw new UsageException("--set: " + e.getMessage());
        }
    }

    /// Reads what [#option] says.
    ///
    /// @throws IllegalArgumentException for anything else
    static FormatRule ofOption(String text) {
        if (text.startsWith("--keep '") && text.endsWith("'")) {
            return keep(text.substring("--keep '".length(), text.length() - 1));
        }
        if (text.startsWith("--set '") && text.endsWith("'")) {
            return set(text.substring("--set '".length(), text.length() - 1));
        }
        throw new IllegalArgumentException(text);
    }

    /// The words that give it on a command line, not quoted.
    List<String> arguments() {
        int quote = option.indexOf('\'');
        return List.of(option.substring(0, quote - 1), option.substring(quote + 1, option.length() - 1));
    }

    /// Patterns have no equality of their own; the option says all.
    @Override
    public boolean equals(Object o) {
        return o instanceof FormatRule r && option.equals(r.option);
    }

    @Override
    public int hashCode() {
        return option.hashCode();
    }

    private static Pattern compile(String option, String regex) {
        try {
            return Pattern.compile(regex);
        } catch (PatternSyntaxException e) {
            throw new UsageException(option + ": '" + regex + "' is not a regular expression: " + e.getDescription());
        }
    }

    boolean matches(String path) {
        return pattern.matcher(path).find();
    }
}
