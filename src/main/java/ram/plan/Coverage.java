package ram.plan;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import ram.format.Format;
import ram.plan.Manifest.Fate;
import ram.plan.Manifest.SourceTensor;
import ram.profile.ModuleProfile;
import ram.profile.Profile;

/// What becomes of every source tensor.
final class Coverage {
    private record Use(String target, Fate fate, String reason) {
    }

    private final Map<String, List<Use>> uses = new TreeMap<>();

    private Coverage() {
    }

    /// @param reasons per module, why it has its format
    static List<SourceTensor> of(Profile profile, List<Format> formats, List<String> reasons) {
        Coverage coverage = new Coverage();
        for (int i = 0; i < formats.size(); i++) {
            ModuleProfile m = profile.modules().get(i);
            Fate fate = !formats.get(i).isDense() ? Fate.QUANTIZED : m.sources().equals(List.of(m.path() + ".weight")) ? Fate.KEPT : Fate.TRANSFORMED;
            String reason = formats.get(i).isDense() ? "stays dense: " + reasons.get(i) : "stored as " + formats.get(i);
            m.sources().forEach(s -> coverage.add(s, m.path(), fate, reason));
        }
        profile.prequantized().forEach(p -> p.sources().forEach(s -> coverage.add(s, p.path(),
                s.startsWith(p.path() + ".") ? Fate.KEPT : Fate.TRANSFORMED, SourceTensor.STORED + p.format())));
        profile.plain().forEach(p -> p.sources().forEach(s -> coverage.add(s, p.name(), p.sources().equals(List.of(p.name())) ? Fate.KEPT : Fate.TRANSFORMED, p.why())));
        profile.dropped().forEach(d -> coverage.add(d.tensor(), "", Fate.DROPPED, d.why()));
        return coverage.merged();
    }

    private void add(String source, String target, Fate fate, String reason) {
        uses.computeIfAbsent(source, s -> new ArrayList<>()).add(new Use(target, fate, reason));
    }

    /// A tensor with several uses is quantized when one of them is, else transformed.
    private List<SourceTensor> merged() {
        List<SourceTensor> out = new ArrayList<>();
        uses.forEach((name, list) -> {
            Set<String> targets = new LinkedHashSet<>();
            Set<Fate> fates = EnumSet.noneOf(Fate.class);
            Set<String> reasons = new LinkedHashSet<>();
            for (Use u : list) {
                if (!u.target.isEmpty()) {
                    targets.add(u.target);
                }
                fates.add(u.fate);
                reasons.add(u.reason);
            }
            Fate fate = fates.contains(Fate.QUANTIZED) ? Fate.QUANTIZED : targets.size() > 1 ? Fate.TRANSFORMED : list.getFirst().fate;
            out.add(new SourceTensor(name, fate, List.copyOf(targets), String.join("; ", reasons)));
        });
        return out;
    }
}
