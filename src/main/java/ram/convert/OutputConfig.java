package ram.convert;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.format.Format;

/// The config.json of an MLX folder: the model's own keys plus the format of every quantized module.
final class OutputConfig {
    // Infinity as Python writes it, not as text
    private static final ObjectMapper MAPPER = JsonMapper.builder().disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS).build().enable(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS);

    private OutputConfig() {
    }

    /// @param config the model's keys, without a `quantization` section
    /// @param quantized the format of each quantized module, by path
    /// @param modeKey whether to say `mode` where it is affine
    static String write(ObjectNode config, SortedMap<String, Format> quantized, boolean modeKey) {
        ObjectNode out = config.deepCopy();
        if (!quantized.isEmpty()) {
            ObjectNode section = section(quantized);
            if (!modeKey && section.path("mode").asText().equals(Format.Mode.AFFINE.mlxName())) {
                section.remove("mode");
            }
            out.set("quantization", section);
            out.set("quantization_config", section.deepCopy());
        }
        return print(out);
    }

    /// Keys sorted at every depth, four spaces, as mlx_lm writes them.
    static String print(ObjectNode node) {
        try {
            // Through a map, because only map entries are sorted.
            return MAPPER.writer(fourSpaces()).writeValueAsString(MAPPER.treeToValue(node, TreeMap.class)) + "\n";
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    /// The commonest format stands for all; each module that differs has an entry of its own. `mode` is left out of affine entries:
    /// affine is what a missing mode means, and MLX before 0.29 refuses the key.
    static ObjectNode section(SortedMap<String, Format> quantized) {
        Map<Format, Integer> uses = new HashMap<>();
        quantized.values().forEach(f -> uses.merge(f, 1, Integer::sum));
        Format common = uses.entrySet().stream()
                .max(Map.Entry.<Format, Integer>comparingByValue().thenComparing(e -> e.getKey().toString(), Comparator.reverseOrder()))
                .orElseThrow().getKey();
        ObjectNode section = MAPPER.createObjectNode();
        section.put("group_size", common.groupSize()).put("bits", common.bits()).put("mode", common.mode().mlxName());
        quantized.forEach((path, format) -> {
            if (!format.equals(common)) {
                ObjectNode entry = section.putObject(path).put("group_size", format.groupSize()).put("bits", format.bits());
                if (format.mode() != Format.Mode.AFFINE) {
                    entry.put("mode", format.mode().mlxName());
                }
            }
        });
        return section;
    }

    private static DefaultPrettyPrinter fourSpaces() {
        DefaultIndenter indenter = new DefaultIndenter("    ", "\n");
        return new DefaultPrettyPrinter(Separators.createDefaultInstance().withObjectFieldValueSpacing(Separators.Spacing.AFTER)
                .withArrayEmptySeparator("").withObjectEmptySeparator("")).withObjectIndenter(indenter).withArrayIndenter(indenter);
    }
}
