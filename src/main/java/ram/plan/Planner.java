package ram.plan;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import ram.UsageException;
import ram.format.Format;
import ram.plan.Candidates.Candidate;
import ram.plan.Candidates.Choice;
import ram.plan.Manifest.Alternative;
import ram.plan.Manifest.ModulePlan;
import ram.plan.Manifest.Why;
import ram.profile.Profile;
import ram.safetensors.ShardPlan;

/// Turns a profile and a request into a manifest.
public final class Planner {
    private Planner() {
    }

    /// @throws UsageException when the request does not fit the profile: a rule that matches nothing, a missing budget
    /// @throws BudgetException when the limit cannot be met
    public static Manifest plan(Profile profile, PlanRequest request) {
        if (request.policy().isPriced()) {
            requireMeasured(profile, request);
        }
        profile.prequantized().stream().filter(p -> !request.loads(p.format())).findFirst().ifPresent(p -> {
            throw new UsageException("--mlx-version " + request.mlxVersion().orElseThrow() + " does not load " + p.format() + ", in which the source stores " + p.path()
                    + "; give a newer version, or analyze with --requantize");
        });
        PlanProblem problem = new PlanProblem(profile, request);
        if (request.policy().isPriced()) {
            return priced(problem, problem.limit());
        }
        return ruled(problem);
    }

    private static void requireMeasured(Profile profile, PlanRequest request) {
        Set<Format.Mode> measured = EnumSet.noneOf(Format.Mode.class);
        profile.modules().forEach(m -> m.curve().forEach(p -> measured.add(p.format().mode())));
        measured.remove(Format.Mode.DENSE);
        for (Format.Mode mode : request.modes()) {
            if (mode != Format.Mode.DENSE && !measured.isEmpty() && !measured.contains(mode)) {
                throw new UsageException("--formats: the profile holds no measurement of " + mode.mlxName() + "; analyze with --formats "
                        + String.join(",", request.modes().stream().map(Format.Mode::mlxName).toList()));
            }
        }
    }

    static Manifest priced(PlanProblem problem, long limit) {
        PlanProblem.Solved solved = problem.solve(limit);
        List<Decision> decisions = new ArrayList<>();
        String reason = "least " + problem.request.policy().objective().orElseThrow().label() + " at the price of a byte";
        for (int i = 0; i < problem.choices.size(); i++) {
            Choice c = problem.choices.get(i);
            Format format = solved.chosen().get(i).format();
            decisions.add(settled(c).orElseGet(() -> c.floor().isPresent() && format.equals(c.smallest().format())
                    ? new Decision(format, Why.FLOOR, c.floor().get())
                    : new Decision(format, Why.BUDGET, reason)));
        }
        Solver.Solution s = solved.solution();
        ShardPlan files = OutputSize.of(problem.profile, solved.formats());
        long used = problem.countsData() ? files.dataBytes() : files.totalBytes();
        if (used > limit) {
            throw new IllegalStateException("a plan of " + used + " bytes for a limit of " + limit);
        }
        return manifest(problem, decisions, files, List.of(),
                new Manifest.SolverReport("knapsack", s.objective(), s.lowerBound(), s.proven(), s.price(), solved.reserved()));
    }

    private static Manifest ruled(PlanProblem problem) {
        PlanRequest request = problem.request;
        UnpricedPolicies rules = new UnpricedPolicies(problem.profile, request, problem.choices);
        List<Decision> decisions = rules.decide();
        ShardPlan files = OutputSize.of(problem.profile, decisions.stream().map(Decision::format).toList());
        if (request.limit() != Limit.NONE) {
            long limit = problem.limit();
            long used = problem.countsData() ? files.dataBytes() : files.totalBytes();
            if (used > limit) {
                throw new BudgetException("the policy needs " + ByteSize.exact(used) + ", more than the budget of " + ByteSize.exact(limit)
                        + "; policy budget can go down to " + ByteSize.exact(problem.smallestSafe), problem.smallestSafe, problem.smallestUnsafe);
            }
        }
        double damage = 0;
        for (int i = 0; i < decisions.size(); i++) {
            damage += problem.choices.get(i).measured(decisions.get(i).format()).orElseThrow().damage();
        }
        return manifest(problem, decisions, files, rules.notes(), new Manifest.SolverReport("rule", damage, 0, false, 0, 0));
    }

    /// What is settled whatever the policy: modules that cannot be quantized, and the user's rules.
    static Optional<Decision> settled(Choice c) {
        if (c.module().mustStayDense().isPresent()) {
            return Optional.of(new Decision(Format.DENSE, Why.CANNOT_QUANTIZE, c.module().mustStayDense().get()));
        }
        if (c.rule().isPresent()) {
            return Optional.of(new Decision(c.rule().get().format(), Why.OVERRIDE, c.rule().get().option()));
        }
        if (c.measured().size() == 1) {
            return Optional.of(new Decision(Format.DENSE, Why.CANNOT_QUANTIZE, "no format fits its shape " + c.module().shape()));
        }
        return Optional.empty();
    }

