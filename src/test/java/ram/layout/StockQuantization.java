package ram.layout;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.TreeSet;

/// What `mlx_lm.convert -q` would write for a checkpoint: the `quantization` section of config.json and the modules that are quantized afterwards.
///
/// @param modules sorted paths, those that the source stores quantized included
record StockQuantization(ObjectNode section, List<String> modules) {
    StockQuantization {
        modules = List.copyOf(modules);
    }

    /// @param bits and group size that apply where the class has no wish of its own; affine
    static StockQuantization of(Layout layout, int bits, int groupSize) {
        ObjectNode section = JsonNodeFactory.instance.objectNode();
        TreeSet<String> modules = new TreeSet<>();
        boolean passedThrough = !layout.prequantized().isEmpty();
        if (passedThrough) {
            var format = layout.prequantized().getFirst().format();
            section.put("group_size", format.groupSize()).put("bits", format.bits()).put("mode", format.mode().mlxName());
            layout.prequantized().forEach(p -> modules.add(p.path()));
        } else {
            section.put("group_size", groupSize).put("bits", bits).put("mode", "affine");
        }
        List<Family.Preset> presets = Family.of(layout.architecture().modelType()).map(Family::presets).orElse(List.of());
        for (Module m : layout.modules()) {
            if (m.weight().shape().columns() % groupSize != 0) {
                continue;
            }
            modules.add(m.path());
            var preset = presets.stream().filter(p -> p.matches(m.path())).findFirst();
            if (preset.isPresent()) {
                section.set(m.path(), preset.get().settings());
            } else if (passedThrough) {
                section.putObject(m.path()).put("group_size", groupSize).put("bits", bits).put("mode", "affine");
            }
        }
        return new StockQuantization(section, List.copyOf(modules));
    }
}
