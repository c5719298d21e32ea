package ram.plan;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import ram.format.Format;
import ram.plan.Candidates.Candidate;
import ram.plan.Candidates.Choice;
import ram.plan.Manifest.ModulePlan;
import ram.profile.Profile;

/// What the bytes of a plan buy: for every module that got more than its cheapest choice, the damage saved per byte spent beyond that.
///
/// @param modules by falling damage saved per byte, then in the order of the model
/// @param cheapest number of modules that got no more than their cheapest choice, or had none
/// @param price damage that one more byte saves at the margin of this plan; 0 of a policy that is not priced
public record Payoffs(List<Payoff> modules, int cheapest, double price) {
    /// One module.
    ///
    /// @param cheapest the smallest format that it may have
    /// @param bytes spent beyond the cheapest
    /// @param saved damage that they save
    public record Payoff(ModulePlan module, Format cheapest, long bytes, double saved) {
        /// Damage saved per byte.
        public double perByte() {
            return saved / bytes;
        }

        /// Why it was worth it, or was not, in a few words.
        ///
        /// @param price of a byte at the margin
        public String why(double price) {
            if (module.why() != Manifest.Why.BUDGET) {
                return module.why().label() + ": " + module.reason();
            }
            String times = price > 0 ? String.format(Locale.ROOT, "%.3g times the price of a byte", perByte() / price) : "bytes have no price here";
            return module.better().map(a -> times + ", next " + a.format()).orElse(times + ", nothing better allowed");
        }
    }

    public Payoffs {
        modules = List.copyOf(modules);
    }

    /// @param request that of the plan
    /// @param planned what it gives with the profile
    public static Payoffs of(Profile profile, PlanRequest request, Manifest planned) {
        List<Choice> choices = Candidates.of(profile, Damage.of(profile), request, request.allowUnsafe());
        List<Payoff> modules = new ArrayList<>();
        for (int i = 0; i < choices.size(); i++) {
            ModulePlan module = planned.modules().get(i);
            Candidate least = cheapest(choices.get(i));
            if (module.bytes() > least.bytes()) {
                modules.add(new Payoff(module, least.format(), module.bytes() - least.bytes(), least.damage() - module.damage()));
            }
        }
        modules.sort(Comparator.comparingDouble(Payoff::perByte).reversed());
        return new Payoffs(modules, choices.size() - modules.size(), planned.damagePrice());
    }

    /// Of a module with a rule, what it could have without.
    private static Candidate cheapest(Choice choice) {
        Optional<Candidate> free = choice.rule().isEmpty() ? Optional.empty() : choice.measured().stream().filter(Candidate::safe).min(Comparator.comparingLong(Candidate::bytes));
        return free.orElseGet(choice::smallest);
    }
}
