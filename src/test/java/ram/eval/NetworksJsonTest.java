package ram.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// A misspelt rule would be a rule that does not hold.
class NetworksJsonTest {
    @Test
    void everyWordIsExplained() throws IOException {
        String page = Files.readString(Path.of("docs/families.md"));
        String said = page.substring(page.indexOf("## What an evaluation needs to know"));
        try (InputStream in = NetworkShape.class.getResourceAsStream("networks.json")) {
            List<String> unknown = new ObjectMapper().readTree(in).valueStream().flatMap(NetworksJsonTest::words).distinct().filter(word -> !said.contains("`" + word + "`")).toList();
            assertEquals(List.of(), unknown);
        }
    }

    private static Stream<String> words(JsonNode rules) {
        Stream<JsonNode> parts = Stream.of("latent", "mixer", "names", "gated", "global", "layer_inputs", "streams").map(rules::path);
        return Stream.concat(Stream.concat(rules.propertyStream(), parts.flatMap(JsonNode::propertyStream)).map(e -> e.getKey()), rules.path("mixture").propertyStream().flatMap(e ->
                Stream.concat(Stream.of(e.getKey()), Set.of("shared", "narrow", "dense").contains(e.getKey()) ? e.getValue().propertyStream().map(inner -> inner.getKey()) : Stream.empty())));
    }
}
