package ram;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.IOException;
import java.nio.file.Path;

/// What is said of a file whose text is not JSON.
public final class NotJson {
    private NotJson() {
    }

    /// The file's refusal: where the text stops being JSON, and why.
    ///
    /// @param is `is`, or `has a header that is`
    /// @param fault of the parser, a [JsonProcessingException], or of its decoder
    /// @param remedy what to do
    public static InputException in(Path file, String is, IOException fault, String remedy) {
        return new InputException(file + ": " + is + " not " + (fault instanceof JsonProcessingException json ? "valid JSON (" + where(json) + ")" : "UTF-8 text") + "; " + remedy, fault);
    }

    private static String where(JsonProcessingException fault) {
        JsonLocation at = fault.getLocation();
        return at == null ? why(fault) : "line " + at.getLineNr() + ", column " + at.getColumnNr() + ": " + why(fault);
    }

    /// Why the text is not JSON, without what the parser adds in its own words: places, and how a programmer would allow it.
    public static String why(JsonProcessingException fault) {
        return fault.getOriginalMessage().lines().findFirst().orElse("").split(" \\(start marker at | at \\[Source| in \\[Source|\\[Source|: enable `", 2)[0].strip();
    }
}
