package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.nio.file.Path;
import ram.InputException;

/// The numbers of config.json, or of an object inside it. A text or another thing where a number has to be is refused: mlx_lm would stop at it too.
///
/// @param file is named in refusals
/// @param json where a key stands; a missing node has none
/// @param names of keys that the file calls otherwise, by the usual ones; a missing node for none
/// @param place what refusals say after the key
record Numbers(Path file, JsonNode json, JsonNode names, String place) {
    private static final int LARGEST = 1 << 24;

    /// Those of another object of the file.
    Numbers in(JsonNode object) {
        return new Numbers(file, object, MissingNode.getInstance(), "");
    }

    /// Those that stretch rotations.
    static Numbers ofScaling(Path file, JsonNode scaling) {
        return new Numbers(file, scaling, MissingNode.getInstance(), " in its rope scaling");
    }

    private boolean lacks(String key) {
        return json.path(key).isMissingNode() || json.path(key).isNull();
    }

    /// How many there are of something, at least 1.
    int count(String key) {
        int value = whole(key, 0);
        if (value < 1 || value > LARGEST) {
            throw unusable(key);
        }
        return value;
    }

    /// The same, or another number where config.json says none.
    int count(String key, int otherwise) {
        return lacks(key) ? otherwise : count(key);
    }

    /// A whole number, or another one where config.json says none.
    int whole(String key, int otherwise) {
        JsonNode node = json.path(key);
        if (lacks(key)) {
            return otherwise;
        }
        if (!node.isNumber() || !node.canConvertToInt() || !node.canConvertToExactIntegral()) {
            throw unusable(key);
        }
        return node.intValue();
    }

    /// A number that is not below 0, or another one where config.json says none.
    double number(String key, double otherwise) {
        double value = lacks(key) ? otherwise : json.path(key).isNumber() ? json.path(key).asDouble() : Double.NaN;
        if (!(value >= 0 && value <= Float.MAX_VALUE)) {
            throw unusable(key);
        }
        return value;
    }

    /// A number above 0.
    double positive(String key) {
        return positive(key, 0);
    }

    /// The same, or another one where config.json says none.
    double positive(String key, double otherwise) {
        double value = number(key, otherwise);
        if (value == 0) {
            throw unusable(key);
        }
        return value;
    }

    private InputException unusable(String key) {
        return refused("has no usable " + names.path(key).asText(key) + place + "; download it again");
    }

    InputException refused(String what) {
        return InputException.in(file, what);
    }
}
