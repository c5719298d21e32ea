package ram.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
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
    private static final long MAX_WORK = 30_000_000;
    // Damages are sums of up to tens of thousands of doubles; below this part of the objective a gap is rounding.
    private static final double ROUNDING = 1e-13;

    private final List<Hull> hulls;
    /// What each step of all hulls saves per byte, rising, and the bytes of all options when it and those after it are taken.
    private final double[] slopes;
    private final long[] bytesFrom;
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

    /// An item's options that no other dominates, by rising bytes and falling damage; `onHull` are the positions on the lower
    /// convex hull, `slopes` what the step to each saves per byte.
    private record Hull(long[] bytes, double[] damage, int[] option, int[] onHull, double[] slopes) {
        static Hull of(Item item) {
            List<Option> options = item.options();
            Integer[] order = new Integer[options.size()];
            Arrays.setAll(order, i -> i);
            Arrays.sort(order, Comparator.<Integer>comparingLong(i -> options.get(i).bytes()).thenComparingDouble(i -> options.get(i).damage()));
            long[] bytes = new long[order.length];
            double[] damage = new double[order.length];
            int[] option = new int[order.length];
            int n = 0;
            for (int i : order) {
                if (n == 0 || options.get(i).damage() < damage[n - 1]) {
                    bytes[n] = options.get(i).bytes();
                    damage[n] = options.get(i).damage();
                    option[n++] = i;
                }
            }
            int[] hull = new int[n];
            int h = 0;
            for (int j = 0; j < n; j++) {
                while (h >= 2 && slope(bytes, damage, hull[h - 2], hull[h - 1]) <= slope(bytes, damage, hull[h - 1], j)) {
                    h--;
                }
                hull[h++] = j;
            }
            double[] slopes = new double[h];
            for (int k = 1; k < h; k++) {
                slopes[k] = slope(bytes, damage, hull[k - 1], hull[k]);
            }
            return new Hull(Arrays.copyOf(bytes, n), Arrays.copyOf(damage, n), Arrays.copyOf(option, n), Arrays.copyOf(hull, h), slopes);
        }

        /// Damage saved per byte from position i to j.
        static double slope(long[] bytes, double[] damage, int i, int j) {
            return (damage[i] - damage[j]) / (bytes[j] - bytes[i]);
        }

        double slopeTo(int h) {
            return slopes[h];
        }

        /// Position reached by taking every step of the hull that saves more than `price` per byte.
        int after(double price) {
            int h = 0;
            while (h + 1 < onHull.length && slopeTo(h + 1) > price) {
                h++;
            }
            return onHull[h];
        }
    }

    private Solver(List<Hull> hulls) {
        this.hulls = hulls;
        int steps = 0;
        long min = 0;
        long max = 0;
        for (Hull h : hulls) {
            steps += h.onHull.length - 1;
            min = Math.addExact(min, h.bytes[0]);
            max = Math.addExact(max, h.bytes[h.bytes.length - 1]);
        }
        record Step(double slope, long bytes) {
        }
        List<Step> all = new ArrayList<>(steps);
        for (Hull h : hulls) {
            for (int j = 1; j < h.onHull.length; j++) {
                all.add(new Step(h.slopeTo(j), h.bytes[h.onHull[j]] - h.bytes[h.onHull[j - 1]]));
            }
        }
        all.sort(Comparator.comparingDouble(Step::slope));
        this.slopes = all.stream().mapToDouble(Step::slope).toArray();
        this.bytesFrom = new long[steps];
        long taken = min;
        for (int i = steps - 1; i >= 0; i--) {
            taken += all.get(i).bytes;
            bytesFrom[i] = taken;
        }
        for (int i = 1; i < steps; i++) {
            if (slopes[i] == slopes[i - 1]) {
                bytesFrom[i] = bytesFrom[i - 1];
            }
        }
        this.minBytes = min;
        this.maxBytes = max;
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
                best[i] = hulls.get(i).bytes.length - 1;
            }
            double objective = damageOf(best);
            return new Solution(optionsOf(best), bytesOf(best), objective, objective, true, 0);
        }
        double price = breakPrice(capacity);
        for (int i = 0; i < n; i++) {
            best[i] = hulls.get(i).after(price);
        }
        return new Search(best, price, capacity - bytesOf(best)).run(maxStates);
    }

    /// The largest λ at which taking every step that saves at least λ per byte no longer fits.
    private double breakPrice(long capacity) {
        int low = 0;
        int high = slopes.length - 1;
        while (low < high) {
            int mid = low + high + 1 >>> 1;
            if (bytesFrom[mid] > capacity) {
                low = mid;
            } else {
                high = mid - 1;
            }
        }
        return slopes[low];
    }

    private long bytesOf(int[] positions) {
        long sum = 0;
        for (int i = 0; i < positions.length; i++) {
            sum += hulls.get(i).bytes[positions[i]];
        }
        return sum;
    }

    private double damageOf(int[] positions) {
        double sum = 0;
        for (int i = 0; i < positions.length; i++) {
            sum += hulls.get(i).damage[positions[i]];
        }
        return sum;
    }

    private int[] optionsOf(int[] positions) {
        int[] out = new int[positions.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = hulls.get(i).option[positions[i]];
        }
        return out;
    }

    /// The options of one item that can still be part of a better solution, beside the one that λ prefers.
    private record Core(int item, int[] position, long[] extraBytes, double[] cost, double least) {
    }

    /// States of the dynamic program by rising bytes, each with less damage than those before it.
    private static final class Front {
        long[] bytes;
        double[] cost;
        int[] node;
        int size;

        Front(int capacity) {
            bytes = new long[capacity];
            cost = new double[capacity];
            node = new int[capacity];
        }
    }

    /// The search above one Lagrangian solution. Bytes and costs are relative to it.
    private final class Search {
        private final int[] start;
        private final double price;
        private final long slack;
        private double bestExcess;
        private long bestBytes;
        private int bestNode = -1;
        private double droppedAt = Double.POSITIVE_INFINITY;
        private long work;
        private int maxStates;
        private int[] parent = new int[1 << 12];
        private int[] nodeItem = new int[1 << 12];
        private int[] nodePosition = new int[1 << 12];
        private int nodes;

        /// @param start positions that λ prefers, all within the capacity
        /// @param slack unused bytes
        Search(int[] start, double price, long slack) {
            this.start = start;
            this.price = price;
            this.slack = slack;
            this.bestExcess = price * slack;
        }

        Solution run(int[] statesPerPass) {
            double rounding = damageOf(start) * ROUNDING;
            fillGreedily();
            int[] positions = positionsOf(bestNode);
            boolean proven = false;
            double dropped = 0;
            for (int pass = 0; pass < statesPerPass.length && !proven && work < MAX_WORK; pass++) {
                nodes = 0;
                bestNode = -1;
                maxStates = statesPerPass[pass];
                droppedAt = Double.POSITIVE_INFINITY;
                decideCores(rounding);
                if (bestNode >= 0) {
                    positions = positionsOf(bestNode);
                }
                dropped = Math.max(dropped, droppedAt);
                proven = dropped >= bestExcess || bestExcess <= rounding;
            }
            double objective = damageOf(positions);
            double lowerBound = proven ? objective : Math.max(0, objective - (bestExcess - dropped));
            return new Solution(optionsOf(positions), bytesOf(positions), objective, lowerBound, proven, price);
        }

        private int[] positionsOf(int last) {
            int[] positions = start.clone();
            for (int node = last; node >= 0; node = parent[node]) {
                positions[nodeItem[node]] = nodePosition[node];
            }
            return positions;
        }

        private void decideCores(double rounding) {
            List<Core> cores = cores();
            long[] mostUp = new long[cores.size() + 1];
            long[] mostDown = new long[cores.size() + 1];
            for (int k = cores.size() - 1; k >= 0; k--) {
                mostUp[k] = mostUp[k + 1] + Math.max(0, Arrays.stream(cores.get(k).extraBytes).max().orElse(0));
                mostDown[k] = mostDown[k + 1] + Math.max(0, -Arrays.stream(cores.get(k).extraBytes).min().orElse(0));
            }
            Front front = new Front(1);
            front.size = 1;
            front.node[0] = -1;
            for (int k = 0; k < cores.size() && front.size > 0 && bestExcess > rounding; k++) {
                Core core = cores.get(k);
                if (core.least >= bestExcess) {
                    break;
                }
                if (work > MAX_WORK) {
                    for (int s = 0; s < front.size; s++) {
                        droppedAt = Math.min(droppedAt, bound(front.bytes[s], front.cost[s], mostUp[k]));
                    }
                    break;
                }
                front = extend(front, core, mostUp[k + 1], mostDown[k + 1]);
            }
        }

        /// A first better solution: the most useful single change per item, while it fits.
        private void fillGreedily() {
            record Change(int item, int position, long bytes, double cost, double gain) {
            }
            List<Change> changes = new ArrayList<>();
            for (int i = 0; i < start.length; i++) {
                Hull h = hulls.get(i);
                Change most = null;
                for (int j = start[i] + 1; j < h.bytes.length && h.bytes[j] - h.bytes[start[i]] <= slack; j++) {
                    double gain = h.damage[start[i]] - h.damage[j];
                    most = new Change(i, j, h.bytes[j] - h.bytes[start[i]], reducedCost(h, start[i], j), gain);
                }
                if (most != null) {
                    changes.add(most);
                }
            }
            changes.sort(Comparator.comparingDouble((Change c) -> -c.gain / c.bytes).thenComparingInt(Change::item));
            long used = 0;
            double cost = 0;
            int node = -1;
            for (Change c : changes) {
                if (used + c.bytes <= slack) {
                    used += c.bytes;
                    cost += c.cost;
                    node = newNode(node, c.item, c.position);
                }
            }
            offer(used, cost, node);
        }

        private double reducedCost(Hull h, int from, int to) {
            return Math.max(0, h.damage[to] - h.damage[from] + price * (h.bytes[to] - h.bytes[from]));
        }

        private List<Core> cores() {
            List<Core> out = new ArrayList<>();
            for (int i = 0; i < start.length; i++) {
                Hull h = hulls.get(i);
                int[] position = new int[h.bytes.length];
                int m = 0;
                double least = Double.POSITIVE_INFINITY;
                for (int j = 0; j < h.bytes.length; j++) {
                    double cost = reducedCost(h, start[i], j);
                    if (j != start[i] && cost < bestExcess) {
                        position[m++] = j;
                        least = Math.min(least, cost);
                    }
                }
                if (m > 0) {
                    long[] extra = new long[m];
                    double[] costs = new double[m];
                    for (int a = 0; a < m; a++) {
                        extra[a] = h.bytes[position[a]] - h.bytes[start[i]];
                        costs[a] = reducedCost(h, start[i], position[a]);
                    }
                    out.add(new Core(i, Arrays.copyOf(position, m), extra, costs, least));
                }
            }
            out.sort(Comparator.comparingDouble(Core::least).thenComparingInt(Core::item));
            return out;
        }

        /// Excess over the Lagrangian bound that no completion of a state can undercut.
        private double bound(long bytes, double cost, long mostUp) {
            return cost + price * Math.max(0, slack - bytes - mostUp);
        }

        private void offer(long bytes, double cost, int node) {
            if (bytes <= slack) {
                double excess = cost + price * (slack - bytes);
                if (excess < bestExcess || excess == bestExcess && bytes < bestBytes) {
                    bestExcess = excess;
                    bestBytes = bytes;
                    bestNode = node;
                }
            }
        }

        private int newNode(int from, int item, int position) {
            if (nodes == parent.length) {
                parent = Arrays.copyOf(parent, 2 * nodes);
                nodeItem = Arrays.copyOf(nodeItem, 2 * nodes);
                nodePosition = Arrays.copyOf(nodePosition, 2 * nodes);
            }
            parent[nodes] = from;
            nodeItem[nodes] = item;
            nodePosition[nodes] = position;
            return nodes++;
        }

        /// All states with one more item decided: a merge of the states as they are and shifted by each option, without those that
        /// are dominated, cannot become feasible or cannot become better than the best solution.
        private Front extend(Front front, Core core, long mostUp, long mostDown) {
            int lists = core.position.length + 1;
            work += (long) lists * front.size;
            int[] at = new int[lists];
            Front out = new Front(lists * front.size);
            double leastDamage = Double.POSITIVE_INFINITY;
            while (true) {
                int next = -1;
                long nextBytes = 0;
                double nextCost = 0;
                for (int a = 0; a < lists; a++) {
                    if (at[a] < front.size) {
                        long bytes = front.bytes[at[a]] + (a == 0 ? 0 : core.extraBytes[a - 1]);
                        double cost = front.cost[at[a]] + (a == 0 ? 0 : core.cost[a - 1]);
                        if (next < 0 || bytes < nextBytes || bytes == nextBytes && cost < nextCost) {
                            next = a;
                            nextBytes = bytes;
                            nextCost = cost;
                        }
                    }
                }
                if (next < 0) {
                    break;
                }
                int from = front.node[at[next]++];
                double damage = nextCost - price * nextBytes;
                if (damage >= leastDamage || nextBytes - mostDown > slack || bound(nextBytes, nextCost, mostUp) >= bestExcess) {
                    continue;
                }
                leastDamage = damage;
                int node = next == 0 ? from : newNode(from, core.item, core.position[next - 1]);
                offer(nextBytes, nextCost, node);
                out.bytes[out.size] = nextBytes;
                out.cost[out.size] = nextCost;
                out.node[out.size++] = node;
            }
            if (out.size > maxStates) {
                keepCheapest(out, mostUp);
            }
            return out;
        }

        /// Gives up the states with the highest bounds.
        private void keepCheapest(Front front, long mostUp) {
            double[] bounds = new double[front.size];
            for (int s = 0; s < front.size; s++) {
                bounds[s] = bound(front.bytes[s], front.cost[s], mostUp);
            }
            double[] sorted = bounds.clone();
            Arrays.sort(sorted);
            double limit = Math.min(sorted[maxStates / 2], bestExcess);
            int n = 0;
            for (int s = 0; s < front.size; s++) {
                if (bounds[s] < limit) {
                    front.bytes[n] = front.bytes[s];
                    front.cost[n] = front.cost[s];
                    front.node[n++] = front.node[s];
                } else if (bounds[s] < bestExcess) {
                    droppedAt = Math.min(droppedAt, bounds[s]);
                }
            }
            front.size = n;
        }
    }
}