    private static Manifest manifest(PlanProblem problem, List<Decision> decisions, ShardPlan files, List<String> policyNotes, Manifest.SolverReport solver) {
        Profile profile = problem.profile;
        List<ModulePlan> modules = new ArrayList<>();
        int unsafe = 0;
        for (int i = 0; i < decisions.size(); i++) {
            Choice choice = problem.choices.get(i);
            Decision d = decisions.get(i);
            Candidate c = choice.measured(d.format()).orElseThrow();
            unsafe += c.safe() ? 0 : 1;
            modules.add(new ModulePlan(choice.module().path(), choice.module().kind(), choice.module().layer(), choice.module().shape(), choice.module().dtype(),
                    d.format(), c.bytes(), c.relativeError(), OptionalDouble.empty(), c.damage(), d.why(), d.reason(), better(choice, c), cheaper(choice, c)));
        }
        List<String> notes = new ArrayList<>(policyNotes);
        notes.addAll(profile.architecture().assumptions());
        if (profile.modules().stream().anyMatch(m -> m.sensitivity() > 0)) {
            double predicted = modules.stream().mapToDouble(ModulePlan::damage).sum();
            notes.add(String.format(Locale.ROOT, "Predicted damage is a mean KL divergence in nats per token, right to within a factor of %.0f on small trained models%s.", Damage.TRUST,
                    predicted > Damage.MOST_TRUSTED ? String.format(Locale.ROOT, " up to %.1f; above that, as here, measured divergences were up to four times as large", Damage.MOST_TRUSTED) : ""));
        }
        if (problem.request.policy().isPriced() && modules.stream().allMatch(m -> m.format().isDense()) && modules.stream().anyMatch(m -> m.why() == Why.BUDGET)) {
            notes.add("The whole model fits as it is, so nothing is quantized; set a budget below " + ByteSize.format(problem.largest) + " to quantize it.");
        }
        if (unsafe > 0) {
            notes.add(String.format(Locale.ROOT, "%d of %d modules are below the noise floor of 9 dB.", unsafe, modules.size()));
        }
        long borrowed = profile.modules().stream().filter(m -> !m.sensitivitySource().equals("propagated")).count();
        if (borrowed > 0) {
            notes.add(borrowed + " of " + modules.size() + " modules have a borrowed sensitivity, because the propagation does not cover them.");
        }
        problem.request.mlxVersion().flatMap(v -> v.warning(decisions.stream().map(Decision::format).toList())).ifPresent(notes::add);
        notes.addAll(OutlyingExperts.of(profile));
        Manifest.Sizes sizes = new Manifest.Sizes(files.totalBytes(), files.dataBytes(), OutputSize.data(OutputSize.fixed(profile)), files.shards().size(), problem.parameters,
                problem.smallestSafe, problem.smallestUnsafe, problem.largest);
        return new Manifest(profile.toolVersion(), profile.files(), profile.architecture(), profile.layers(), profile.options(), problem.request.options(),
                problem.request.policy().label(), notes, problem.request.limit(), sizes, solver, modules,
                Coverage.of(profile, decisions.stream().map(Decision::format).toList(), decisions.stream().map(Decision::reason).toList()), Optional.empty(), Optional.empty(), List.of(), List.of());
    }

    /// The open alternatives of a module: what it may have, or could have without the rule that decided.
    private static List<Candidate> alternatives(Choice choice) {
        return choice.rule().isEmpty() ? choice.allowed() : choice.measured().stream().filter(Candidate::safe)
                .filter(c -> !Candidates.isRouting(choice.module().kind()) || Candidates.isFineEnoughForRouting(c.format())).toList();
    }

    static Optional<Alternative> better(Choice choice, Candidate chosen) {
        Alternative best = null;
        for (Candidate c : alternatives(choice)) {
            if (c.bytes() > chosen.bytes() && c.damage() < chosen.damage()) {
                double price = (chosen.damage() - c.damage()) / (c.bytes() - chosen.bytes());
                if (best == null || price > best.price()) {
                    best = new Alternative(c.format(), c.bytes(), c.damage(), price);
                }
            }
        }
        return Optional.ofNullable(best);
    }

    static Optional<Alternative> cheaper(Choice choice, Candidate chosen) {
        Alternative best = null;
        for (Candidate c : alternatives(choice)) {
            if (c.bytes() < chosen.bytes() && c.damage() >= chosen.damage()) {
                double price = (c.damage() - chosen.damage()) / (chosen.bytes() - c.bytes());
                if (best == null || price < best.price()) {
                    best = new Alternative(c.format(), c.bytes(), c.damage(), price);
                }
            }
        }
        return Optional.ofNullable(best);
    }
}
