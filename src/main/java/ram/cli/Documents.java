package ram.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.CharConversionException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Model.CommandSpec;
import ram.InputException;
import ram.NotJson;
import ram.document.JsonDocument;
import ram.document.JsonFields;
import ram.eval.EvalDocuments;

/// Which of the program's documents a file is.
final class Documents {
    private static final long MAX_BYTES = 1_000_000_000;

    private Documents() {
    }

    /// The file's `schema`, empty when it has none.
    ///
    /// @throws InputException when the file is missing or not a JSON object
    static String schema(Path file) {
        require(file);
        try (JsonParser parser = new JsonFactory().createParser(file.toFile())) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw InputException.in(file, "is not a JSON document of this program; give another file");
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                boolean wanted = parser.currentName().equals("schema");
                JsonToken value = parser.nextToken();
                if (wanted) {
                    return value == JsonToken.VALUE_STRING ? parser.getText() : "";
                }
                parser.skipChildren();
            }
            return "";
        } catch (JsonProcessingException | CharConversionException e) {
            throw NotJson.in(file, e, "give another file or create it again");
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    /// @throws InputException when the file is not what `ram eval --json` prints
    static JsonNode evaluation(Path file) {
        if (!schema(file).equals(EvalDocuments.SCHEMA)) {
            throw InputException.in(file, "is not an evaluation; give what ram eval --json printed");
        }
        JsonFields document = JsonDocument.read(file, EvalDocuments.SCHEMA, Map.of());
        // what is missing of the figures counts as not measured, but of which model has to be known
        List<JsonFields> models = document.objects("models");
        models.forEach(m -> m.text("name"));
        if (models.isEmpty()) {
            throw document.wrong("models", "is empty");
        }
        return document.tree();
    }

    /// The manifest that is meant: a file, or that of an output folder.
    ///
    /// @throws InputException when a folder has none
    static Path manifest(Path given) {
        Path file = Files.isDirectory(given) ? given.resolve("manifest.json") : given;
        if (Files.isDirectory(given) && !Files.exists(file)) {
            throw InputException.in(given, Files.exists(given.resolve("family.json")) ? "holds several models, each in a folder of its own; give one of these"
                    : "has no manifest.json; give a folder that ram quantize wrote, or a manifest");
        }
        return file;
    }

    /// Prints a document that is UTF-8 and ends with a line feed.
    static void print(CommandSpec spec, byte[] document) {
        spec.commandLine().getOut().print(new String(document, StandardCharsets.UTF_8));
    }

    private static void require(Path file) {
        if (!Files.isRegularFile(file)) {
            throw InputException.in(file, "does not exist; give the name of a file");
        }
        try {
            if (Files.size(file) > MAX_BYTES) {
                throw InputException.in(file, "is too large for a document of this program");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }
}
