package ram.sensitivity;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import ram.layout.Kind;

/// What differs between decoder families, as data: `decoder-rules.json`.
final class DecoderRules {
    private static final JsonNode DATA = load();

    private DecoderRules() {
    }

    private static JsonNode load() {
        try (InputStream in = DecoderRules.class.getResourceAsStream("decoder-rules.json")) {
            return new ObjectMapper().readTree(in);
        } catch (IOException e) {
            throw new UncheckedIOException("decoder-rules.json cannot be read", e);
        }
    }

    /// What the sensitivity of a kind is multiplied by, 1 for a kind without a factor: it puts kinds on one scale with the damage that noise in them was
    /// measured to do. A plan corrects predictions by kind once more, for what quantizing one module alone was measured to do; the two multiply.
    static double factor(Kind kind) {
        return DATA.path("factors").path(kind.label()).asDouble(1);
    }

    /// The same for what says where in a memory of linear attention something is written or read: where there is much in it, noise there meets what has nothing to do with it.
    static double addressFactor() {
        return DATA.path("factors").path("linear_attention_address").asDouble();
    }

    static boolean has(String property, String family) {
        return list(property).contains(family);
    }

    static List<String> list(String property) {
        List<String> out = new ArrayList<>();
        DATA.path(property).forEach(n -> out.add(n.asText()));
        return out;
    }

    static String text(String property) {
        return DATA.path(property).asText();
    }
}
