package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import ram.format.Format;
import ram.layout.Kind;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.safetensors.DType;

/// The written documents satisfy the published schemas.
class SchemaTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Set<String> KEYWORDS = Set.of("$schema", "$defs", "$ref", "title", "description", "type", "properties", "required", "additionalProperties", "items", "enum", "const",
            "pattern", "minimum");

    private static JsonNode schema(String name) throws Exception {
        return MAPPER.readTree(Files.readAllBytes(Path.of("docs", "schemas", name + ".schema.json")));
    }

    /// Checks the part of JSON Schema 2020-12 that the two schemas use.
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

    private static List<String> errors(JsonNode schema, JsonNode value) {
        List<String> errors = new ArrayList<>();
        check(schema, schema, value, "", errors);
        return errors;
    }

    @Test
    void writtenDocumentsSatisfyTheSchemas() throws Exception {
        for (Profile p : List.of(Profiles.llama(2, 128, true, 1), Profiles.mixture(2, 128, 4, 2))) {
            JsonNode profile = MAPPER.readTree(ProfileJson.write(p));
            assertEquals(List.of(), errors(schema("profile"), profile));
            for (Policy policy : Policy.values()) {
                PlanRequest request = PlanRequest.defaults().withModes(EnumSet.allOf(Format.Mode.class)).withPolicy(policy, 4, 64);
                Manifest m = Planner.plan(p, policy.isPriced() ? request.withBitsPerWeight(6) : request);
                assertEquals(List.of(), errors(schema("manifest"), MAPPER.readTree(ManifestJson.write(m))));
                Manifest finished = m.withWrittenErrors(Map.of(m.modules().getFirst().path(), 0.01)).withEvaluation(MAPPER.createObjectNode().put("kl", 0.1))
                        .withFiles(List.of(new Manifest.OutputFile("model.safetensors", m.sizes().files(), "00".repeat(32))));
                assertEquals(List.of(), errors(schema("manifest"), MAPPER.readTree(ManifestJson.write(finished))));
            }
        }
    }

    @Test
    void theCheckFindsMistakes() throws Exception {
        ObjectNode profile = (ObjectNode) MAPPER.readTree(ProfileJson.write(Profiles.llama(1, 128, true, 1)));
        ((ObjectNode) profile.withArray("modules").get(0)).put("kind", "unheard");
        assertFalse(errors(schema("profile"), profile).isEmpty());
    }

    @Test
    void schemasListEveryName() throws Exception {
        for (String document : List.of("profile", "manifest")) {
            JsonNode defs = schema(document).get("$defs");
            for (Kind k : Kind.values()) {
                assertEquals(List.of(), errors(defs.get("kind"), MAPPER.getNodeFactory().textNode(k.label())));
            }
            for (DType d : DType.values()) {
                assertEquals(List.of(), errors(defs.get("dtype"), MAPPER.getNodeFactory().textNode(d.name())));
            }
            for (Format f : Format.allAffine()) {
                assertEquals(List.of(), errors(defs.get("format"), MAPPER.getNodeFactory().textNode(f.toString())));
            }
        }
        for (Policy p : Policy.values()) {
            assertEquals(List.of(), errors(schema("manifest").at("/properties/policy"), MAPPER.getNodeFactory().textNode(p.label())));
        }
    }
}
