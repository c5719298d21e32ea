package ram.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import ram.UsageException;
import ram.format.Format;
import ram.plan.Candidates.Candidate;
import ram.plan.Candidates.Choice;
import ram.plan.Solver.Item;
import ram.plan.Solver.Option;
import ram.plan.Solver.Solution;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.safetensors.ShardPlan;
import ram.safetensors.ShardPlan.Entry;

/// A profile and a request made ready to be solved for any number of limits.
final class PlanProblem {
    final Profile profile;
    final PlanRequest request;
    /// With the damage that is reported, whatever is minimised.
    final List<Choice> choices;
    final long parameters;
    final long smallestSafe;
    final long smallestUnsafe;
    final long largest;
    private final boolean countData;
    private final long fixed;
    private final long fixedData;
    private final long fixedCost;
    /// What the solver chooses from, per module, with the damage that it minimises.
    private final List<List<Candidate>> open;
    private final Solver solver;

    record Totals(long data, long files) {
    }

    /// What the solver chose, and how good that is.
    ///
    /// @param chosen one per module, with the damage that was minimised
    /// @param reserved bytes of the limit that the solver was not given
    record Solved(List<Candidate> chosen, Solution solution, long reserved) {
        /// @throws IllegalStateException when the solution is one of other candidates
        Solved {
            chosen = List.copyOf(chosen);
            double damage = 0;
            for (Candidate c : chosen) {
                damage += c.damage();
            }
            // the same sum in the same order: equal to the last bit
            if (damage != solution.objective()) {
                throw new IllegalStateException("a solution of objective " + solution.objective() + " for candidates whose damage is " + damage);
            }
        }

        /// One per module.
        List<Format> formats() {
            return chosen.stream().map(Candidate::format).toList();
        }
    }

    PlanProblem(Profile profile, PlanRequest request) {
        this.profile = profile;
        this.request = request;
        this.choices = Candidates.of(profile, Damage.of(profile), request, request.allowUnsafe());
        Objective objective = request.policy().objective().orElse(Objective.DAMAGE);
        List<Choice> priced = objective == Objective.DAMAGE ? choices : Candidates.of(profile, objective.of(profile), request, request.allowUnsafe());
        this.open = priced.stream().map(Choice::allowed).toList();
        this.countData = request.limit() instanceof Limit.BitsPerWeight;
        List<Entry> fixedEntries = OutputSize.fixed(profile);
        this.fixedData = OutputSize.data(fixedEntries);
        this.fixedCost = OutputSize.cost(fixedEntries);
        this.fixed = countData ? fixedData : fixedCost;
        long n = 0;
        for (ModuleProfile m : profile.modules()) {
            n = Math.addExact(n, m.parameters());
        }
        for (Profile.PrequantizedModule p : profile.prequantized()) {
            n = Math.addExact(n, p.shape().elements());
        }
        for (Profile.PlainTensor p : profile.plain()) {
            n = Math.addExact(n, p.shape().elements());
        }
        this.parameters = n;
        List<Item> items = new ArrayList<>();
        for (List<Candidate> candidates : open) {
            items.add(new Item(candidates.stream().map(c -> new Option(countData ? c.bytes() : c.cost(), c.damage())).toList()));
        }
        this.solver = Solver.of(items);
        this.smallestSafe = size(smallest(request.allowUnsafe() ? Candidates.of(profile, Damage.of(profile), request, false) : choices));
        this.smallestUnsafe = size(smallest(request.allowUnsafe() ? choices : Candidates.of(profile, Damage.of(profile), request, true)));
        this.largest = size(choices.stream().map(c -> c.allowed().getLast().format()).toList());
    }

    private static List<Format> smallest(List<Choice> from) {
        return from.stream().map(c -> c.smallest().format()).toList();
    }

