package ram.plan;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.UsageException;
import ram.format.Format;
import ram.plan.Candidates.Candidate;
import ram.plan.Candidates.Choice;
import ram.plan.Manifest.ModulePlan;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;

/// Why one module has its format.
///
/// @param module what the plan says about it
/// @param rule the binding rule in one sentence
/// @param curve every measured format and dense, by bytes
/// @param weightShare how much its errors count: damage per unit of relative squared error, as a part of the model's sum
/// @param sensitivitySource `propagated`, or where the value was borrowed
/// @param ingredients of the sensitivity, by name; means over the module's matrices, weighted by size
/// @param price damage that a byte saves at the margin of this plan; 0 of a policy that does not minimise it
/// @param atLess its format with 5 % less budget, empty when that cannot be met or the plan is not priced
/// @param atMore its format with 5 % more budget, empty when the plan is not priced
public record Explain(ModulePlan module, String rule, List<Point> curve, double weightShare, String sensitivitySource, SortedMap<String, Double> ingredients, double price,
                      Optional<Format> atLess, Optional<Format> atMore) {
    /// One format.
    ///
    /// @param allowed whether the plan could choose it
    /// @param chosen whether it did
    public record Point(Format format, long bytes, double relativeError, double sqnrDb, double damage, boolean allowed, boolean chosen) {
    }

    public Explain {
        curve = List.copyOf(curve);
        ingredients = Collections.unmodifiableSortedMap(new TreeMap<>(ingredients));
    }

    /// Explains a module of the plan that a request gives.
    ///
    /// @throws UsageException when there is no such module
    public static Explain of(Profile profile, PlanRequest request, String path) {
        int index = -1;
        for (int i = 0; i < profile.modules().size(); i++) {
            if (profile.modules().get(i).path().equals(path)) {
                index = i;
            }
        }
        if (index < 0) {
            throw new UsageException("there is no module '" + path + "'");
        }
        Manifest manifest = Planner.plan(profile, request);
        PlanProblem problem = new PlanProblem(profile, request);
        ModulePlan plan = manifest.modules().get(index);
        ModuleProfile m = profile.modules().get(index);
        return new Explain(plan, rule(plan, manifest), curve(problem.choices.get(index), Optional.of(plan.format())), share(profile, index), m.sensitivitySource(), ingredients(m), manifest.damagePrice(),
                at(problem, manifest, index, 0.95), at(problem, manifest, index, 1.05));
    }

    /// The curve of every module, in the order of the profile.
    ///
    /// @param chosen the plan's formats by module path; may be empty
    public static List<List<Point>> curves(Profile profile, PlanRequest request, Map<String, Format> chosen) {
        PlanProblem problem = new PlanProblem(profile, request.within(Limit.NONE));
        return problem.choices.stream().map(c -> curve(c, Optional.ofNullable(chosen.get(c.module().path())))).toList();
    }

    private static List<Point> curve(Choice choice, Optional<Format> chosen) {
        List<Point> curve = new ArrayList<>();
        for (Candidate c : choice.measured()) {
            curve.add(new Point(c.format(), c.bytes(), c.relativeError(), c.sqnrDb(), c.damage(), choice.allowed().contains(c), chosen.equals(Optional.of(c.format()))));
        }
        curve.sort(Comparator.comparingLong(Point::bytes).thenComparing(Comparator.comparingDouble(Point::damage).reversed()));
        return curve;
    }

    private static String rule(ModulePlan m, Manifest manifest) {
        if (m.why() == Manifest.Why.BUDGET && !manifest.objective().isDivergence()) {
            return "The policy weighs errors its own way: " + m.reason() + ".";
        }
        return switch (m.why()) {
            case CANNOT_QUANTIZE -> "It cannot be quantized: " + m.reason() + ".";
            case OVERRIDE -> "It was asked for with " + m.reason() + ".";
            case FLOOR -> "A floor holds it: " + m.reason() + ".";
            case POLICY -> "The policy decided: " + m.reason() + ".";
            case BUDGET -> m.better().map(a -> a.price() <= manifest.damagePrice()
                    ? "The next better format, " + a.format() + ", would save less damage per byte than bytes save elsewhere."
                    : "The next better format, " + a.format() + ", would be worth its bytes, but no longer fits.").orElse("No allowed format does less damage.");
        };
    }

    /// Damage per unit of relative squared error, as a part of the model's sum.
    private static double share(Profile profile, int index) {
        Damage damage = Damage.of(profile);
        double all = 0;
        double own = 0;
        for (int i = 0; i < profile.modules().size(); i++) {
            ModuleProfile m = profile.modules().get(i);
            int middle = m.curve().size() / 2;
            if (!m.curve().isEmpty() && m.curve().get(middle).relativeError() > 0) {
                double weight = damage.at(i, middle) / m.curve().get(middle).relativeError();
                all += weight;
                own += i == index ? weight : 0;
            }
        }
        return all == 0 ? 0 : own / all;
    }

    private static SortedMap<String, Double> ingredients(ModuleProfile m) {
        SortedMap<String, Double> out = new TreeMap<>();
        for (TensorProfile t : m.tensors()) {
            t.ingredients().forEach((name, value) -> out.merge(name, value * t.parameters() / m.parameters(), Double::sum));
        }
        return out;
    }

    private static Optional<Format> at(PlanProblem problem, Manifest manifest, int index, double factor) {
        if (!problem.request.policy().isPriced()) {
            return Optional.empty();
        }
        try {
            // a plan for a divergence has no other limit than its own size
            long limit = manifest.limit() instanceof Limit.Divergence ? manifest.sizes().files() : problem.limit();
            return Optional.of(problem.solve((long) (limit * factor)).chosen().get(index).format());
        } catch (BudgetException e) {
            return Optional.empty();
        }
    }
}
