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
    /// @param fault of the parser, a [JsonProcessingException], or of its decoder
    /// @param remedy what to do
    public static InputException in(Path file, IOException fault, String remedy) {
        return refusal(file + ": is", fault, remedy);
    }

    /// The refusal of a file of which only the header should be JSON.
    ///
    /// @param fault as for [#in]
    public static InputException inHeader(Path file, IOException fault, String remedy) {
        return refusal(file + ": has a header that is", fault, remedy);
    }

    private static InputException refusal(String what, IOException fault, String remedy) {
        return new InputException(what + " not " + (fault instanceof JsonProcessingException json ? "valid JSON (" + where(json) + ")" : "UTF-8 text") + "; " + remedy, fault);
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
