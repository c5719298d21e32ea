package ram;

import java.nio.file.Path;
import java.util.List;

/// The input cannot be used: corrupt, truncated, non-finite or unsupported.
/// The message is one sentence that names the file, the tensor where there is one, and what to do.
public final class InputException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /// @param message one sentence that names the file or tensor and the remedy
    public InputException(String message) {
        super(message);
    }

    /// @param cause shown with `-vv` only
    public InputException(String message, Throwable cause) {
        super(message, cause);
    }

    /// The first of some problems, and how many more there are.
    ///
    /// @param others what is said of these, to be read after their number; may be empty
    public static String firstOf(List<String> problems, String others) {
        return problems.getFirst() + (problems.size() > 1 ? " (and " + (problems.size() - 1) + " more" + others + ")" : "");
    }

    /// @param file the file that is at fault; its path opens the message
    public static InputException in(Path file, String what) {
        return new InputException(file + ": " + what);
    }
}
