package ram.layout;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.CharConversionException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import ram.InputException;
import ram.NotJson;

/// The config.json of a model folder.
public record ModelConfig(Path file, ObjectNode json) {
    private static final long MAX_BYTES = 16_000_000;
    private static final ObjectMapper MAPPER = new ObjectMapper(JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            // Python writes and reads Infinity, such as in the time_step_limit of Mamba
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(64).build())
            .build()).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    public ModelConfig {
        Objects.requireNonNull(file);
        Objects.requireNonNull(json);
    }

    /// @throws InputException when the folder has no config.json or it is not a JSON object with a `model_type`
    public static ModelConfig read(Path folder) {
        Path file = folder.resolve("config.json");
        if (!Files.isRegularFile(file)) {
            throw InputException.in(folder, "holds no config.json; give the folder of a Hugging Face model");
        }
        try {
            if (Files.size(file) > MAX_BYTES) {
                throw InputException.in(file, "is over " + MAX_BYTES + " bytes long; it is not a model's config.json");
            }
            JsonNode root = MAPPER.readTree(Files.readAllBytes(file));
            if (!(root instanceof ObjectNode object)) {
                throw InputException.in(file, "is not a JSON object; download it again");
            }
            if (!object.path("model_type").isTextual()) {
                throw InputException.in(file, "has no model_type; add the one that the model's card names");
            }
            if (object.path("model_type").asText().chars().anyMatch(Character::isISOControl)) {
                throw InputException.in(file, "has a model_type with control characters; download it again");
            }
            return new ModelConfig(file, object);
        } catch (MismatchedInputException e) {
            throw new InputException(file + ": goes on after the end of the document; download it again", e);
        } catch (JsonProcessingException | CharConversionException e) {
            throw NotJson.in(file, e, "download it again");
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    /// The `model_type`, never empty.
    public String modelType() {
        return json.path("model_type").asText();
    }
}
