package ram.document;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.CharConversionException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.function.Function;
import ram.InputException;
import ram.NotJson;
import ram.layout.Architecture;
import ram.layout.Kind;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// What the program's documents have in common: strict parsing, deterministic writing, and the parts that stand in several.
public final class JsonDocument {
    private static final int MAX_DEPTH = 32;
    private static final ObjectMapper MAPPER = new ObjectMapper(JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).maxStringLength(1 << 20).maxNumberLength(64).build())
            .build());

    private JsonDocument() {
    }

    /// Reads the document's object and checks its `schema`.
    ///
    /// @param others schemas that are taken for this one, each with what to say of the file then
    /// @throws InputException when it is not JSON or of another schema
    public static JsonFields read(Path file, String schema, Map<String, String> others) {
        if (!Files.isRegularFile(file)) {
            throw InputException.in(file, Files.exists(file.resolve("config.json")) ? "is a model's folder; give what ram analyze wrote, or run it first"
                    : Files.exists(file) ? "is not a regular file; give the name of one" : "does not exist; give the name of a file");
        }
        try (InputStream in = Files.newInputStream(file); JsonParser parser = MAPPER.createParser(in)) {
            JsonNode root = parser.nextToken() == JsonToken.START_OBJECT ? parser.readValueAsTree() : null;
            JsonFields fields = new JsonFields(file, "", root);
            if (parser.nextToken() != null) {
                throw InputException.in(file, "goes on after the end of the document; create the file again");
            }
            if (!fields.has("schema")) {
                throw InputException.in(file, "is no document of ram, as it names no schema, where " + schema + " is needed; give the right file");
            }
            String found = fields.text("schema");
            if (!found.equals(schema)) {
                throw InputException.in(file, others.getOrDefault(found, "has the schema '" + found + "', but " + schema + " is needed; give the right file or create it again with this version"));
            }
            return fields;
        } catch (JsonProcessingException | CharConversionException e) {
            throw NotJson.in(file, e, "create the file again");
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    /// A generator with two spaces of indentation, lists on one line, and line feeds.
    public static JsonGenerator generator(OutputStream out) throws IOException {
        DefaultPrettyPrinter printer = new DefaultPrettyPrinter().withObjectIndenter(new DefaultIndenter("  ", "\n"));
        return MAPPER.createGenerator(out).setPrettyPrinter(printer).disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET);
    }

    /// A small document, with a line feed at its end.
    public static byte[] bytes(ObjectNode root) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (JsonGenerator json = generator(out)) {
            json.writeTree(root);
            json.writeRaw('\n');
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return out.toByteArray();
    }

    /// An empty object.
    public static ObjectNode object() {
        return MAPPER.createObjectNode();
    }

    /// An empty array.
    public static ArrayNode array() {
        return MAPPER.createArrayNode();
    }

    /// An array of texts.
    public static ArrayNode texts(List<String> values) {
        ArrayNode out = array();
        values.forEach(out::add);
        return out;
    }

    /// A shape as an array of its sizes.
    public static ArrayNode shape(Shape shape) {
        ArrayNode out = array();
        shape.dims().forEach(out::add);
        return out;
    }

    /// An object with a text for each key.
    public static ObjectNode textMap(SortedMap<String, String> values) {
        ObjectNode out = object();
        values.forEach(out::put);
        return out;
    }

    /// An object with a number for each key.
    public static ObjectNode numberMap(SortedMap<String, Double> values) {
        ObjectNode out = object();
        values.forEach(out::put);
        return out;
    }

    /// The architecture of a model.
    public static ObjectNode architecture(Architecture a) {
        return object().put("model_type", a.modelType()).put("family", a.family()).put("known", a.known()).put("structure", a.structure().label())
                .put("tied", a.tied()).set("assumptions", texts(a.assumptions()));
    }

    /// Reads what [#architecture] wrote.
    ///
    /// @throws InputException when it is not that
    public static Architecture readArchitecture(JsonFields document) {
        JsonFields f = document.object("architecture");
        Architecture a = new Architecture(f.text("model_type"), f.text("family"), f.flag("known"),
                f.parsed("structure", f.text("structure"), t -> named(Architecture.Structure.values(), Architecture.Structure::label, t)), f.flag("tied"), f.texts("assumptions"));
        f.end();
        return a;
    }

    /// The field `kind`.
    ///
    /// @throws InputException when it names none
    public static Kind kind(JsonFields f) {
        return f.parsed("kind", f.text("kind"), t -> named(Kind.values(), Kind::label, t));
    }

    /// The field `dtype`.
    ///
    /// @throws InputException when it names none
    public static DType dtype(JsonFields f) {
        return f.parsed("dtype", f.text("dtype"), t -> DType.named(t).orElseThrow(IllegalArgumentException::new));
    }

    /// Layers count from 0; -1 is outside of them.
    public static int layer(JsonFields f) {
        int layer = f.integer("layer");
        if (layer < -1) {
            throw f.wrong("layer", "is below -1");
        }
        return layer;
    }

    /// @throws IllegalArgumentException when no value has this label
    public static <T> T named(T[] values, Function<T, String> label, String text) {
        for (T v : values) {
            if (label.apply(v).equals(text)) {
                return v;
            }
        }
        throw new IllegalArgumentException(text);
    }
}