    /// The fewest bytes whose best plan is predicted to do no more damage than this, found by bisection to the byte.
    ///
    /// @throws BudgetException when even the largest plan does more
    long leastBytesFor(double damage) {
        long low = request.allowUnsafe() ? smallestUnsafe : smallestSafe;
        long high = Math.max(low, largest);
        if (solve(high).solution().objective() > damage) {
            throw new BudgetException("a predicted KL divergence of " + damage + " cannot be reached even at the largest size of " + ByteSize.format(high), smallestSafe, smallestUnsafe);
        }
        while (low < high) {
            long middle = low + (high - low) / 2;
            if (solve(middle).solution().objective() <= damage) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return high;
    }

    private long size(List<Format> formats) {
        return OutputSize.of(profile, formats).totalBytes();
    }

    /// Data and file bytes of a plan, the same as those of [OutputSize#of] without composing headers.
    Totals totals(List<Format> formats) {
        long data = fixedData;
        long cost = fixedCost;
        for (int i = 0; i < formats.size(); i++) {
            Candidate c = choices.get(i).measured(formats.get(i)).orElseThrow();
            data += c.bytes();
            cost += c.cost();
        }
        int files = 1;
        if (data > ShardPlan.SHARD_BYTES) {
            LongStream.Builder sizes = LongStream.builder();
            for (int i = 0; i < formats.size(); i++) {
                ModuleProfile m = profile.modules().get(i);
                formats.get(i).components(m.shape(), m.dtype()).forEach(c -> sizes.add(c.bytes()));
            }
            OutputSize.fixed(profile).forEach(e -> sizes.add(e.bytes()));
            files = ShardPlan.fileCount(sizes.build().toArray());
        }
        return new Totals(data, cost + files * ShardPlan.FILE_BYTES);
    }

    /// The requested limit in bytes: of files, or of tensor data when bits per weight were asked for.
    ///
    /// @throws UsageException when none was requested
    /// @throws BudgetException when no plan keeps the requested divergence
    long limit() {
        return switch (request.limit()) {
            case Limit.Budget(long bytes) -> bytes;
            case Limit.BitsPerWeight(double bits) -> (long) Math.floor(bits * parameters / 8);
            case Limit.Divergence(double nats) -> leastBytesFor(nats);
            case Limit.None _ -> throw new UsageException("--policy " + request.policy().label() + " needs a --budget, such as 16GB, or --bpw");
        };
    }

    /// @param limit in the unit of [#limit()]
    /// @throws BudgetException when it cannot be met
    Solved solve(long limit) {
        return solve(limit, false);
    }

    /// @param quickly whether a plan of many modules may stay unproven, as one of many that are solved
    Solved solve(long limit, boolean quickly) {
        long capacity = (countData ? limit : OutputSize.capacity(limit)) - fixed;
        long usable = Math.max(capacity, solver.minBytes());
        Solution solution = quickly ? solver.solveQuickly(usable) : solver.solve(usable);
        List<Candidate> chosen = IntStream.range(0, open.size()).mapToObj(i -> open.get(i).get(solution.choices()[i])).toList();
        Solved solved = new Solved(chosen, solution, countData ? 0 : limit - fixed - capacity);
        if (capacity < solver.minBytes()) {
            // The allowance for several files may be all that is missing.
            ShardPlan files = OutputSize.of(profile, solved.formats());
            if ((countData ? files.dataBytes() : files.totalBytes()) > limit) {
                throw tooSmall(limit);
            }
        }
        return solved;
    }

    BudgetException tooSmall(long limit) {
        String asked = countData ? request.limit().bitsPerWeight().orElseThrow() + " bits per weight (" + limit + " bytes of data)" : ByteSize.exact(limit);
        String unsafe = smallestUnsafe < smallestSafe
                ? ", or " + ByteSize.exact(smallestUnsafe) + " with --allow-unsafe" : "";
        return new BudgetException("the budget of " + asked + " cannot be met: the smallest possible size is " + ByteSize.exact(smallestSafe) + unsafe,
                smallestSafe, smallestUnsafe);
    }

    boolean countsData() {
        return countData;
    }
}
