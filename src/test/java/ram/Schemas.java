package ram;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/// The published schemas, and what is wrong with a document by them.
public final class Schemas {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Set<String> KEYWORDS = Set.of("$schema", "$defs", "$ref", "title", "description", "type", "properties", "required", "additionalProperties", "items", "enum", "const",
            "pattern", "minimum");

    private Schemas() {
    }

    public static JsonNode schema(String name) throws IOException {
        return MAPPER.readTree(Files.readAllBytes(Path.of("docs", "schemas", name + ".schema.json")));
    }

    /// Checks the part of JSON Schema 2020-12 that the schemas use.
    private static void check(JsonNode root, JsonNode schema, JsonNode value, String place, List<String> errors) {
        schema.fieldNames().forEachRemaining(k -> assertEquals(true, KEYWORDS.contains(k), () -> "keyword " + k));
        if (schema.has("$ref")) {
            check(root, root.at(schema.get("$ref").asText().substring(1)), value, place, errors);
            return;
        }
        boolean typed = switch (schema.path("type").asText("any")) {
            case "string" -> value.isTextual();
            case "number" -> value.isNumber();
            case "integer" -> value.isIntegralNumber();
            case "boolean" -> value.isBoolean();
            case "array" -> value.isArray();
            case "object" -> value.isObject();
            default -> true;
        };
        boolean listed = !schema.has("enum") || schema.get("enum").valueStream().anyMatch(value::equals);
        boolean matches = !schema.has("pattern") || value.asText().matches(".*(" + schema.get("pattern").asText() + ").*");
        if (!typed || !listed || !matches || schema.has("const") && !schema.get("const").equals(value)
                || schema.has("minimum") && value.asDouble() < schema.get("minimum").asDouble()) {
            errors.add(place + ": " + value);
            return;
        }
        schema.path("required").forEach(r -> {
            if (!value.has(r.asText())) {
                errors.add(place + "." + r.asText() + " is missing");
            }
        });
        if (value.isObject()) {
            value.properties().forEach(e -> {
                JsonNode own = schema.path("properties").path(e.getKey());
                JsonNode other = schema.path("additionalProperties");
                if (!own.isMissingNode()) {
                    check(root, own, e.getValue(), place + "." + e.getKey(), errors);
                } else if (other.isObject()) {
                    check(root, other, e.getValue(), place + "." + e.getKey(), errors);
                } else if (other.isBoolean() && !other.booleanValue()) {
                    errors.add(place + "." + e.getKey() + " is not allowed");
                }
            });
        }
        if (value.isArray() && schema.has("items")) {
            for (int i = 0; i < value.size(); i++) {
                check(root, schema.get("items"), value.get(i), place + "[" + i + "]", errors);
            }
        }
    }

    public static List<String> errors(JsonNode schema, JsonNode value) {
        List<String> errors = new ArrayList<>();
        check(schema, schema, value, "", errors);
        return errors;
    }
}
