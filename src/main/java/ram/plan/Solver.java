package ram.plan;

import java.util.Arrays;
import java.util.List;

/// The multiple-choice knapsack: one option per item, least total damage within a capacity in bytes.
///
/// Method: the lower convex hull of each item's options and one Lagrange multiplier λ (damage per byte) give a lower bound and a first
/// solution. Any solution's damage is the bound plus Σ reduced costs plus λ·(unused bytes), so that only options whose reduced cost is
/// below the gap can improve it. A dynamic program over those options, items in the order of their smallest reduced cost, closes the gap
/// (H. Kellerer, U. Pferschy, D. Pisinger, Knapsack Problems, 2004, chapter 11). It works within a fixed number of states, never a time,
/// so that results are reproducible; when the limit is hit the best solution so far is returned with a lower bound that is still valid.
///
/// Ties: of solutions with the same damage the one found first in the fixed order of the search, which is not always the one with the fewest
/// bytes. Options that cost at least as much as another without doing less damage are never chosen; of equal ones the first is kept.
final class Solver {
    // A pass with few states finds a good solution, which leaves the next, wider one much less to search.
    private static final int[] MAX_STATES = {5_000, 40_000, 200_000};
    private static final int MANY_ITEMS = 2_000;

    private final List<Hull> hulls;
    private final Steps steps;
    private final long minBytes;
    private final long maxBytes;

    /// One way to store an item.
    ///
    /// @param bytes 0 or more
    /// @param damage finite, 0 or more
    record Option(long bytes, double damage) {
        Option {
            if (bytes < 0 || !(damage >= 0 && damage < Double.POSITIVE_INFINITY)) {
                throw new IllegalArgumentException("an option of " + bytes + " bytes and damage " + damage);
            }
        }
    }

    /// A decision to make.
    ///
    /// @param options at least one
    record Item(List<Option> options) {
        Item {
            options = List.copyOf(options);
            if (options.isEmpty()) {
                throw new IllegalArgumentException("an item without options");
            }
        }
    }

    /// @param choices index of the chosen option per item
    /// @param objective sum of the damages
    /// @param lowerBound no solution within the capacity has less damage than this
    /// @param proven whether no solution is better, up to rounding; then `lowerBound` equals `objective`
    /// @param price λ: how much damage one more byte of capacity saves at the margin, 0 when everything is at its best
    record Solution(int[] choices, long bytes, double objective, double lowerBound, boolean proven, double price) {
        /// What a better solution could save at most.
        double gap() {
            return objective - lowerBound;
        }

        @Override
        public boolean equals(Object o) {
            return o instanceof Solution s && Arrays.equals(choices, s.choices) && bytes == s.bytes && objective == s.objective
                    && lowerBound == s.lowerBound && proven == s.proven && price == s.price;
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(choices);
        }
    }

    private Solver(List<Hull> hulls) {
        this.hulls = hulls;
        this.steps = Steps.of(hulls);
        this.minBytes = hulls.stream().mapToLong(h -> h.bytes()[0]).reduce(0, Math::addExact);
        this.maxBytes = hulls.stream().mapToLong(h -> h.bytes()[h.last()]).reduce(0, Math::addExact);
    }

    /// Prepares items for any number of capacities.
    static Solver of(List<Item> items) {
        return new Solver(items.stream().map(Hull::of).toList());
    }

    /// The smallest capacity that can be met.
    long minBytes() {
        return minBytes;
    }

    /// The capacity from which on every item is at its best.
    long maxBytes() {
        return maxBytes;
    }

    /// @throws IllegalArgumentException when even the smallest options exceed the capacity; ask [#minBytes()] first
    Solution solve(long capacity) {
        return solve(capacity, MAX_STATES);
    }

    /// The same within less effort when there are many items: the greedy solution above the Lagrangian one, whose distance to the bound shrinks as items become
    /// more, and is nearly nothing then.
    ///
    /// @throws IllegalArgumentException as [#solve(long)]
    Solution solveQuickly(long capacity) {
        return solve(capacity, hulls.size() > MANY_ITEMS ? new int[0] : MAX_STATES);
    }

    /// @param maxStates states kept in each pass of the search, at least 2 each
    Solution solve(long capacity, int[] maxStates) {
        if (capacity < minBytes) {
            throw new IllegalArgumentException("capacity " + capacity + " is below the smallest possible " + minBytes);
        }
        int n = hulls.size();
        int[] best = new int[n];
        if (capacity >= maxBytes) {
            for (int i = 0; i < n; i++) {
                best[i] = hulls.get(i).last();
            }
            double objective = Hull.damageOf(hulls, best);
            return new Solution(Hull.optionsOf(hulls, best), Hull.bytesOf(hulls, best), objective, objective, true, 0);
        }
        double price = steps.breakPrice(capacity);
        for (int i = 0; i < n; i++) {
            best[i] = hulls.get(i).after(price);
        }
        return new Search(hulls, best, price, capacity - Hull.bytesOf(hulls, best)).run(maxStates);
    }
}
