package ram.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Predicate;
import ram.UsageException;

/// The ways to choose formats.
public enum Policy {
    /// Least predicted damage within the budget.
    BUDGET("budget", Objective.DAMAGE),
    /// Least weighted NRMSE within the budget, with soft priors by role.
    MINT("mint", Objective.WEIGHTED_NRMSE),
    /// One format everywhere, with the architecture's own exceptions.
    UNIFORM("uniform"),
    /// mlx_lm's recipe of 2 and 6 bits.
    MIXED_2_6("mixed_2_6"),
    /// mlx_lm's recipe of 3 and 4 bits.
    MIXED_3_4("mixed_3_4"),
    /// mlx_lm's recipe of 3 and 6 bits.
    MIXED_3_6("mixed_3_6"),
    /// mlx_lm's recipe of 4 and 6 bits.
    MIXED_4_6("mixed_4_6"),
    /// Thresholds on a composite score of fixed ranges.
    V1("v1"),
    /// Thresholds on a composite score normalised over the model.
    V2("v2"),
    /// `v2` with the thresholds of the smallest size that predicts no more damage.
    V2_OPT("v2-opt"),
    /// `v2`, and where its scores do not separate modules their error and norm.
    V3("v3"),
    /// `v3` with the thresholds of the smallest size that predicts no more damage.
    V3_OPT("v3-opt"),
    /// `v2` for mixtures of experts and hybrids, `v3-opt` for dense models.
    V4("v4");

    private final String label;
    private final Optional<Objective> objective;

    Policy(String label) {
        this.label = label;
        this.objective = Optional.empty();
    }

    Policy(String label, Objective objective) {
        this.label = label;
        this.objective = Optional.of(objective);
    }

    /// The name on the command line and in documents.
    public String label() {
        return label;
    }

    /// What it minimises; empty when it decides module by module.
    public Optional<Objective> objective() {
        return objective;
    }

    /// Whether it needs a budget, because it minimises something.
    public boolean isPriced() {
        return objective.isPresent();
    }

    /// @throws UsageException when there is no such policy; `auto` is `v4`
    public static Policy named(String name) {
        String wanted = name.strip().toLowerCase(Locale.ROOT);
        for (Policy p : values()) {
            if (p.label.equals(wanted)) {
                return p;
            }
        }
        if (wanted.equals("auto")) {
            return V4;
        }
        throw new UsageException("--policy: there is no policy '" + name + "'; choose one of " + String.join(", ", labels()) + ", auto");
    }

    /// The names of all policies, without aliases.
    public static List<String> labels() {
        return labels(_ -> true);
    }

    /// The names of those policies that are asked for, without aliases.
    public static List<String> labels(Predicate<Policy> wanted) {
        return Arrays.stream(values()).filter(wanted).map(Policy::label).toList();
    }
}
