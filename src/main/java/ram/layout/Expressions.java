package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import ram.InputException;

/// Numbers that rules take from a config: `key`, `outer.key`, `a or b`, `a // b`, `a - b`, or a number itself.
record Expressions(JsonNode config) {
    /// @throws InputException when a key is missing
    long number(JsonNode expression) {
        return expression.isNumber() ? expression.asLong() : number(expression.asText());
    }

    long number(String expression) {
        return (long) real(expression);
    }

    double real(String expression) {
        if (expression.contains(" or ")) {
            for (String alternative : expression.split(" or ")) {
                JsonNode value = find(alternative.strip());
                if (value.isNumber() && value.asDouble() != 0) {
                    return value.asDouble();
                }
            }
            throw missing(expression);
        }
        if (expression.contains(" // ")) {
            String[] parts = expression.split(" // ");
            return Math.floorDiv(number(parts[0].strip()), number(parts[1].strip()));
        }
        if (expression.contains(" - ")) {
            String[] parts = expression.split(" - ");
            return real(parts[0].strip()) - real(parts[1].strip());
        }
        if (expression.matches("-?\\d+(\\.\\d+)?")) {
            return Double.parseDouble(expression);
        }
        JsonNode value = find(expression);
        if (!value.isNumber()) {
            throw missing(expression);
        }
        return value.asDouble();
    }

    double element(String key, int index, double[] otherwise) {
        JsonNode list = find(key);
        return list.isArray() && list.has(index) ? list.get(index).asDouble() : otherwise[index];
    }

    String text(String key) {
        JsonNode value = find(key);
        if (value.isMissingNode() || value.isNull()) {
            throw missing(key);
        }
        return value.asText();
    }

    private JsonNode find(String path) {
        JsonNode node = config;
        for (String key : path.split("\\.")) {
            node = node.path(key);
        }
        return node;
    }

    private static InputException missing(String expression) {
        return new InputException("config.json lacks " + expression + ", without which the tensors cannot be understood; download it again");
    }
}
