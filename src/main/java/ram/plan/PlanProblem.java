package ram.plan;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
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
    /// With the damage of policy `budget`, as it is reported.
    final List<Choice> choices;
    final long parameters;
    final long smallestSafe;
    final long smallestUnsafe;
    final long largest;
    private final boolean countData;
    private final long fixed;
    private final long fixedData;
    private final long fixedCost;
    private final List<int[]> groups;
    private final List<List<Format>> groupFormats;
    private final Solver solver;

    record Totals(long data, long files) {
    }

    /// @param formats one per module
    /// @param reserved bytes of the limit that the solver was not given
    record Solved(List<Format> formats, Solution solution, long reserved) {
    }

    PlanProblem(Profile profile, PlanRequest request) {
        this.profile = profile;
        this.request = request;
        this.choices = Candidates.of(profile, Damage.of(profile), request, request.allowUnsafe());
        List<Choice> priced = request.policy() == Policy.MINT ? Candidates.of(profile, Damage.withPriors(profile), request, request.allowUnsafe()) : choices;
        this.countData = request.bitsPerWeight().isPresent();
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
        this.groups = groups(profile, request.linked());
        this.groupFormats = new ArrayList<>();
        List<Item> items = new ArrayList<>();
        for (int[] group : groups) {
            List<Format> common = common(choices, group);
            items.add(item(priced, group, common));
            groupFormats.add(common);
        }
        this.solver = Solver.of(items);
        this.smallestSafe = size(smallest(request.allowUnsafe() ? Candidates.of(profile, Damage.of(profile), request, false) : choices));
        this.smallestUnsafe = size(smallest(request.allowUnsafe() ? choices : Candidates.of(profile, Damage.of(profile), request, true)));
        this.largest = size(choices.stream().map(c -> c.allowed().getLast().format()).toList());
    }

    private static List<int[]> groups(Profile profile, List<List<String>> linked) {
        Map<String, Integer> index = new HashMap<>();
        for (int i = 0; i < profile.modules().size(); i++) {
            index.put(profile.modules().get(i).path(), i);
        }
        Set<Integer> taken = new LinkedHashSet<>();
        List<int[]> out = new ArrayList<>();
        for (List<String> paths : linked) {
            int[] group = new int[paths.size()];
            for (int i = 0; i < group.length; i++) {
                Integer module = index.get(paths.get(i));
                if (module == null) {
                    throw new UsageException("there is no module " + paths.get(i) + " to link; `ram inspect` lists them");
                }
                if (!taken.add(module)) {
                    throw new UsageException("the module " + paths.get(i) + " is linked twice");
                }
                group[i] = module;
            }
            if (group.length > 0) {
                out.add(group);
            }
        }
        for (int i = 0; i < profile.modules().size(); i++) {
            if (!taken.contains(i)) {
                out.add(new int[] {i});
            }
        }
        return out;
    }

    private List<Format> common(List<Choice> from, int[] group) {
        List<Format> common = new ArrayList<>(from.get(group[0]).allowed().stream().map(Candidate::format).toList());
        for (int module : group) {
            common.retainAll(from.get(module).allowed().stream().map(Candidate::format).toList());
        }
        if (common.isEmpty()) {
            throw new UsageException("the linked modules " + profile.modules().get(group[0]).path() + " and others have no format in common");
        }
        return List.copyOf(common);
    }

    private Item item(List<Choice> from, int[] group, List<Format> formats) {
        List<Option> options = new ArrayList<>();
        for (Format f : formats) {
            long bytes = 0;
            double damage = 0;
            for (int module : group) {
                Candidate c = from.get(module).measured(f).orElseThrow();
                bytes = Math.addExact(bytes, countData ? c.bytes() : c.cost());
                damage += c.damage();
            }
            options.add(new Option(bytes, damage));
        }
        return new Item(options);
    }

    private List<Format> smallest(List<Choice> from) {
        List<List<Format>> formats = new ArrayList<>();
        int[] least = new int[groups.size()];
        for (int g = 0; g < least.length; g++) {
            List<Format> common = common(from, groups.get(g));
            List<Option> options = item(from, groups.get(g), common).options();
            for (int o = 1; o < options.size(); o++) {
                if (options.get(o).bytes() < options.get(least[g]).bytes()) {
                    least[g] = o;
                }
            }
            formats.add(common);
        }
        return formatsOf(formats, least);
    }

    private List<Format> formatsOf(List<List<Format>> formats, int[] chosen) {
        Format[] out = new Format[choices.size()];
        for (int g = 0; g < chosen.length; g++) {
            for (int module : groups.get(g)) {
                out[module] = formats.get(g).get(chosen[g]);
            }
        }
        return List.of(out);
    }

    /// The fewest bytes whose best plan is predicted to do no more damage than this, found by bisection to the byte.
    ///
    /// @throws BudgetException when even the largest plan does more
    long leastBytesFor(double damage) {
        long low = request.allowUnsafe() ? smallestUnsafe : smallestSafe;
        long high = Math.max(low, largest);
        if (solve(high).solution().objective() > damage) {
            throw new BudgetException("a predicted KL divergence of " + damage + " cannot be reached even at the largest size of " + ByteSize.format(high), high, smallestSafe, smallestUnsafe);
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
    long limit() {
        return countData ? (long) Math.floor(request.bitsPerWeight().getAsDouble() * parameters / 8) : request.budget().orElseThrow();
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
        List<Format> formats = formatsOf(groupFormats, solution.choices());
        if (capacity < solver.minBytes()) {
            // The allowance for several files may be all that is missing.
            ShardPlan files = OutputSize.of(profile, formats);
            if ((countData ? files.dataBytes() : files.totalBytes()) > limit) {
                throw tooSmall(limit);
            }
        }
        return new Solved(formats, solution, countData ? 0 : limit - fixed - capacity);
    }

    BudgetException tooSmall(long limit) {
        String asked = countData ? request.bitsPerWeight().getAsDouble() + " bits per weight (" + limit + " bytes of data)" : ByteSize.format(limit) + " (" + limit + " bytes)";
        String unsafe = smallestUnsafe < smallestSafe
                ? ", or " + ByteSize.format(smallestUnsafe) + " (" + smallestUnsafe + " bytes) with --allow-unsafe" : "";
        return new BudgetException("the budget of " + asked + " cannot be met: the smallest possible size is " + ByteSize.format(smallestSafe) + " (" + smallestSafe + " bytes)" + unsafe,
                limit, smallestSafe, smallestUnsafe);
    }

    boolean countsData() {
        return countData;
    }
}
