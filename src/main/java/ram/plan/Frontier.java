package ram.plan;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.UsageException;
import ram.format.Format;
import ram.profile.Profile;

/// Least predicted damage for many sizes.
///
/// @param points by rising budget; damage never rises along them
/// @param knee index of the point with the most quality for its size: the farthest below the chord from the first to the last
///             point that has any damage, with size and the logarithm of damage each scaled to [0, 1]; -1 of fewer than three such points
/// @param machines the best plan for the memory of each of [Devices#SHOWN_GIB], by rising memory
/// @param smallest size in bytes below which nothing can be planned
/// @param inNats whether damage is a divergence in nats, right to within [Damage#TRUST]; otherwise it has no unit
public record Frontier(List<Point> points, int knee, List<Machine> machines, long smallest, boolean inNats) {
    /// One budget.
    ///
    /// @param budget most bytes of all files
    /// @param bytes of the files that the plan needs
    /// @param price damage saved by one more byte at the margin
    /// @param shares part of all modules' weights by bits of a code, those that stay dense under 0
    public record Point(long budget, long bytes, double bitsPerWeight, double damage, double price, boolean proven, SortedMap<Integer, Double> shares) {
        public Point {
            shares = Collections.unmodifiableSortedMap(new TreeMap<>(shares));
        }
    }

    /// A machine.
    ///
    /// @param gib its memory
    /// @param budget what [Devices] leaves for the weights
    /// @param point empty when not even the smallest plan fits
    public record Machine(int gib, long budget, Optional<Point> point) {
    }

    public Frontier {
        points = List.copyOf(points);
        machines = List.copyOf(machines);
    }

    /// The point of the knee, the budget of `--target knee`.
    ///
    /// @throws UsageException when there is none
    Point atKnee() {
        if (knee < 0) {
            throw new UsageException("--target knee: the frontier of this model has no knee; give a --budget");
        }
        return points.get(knee);
    }

    /// Solves `n` budgets in equal steps from the smallest possible size to the size at which nothing is quantized; of more than 2,000 modules without the search
    /// that proves a plan the best.
    ///
    /// @param request its limit is not used
    /// @throws UsageException when the policy is not priced or `n` is not 2 to 100,000
    public static Frontier solve(Profile profile, PlanRequest request, int n) {
        Objective objective = request.policy().objective().orElseThrow(() -> new UsageException(
                "policies that decide module by module have no frontier; use " + String.join(" or ", Policy.labels(Policy::isPriced))));
        if (n < 2 || n > 100_000) {
            throw new UsageException("--budgets must be 2 to 100000, not " + n);
        }
        PlanProblem problem = new PlanProblem(profile, request.within(Limit.NONE));
        long low = request.allowUnsafe() ? problem.smallestUnsafe : problem.smallestSafe;
        long high = Math.max(low, problem.largest);
        List<Point> points = new ArrayList<>();
        List<Format> lastFormats = List.of();
        for (int i = 0; i < n; i++) {
            long budget = i == n - 1 ? high : low + (high - low) / (n - 1) * i;
            PlanProblem.Solved solved = problem.solve(budget, true);
            Solver.Solution s = solved.solution();
            List<Format> formats = solved.formats();
            if (!points.isEmpty() && (formats.equals(lastFormats) || s.objective() > points.getLast().damage())) {
                Point last = points.getLast();
                points.add(new Point(budget, last.bytes, last.bitsPerWeight, last.damage, s.price(), last.proven, last.shares));
                continue;
            }
            lastFormats = formats;
            points.add(point(problem, budget, solved));
        }
        List<Machine> machines = new ArrayList<>();
        for (int gib : Devices.SHOWN_GIB) {
            long budget = Devices.weightBytes(gib);
            machines.add(new Machine(gib, budget, budget < low ? Optional.empty() : Optional.of(point(problem, budget, problem.solve(budget, true)))));
        }
        return new Frontier(points, knee(points), machines, low, objective.isDivergence() && profile.modules().stream().anyMatch(m -> m.sensitivity() > 0));
    }

    private static Point point(PlanProblem problem, long budget, PlanProblem.Solved solved) {
        Solver.Solution s = solved.solution();
        List<Format> formats = solved.formats();
        PlanProblem.Totals totals = problem.totals(formats);
        SortedMap<Integer, Long> weights = new TreeMap<>();
        long all = 0;
        for (int i = 0; i < formats.size(); i++) {
            long own = problem.choices.get(i).module().parameters();
            weights.merge(formats.get(i).bits(), own, Long::sum);
            all += own;
        }
        SortedMap<Integer, Double> shares = new TreeMap<>();
        for (Map.Entry<Integer, Long> e : weights.entrySet()) {
            shares.put(e.getKey(), (double) e.getValue() / all);
        }
        return new Point(budget, totals.files(), problem.parameters == 0 ? 0 : 8.0 * totals.data() / problem.parameters, s.objective(), s.price(), s.proven(), shares);
    }

    private static int knee(List<Point> points) {
        int last = points.size() - 1;
        while (last >= 0 && points.get(last).damage() <= 0) {
            last--;
        }
        if (last < 2) {
            return -1;
        }
        double left = points.getFirst().bytes();
        double width = points.get(last).bytes() - left;
        double bottom = StrictMath.log(points.get(last).damage());
        double height = StrictMath.log(points.getFirst().damage()) - bottom;
        int best = -1;
        double most = 0;
        for (int i = 1; i < last && width > 0 && height > 0; i++) {
            double below = 1 - (points.get(i).bytes() - left) / width - (StrictMath.log(points.get(i).damage()) - bottom) / height;
            if (below > most) {
                most = below;
                best = i;
            }
        }
        return best;
    }
}
