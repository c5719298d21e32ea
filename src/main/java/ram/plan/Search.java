package ram.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/// The search above one Lagrangian solution: a dynamic program over the options that can be part of a better one. Bytes and costs are relative to it.
final class Search {
    private static final long MAX_WORK = 30_000_000;
    // Damages are sums of up to tens of thousands of doubles; below this part of the objective a gap is rounding.
    private static final double ROUNDING = 1e-13;

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

    private final List<Hull> hulls;
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
    Search(List<Hull> hulls, int[] start, double price, long slack) {
        this.hulls = hulls;
        this.start = start;
        this.price = price;
        this.slack = slack;
        this.bestExcess = price * slack;
    }

    Solver.Solution run(int[] statesPerPass) {
        double rounding = Hull.damageOf(hulls, start) * ROUNDING;
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
        double objective = Hull.damageOf(hulls, positions);
        double lowerBound = proven ? objective : Math.max(0, objective - (bestExcess - dropped));
        return new Solver.Solution(Hull.optionsOf(hulls, positions), Hull.bytesOf(hulls, positions), objective, lowerBound, proven, price);
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
            for (int j = start[i] + 1; j < h.bytes().length && h.bytes()[j] - h.bytes()[start[i]] <= slack; j++) {
                double gain = h.damage()[start[i]] - h.damage()[j];
                most = new Change(i, j, h.bytes()[j] - h.bytes()[start[i]], reducedCost(h, start[i], j), gain);
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
        return Math.max(0, h.damage()[to] - h.damage()[from] + price * (h.bytes()[to] - h.bytes()[from]));
    }

    private List<Core> cores() {
        List<Core> out = new ArrayList<>();
        for (int i = 0; i < start.length; i++) {
            Hull h = hulls.get(i);
            int[] position = new int[h.bytes().length];
            int m = 0;
            double least = Double.POSITIVE_INFINITY;
            for (int j = 0; j < h.bytes().length; j++) {
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
                    extra[a] = h.bytes()[position[a]] - h.bytes()[start[i]];
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
