package ram.plan;

import java.util.List;
import java.util.Optional;
import ram.UsageException;
import ram.format.Format;
import ram.layout.Kind;
import ram.safetensors.Shape;

/// The user's rules while modules are asked one after the other; notes which rules matched.
final class Rules {
    private final List<FormatRule> rules;
    private final boolean[] matched;

    Rules(List<FormatRule> rules) {
        this.rules = rules;
        this.matched = new boolean[rules.size()];
    }

    /// The rule that counts for a module.
    Optional<FormatRule> of(String path) {
        FormatRule last = null;
        for (int i = 0; i < rules.size(); i++) {
            if (rules.get(i).matches(path)) {
                matched[i] = true;
                last = rules.get(i);
            }
        }
        return Optional.ofNullable(last);
    }

    /// The format that the rules want for a module.
    ///
    /// @throws UsageException when it cannot have that format
    Optional<Format> formatOf(String path, Kind kind, Shape shape, Optional<String> mustStayDense) {
        Optional<FormatRule> rule = of(path);
        rule.filter(r -> !r.format().isDense()).ifPresent(r -> {
            if (mustStayDense.isPresent()) {
                throw new UsageException(r.option() + ": " + path + " cannot be quantized: " + mustStayDense.get());
            }
            if (!r.format().fits(shape)) {
                throw new UsageException(r.option() + ": " + r.format() + " does not fit " + path + " of shape " + shape
                        + ", whose last dimension must be a multiple of " + r.format().groupSize());
            }
            if (Candidates.isRouting(kind) && !Candidates.isFineEnoughForRouting(r.format())) {
                throw new UsageException(r.option() + ": " + path + " is a router, which never gets fewer than 8 bits");
            }
        });
        return rule.map(FormatRule::format);
    }

    /// @throws UsageException naming the first rule that matched no module
    void checkAllMatched() {
        for (int i = 0; i < matched.length; i++) {
            if (!matched[i]) {
                throw new UsageException(rules.get(i).option() + ": the pattern is found in no module path; `ram inspect` lists them");
            }
        }
    }
}
