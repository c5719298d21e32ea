package ram.document;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;
import ram.InputException;
import ram.format.Format;
import ram.safetensors.Shape;

/// Strict reading of an untrusted JSON object: every field is asked for by name and type, and none may be left over.
/// Each error is an [InputException] that names the file and the place in it.
public final class JsonFields {
    private final Path file;
    private final String place;
    private final ObjectNode node;
    private final Set<String> asked = new HashSet<>();

    /// @param place where the object stands, empty for the document itself
    JsonFields(Path file, String place, JsonNode node) {
        this.file = file;
        this.place = place;
        if (!(node instanceof ObjectNode object)) {
            throw InputException.in(file, (place.isEmpty() ? "" : place + " ") + "is not a JSON object; create the file again");
        }
        this.node = object;
    }

    /// A complaint about a field.
    public InputException wrong(String name, String what) {
        return InputException.in(file, (place.isEmpty() ? "" : place + ".") + name + " " + what + "; create the file again");
    }

    private JsonNode get(String name) {
        asked.add(name);
        JsonNode value = node.get(name);
        if (value == null) {
            throw wrong(name, "is missing");
        }
        return value;
    }

    /// Whether the field is there, which counts as asking for it.
    public boolean has(String name) {
        asked.add(name);
        return node.has(name);
    }

    /// @throws InputException when it is missing or no text
    public String text(String name) {
        return text(name, get(name));
    }

    private String text(String name, JsonNode value) {
        if (!value.isTextual()) {
            throw wrong(name, "is not text");
        }
        return value.textValue();
    }

    /// @throws InputException when it is there and no text
    public Optional<String> optionalText(String name) {
        return has(name) ? Optional.of(text(name)) : Optional.empty();
    }

    /// A whole number from 0.
    public long count(String name) {
        long value = integer(name, get(name));
        if (value < 0) {
            throw wrong(name, "is negative");
        }
        return value;
    }

    /// A whole number in an int's range.
    public int integer(String name) {
        long value = integer(name, get(name));
        if (value != (int) value) {
            throw wrong(name, "is too large");
        }
        return (int) value;
    }

    /// An `int` of 0 or more.
    public int natural(String name) {
        int value = integer(name);
        if (value < 0) {
            throw wrong(name, "is negative");
        }
        return value;
    }

    private long integer(String name, JsonNode value) {
        if (!value.isIntegralNumber() || !value.canConvertToLong()) {
            throw wrong(name, "is not a whole number");
        }
        return value.longValue();
    }

    /// A finite number.
    public double number(String name) {
        return number(name, get(name));
    }

    private double number(String name, JsonNode value) {
        if (!value.isNumber() || !Double.isFinite(value.doubleValue())) {
            throw wrong(name, "is not a finite number");
        }
        return value.doubleValue();
    }

    /// @throws InputException when it is neither true nor false
    public boolean flag(String name) {
        JsonNode value = get(name);
        if (!value.isBoolean()) {
            throw wrong(name, "is neither true nor false");
        }
        return value.booleanValue();
    }

    private JsonNode array(String name) {
        JsonNode value = get(name);
        if (!value.isArray()) {
            throw wrong(name, "is not a list");
        }
        return value;
    }

    /// @throws InputException when it is no array of texts
    public List<String> texts(String name) {
        List<String> out = new ArrayList<>();
        array(name).forEach(v -> out.add(text(name, v)));
        return out;
    }

    /// @throws InputException when it is no array of numbers
    public double[] numbers(String name) {
        JsonNode array = array(name);
        double[] out = new double[array.size()];
        for (int i = 0; i < out.length; i++) {
            out[i] = number(name, array.get(i));
        }
        return out;
    }

    /// @throws InputException when it is no array of sizes
    public Shape shape(String name) {
        List<Long> dims = new ArrayList<>();
        array(name).forEach(v -> dims.add(integer(name, v)));
        try {
            return new Shape(dims);
        } catch (IllegalArgumentException | ArithmeticException e) {
            throw wrong(name, "is an impossible shape");
        }
    }

    /// @throws InputException when it is no format
    public Format format(String name) {
        return parsed(name, text(name), Format::parse);
    }

    /// A text that a function understands; it complains with an IllegalArgumentException.
    public <T> T parsed(String name, String text, Function<String, T> parse) {
        try {
            return parse.apply(text);
        } catch (IllegalArgumentException e) {
            throw wrong(name, "has the unknown value '" + text + "'");
        }
    }

    /// @throws InputException when it is no object
    public JsonFields object(String name) {
        return new JsonFields(file, (place.isEmpty() ? "" : place + ".") + name, get(name));
    }

    /// The raw object.
    public ObjectNode tree() {
        return node;
    }

    /// @throws InputException when it is no array of objects
    public List<JsonFields> objects(String name) {
        List<JsonFields> out = new ArrayList<>();
        for (JsonNode value : array(name)) {
            out.add(new JsonFields(file, (place.isEmpty() ? "" : place + ".") + name + "[" + out.size() + "]", value));
        }
        return out;
    }

    /// @throws InputException when it is no object of texts
    public SortedMap<String, String> textMap(String name) {
        SortedMap<String, String> out = new TreeMap<>();
        JsonFields inner = object(name);
        for (Map.Entry<String, JsonNode> e : inner.node.properties()) {
            out.put(e.getKey(), inner.text(e.getKey(), e.getValue()));
        }
        return out;
    }

    /// @throws InputException when it is no object of finite numbers
    public SortedMap<String, Double> numberMap(String name) {
        SortedMap<String, Double> out = new TreeMap<>();
        JsonFields inner = object(name);
        for (Map.Entry<String, JsonNode> e : inner.node.properties()) {
            out.put(e.getKey(), inner.number(e.getKey(), e.getValue()));
        }
        return out;
    }

    /// @throws InputException when the object has a field that was not asked for
    public void end() {
        for (Map.Entry<String, JsonNode> e : node.properties()) {
            if (!asked.contains(e.getKey())) {
                throw wrong(e.getKey(), "is not a known field");
            }
        }
    }
}
