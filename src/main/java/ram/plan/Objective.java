package ram.plan;

import java.util.function.Function;
import ram.profile.Profile;

/// What a policy with a budget minimises: a sum over modules.
public enum Objective {
    /// The mean KL divergence that every plan reports, in nats per token; see [Damage].
    DAMAGE("predicted damage", true, Damage::of),
    /// Root of the relative squared error, with fixed weights by role; without a unit.
    WEIGHTED_NRMSE("weighted NRMSE", false, Damage::withPriors);

    private final String label;
    private final boolean divergence;
    private final Function<Profile, Damage> pricing;

    Objective(String label, boolean divergence, Function<Profile, Damage> pricing) {
        this.label = label;
        this.divergence = divergence;
        this.pricing = pricing;
    }

    /// The name in sentences.
    public String label() {
        return label;
    }

    /// Whether it is the damage that modules are reported with, a divergence in nats per token; otherwise its numbers have a scale of their own.
    public boolean isDivergence() {
        return divergence;
    }

    /// What every module of a profile adds to it, by format.
    Damage of(Profile profile) {
        return pricing.apply(profile);
    }
}
