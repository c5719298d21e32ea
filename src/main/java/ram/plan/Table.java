package ram.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import ram.plan.Manifest.ModulePlan;

/// A plan in a few rows, for a person: by kind of module, then by band of layers, then the whole.
public final class Table {
    private static final int BANDS = 4;

    private Table() {
    }

    /// Some modules together.
    ///
    /// @param group `kind`, `layers` or `all`
    /// @param name the kind's label, or the band such as `0-6`
    /// @param formats number of modules per bits, 16 or more for dense
    /// @param bytes of their data
    /// @param share of the data of the whole model, 0 to 1
    /// @param bitsPerWeight scales and biases included
    /// @param relativeError squared, weighted by number of weights
    /// @param damageShare share of the whole model's predicted damage, 0 to 1
    public record Row(String group, String name, int modules, Map<Integer, Integer> formats, long parameters, long bytes, double share, double bitsPerWeight,
                      double relativeError, double damageShare) {
    }

    public static List<Row> of(Manifest manifest) {
        List<Row> rows = new ArrayList<>();
        group(manifest, m -> m.kind().ordinal()).forEach((k, list) -> rows.add(row(manifest, "kind", list.getFirst().kind().label(), list)));
        int layers = Math.max(1, manifest.layers());
        int bands = Math.min(BANDS, layers);
        group(manifest, m -> m.layer() < 0 ? -1 : Math.min(bands - 1, m.layer() * bands / layers)).forEach((band, list) -> {
            if (band >= 0) {
                int first = list.stream().mapToInt(ModulePlan::layer).min().orElseThrow();
                int last = list.stream().mapToInt(ModulePlan::layer).max().orElseThrow();
                rows.add(row(manifest, "layers", first == last ? String.valueOf(first) : first + "-" + last, list));
            }
        });
        rows.add(row(manifest, "all", "all", manifest.modules()));
        return List.copyOf(rows);
    }

    private static Map<Integer, List<ModulePlan>> group(Manifest manifest, Function<ModulePlan, Integer> key) {
        Map<Integer, List<ModulePlan>> out = new TreeMap<>();
        manifest.modules().forEach(m -> out.computeIfAbsent(key.apply(m), k -> new ArrayList<>()).add(m));
        return out;
    }

    private static Row row(Manifest manifest, String group, String name, List<ModulePlan> modules) {
        Map<Integer, Integer> formats = new TreeMap<>();
        long parameters = 0;
        long bytes = 0;
        double error = 0;
        double damage = 0;
        for (ModulePlan m : modules) {
            formats.merge(m.format().isDense() ? 8 * m.dtype().bytes() : m.format().bits(), 1, Integer::sum);
            parameters += m.shape().elements();
            bytes += m.bytes();
            error += m.relativeError() * m.shape().elements();
            damage += m.damage();
        }
        double all = manifest.modules().stream().mapToDouble(ModulePlan::damage).sum();
        return new Row(group, name, modules.size(), formats, parameters, bytes, manifest.sizes().data() == 0 ? 0 : (double) bytes / manifest.sizes().data(),
                parameters == 0 ? 0 : 8.0 * bytes / parameters, parameters == 0 ? 0 : error / parameters, all == 0 ? 0 : damage / all);
    }
}
