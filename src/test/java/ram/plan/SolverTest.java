package ram.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import ram.format.Format;
import ram.plan.Solver.Item;
import ram.plan.Solver.Option;
import ram.plan.Solver.Solution;
import ram.safetensors.DType;
import ram.safetensors.Shape;

class SolverTest {
    private static List<Item> random(Random random, int items, int options, int maxBytes, boolean wholeDamage) {
        List<Item> out = new ArrayList<>();
        for (int i = 0; i < items; i++) {
            List<Option> list = new ArrayList<>();
            for (int j = 0; j < 1 + random.nextInt(options); j++) {
                list.add(new Option(random.nextInt(maxBytes), wholeDamage ? random.nextInt(12) : random.nextDouble()));
            }
            out.add(new Item(list));
        }
        return out;
    }

    private static double bruteForce(List<Item> items, int from, long capacity) {
        if (capacity < 0) {
            return Double.POSITIVE_INFINITY;
        }
        if (from == items.size()) {
            return 0;
        }
        double best = Double.POSITIVE_INFINITY;
        for (Option o : items.get(from).options()) {
            best = Math.min(best, o.damage() + bruteForce(items, from + 1, capacity - o.bytes()));
        }
        return best;
    }

    private static double tableOverBytes(List<Item> items, int capacity) {
        double[] best = new double[capacity + 1];
        for (Item item : items) {
            double[] next = new double[capacity + 1];
            Arrays.fill(next, Double.POSITIVE_INFINITY);
            for (Option o : item.options()) {
                for (int c = (int) o.bytes(); c <= capacity; c++) {
                    next[c] = Math.min(next[c], best[c - (int) o.bytes()] + o.damage());
                }
            }
            best = next;
        }
        return best[capacity];
    }

    private static void check(List<Item> items, long capacity, Solution s, double expected) {
        long bytes = 0;
        double damage = 0;
        for (int i = 0; i < items.size(); i++) {
            bytes += items.get(i).options().get(s.choices()[i]).bytes();
            damage += items.get(i).options().get(s.choices()[i]).damage();
        }
        assertEquals(bytes, s.bytes());
        assertTrue(bytes <= capacity);
        assertEquals(damage, s.objective(), 1e-12 * (1 + damage));
        assertEquals(expected, s.objective(), 1e-12 * (1 + expected));
        assertTrue(s.proven());
        assertEquals(0, s.gap());
    }

    @Test
    void agreesWithBruteForce() {
        for (int seed = 0; seed < 6000; seed++) {
            Random random = new Random(seed);
            List<Item> items = random(random, 1 + random.nextInt(6), 5, 1 + random.nextInt(60), seed % 2 == 0);
            Solver solver = Solver.of(items);
            long capacity = random.nextInt((int) solver.maxBytes() + 5);
            double expected = bruteForce(items, 0, capacity);
            if (expected == Double.POSITIVE_INFINITY) {
                assertTrue(capacity < solver.minBytes());
                assertThrows(IllegalArgumentException.class, () -> solver.solve(capacity));
            } else {
                check(items, capacity, solver.solve(capacity), expected);
            }
        }
    }

    @Test
    void agreesWithATableOverAllByteCounts() {
        for (int seed = 0; seed < 150; seed++) {
            Random random = new Random(1000 + seed);
            List<Item> items = random(random, 60, 12, seed % 3 == 0 ? 10 : 120, false);
            Solver solver = Solver.of(items);
            int capacity = (int) (solver.minBytes() + random.nextInt((int) (solver.maxBytes() - solver.minBytes()) + 1));
            check(items, capacity, solver.solve(capacity), tableOverBytes(items, capacity));
        }
    }

    @Test
    void moreCapacityNeverPredictsMoreDamage() {
        for (int seed = 0; seed < 40; seed++) {
            List<Item> items = random(new Random(seed), 40, 8, 500, false);
            Solver solver = Solver.of(items);
            double last = Double.POSITIVE_INFINITY;
            for (long c = solver.minBytes(); c <= solver.maxBytes() + 1; c += 37) {
                double now = solver.solve(c).objective();
                assertTrue(now <= last * (1 + 1e-12), () -> "more damage with more bytes");
                last = now;
            }
        }
    }

    @Test
    void theBoundHoldsWhenTheSearchIsCutShort() {
        int cut = 0;
        for (int seed = 0; seed < 1500; seed++) {
            Random random = new Random(seed);
            List<Item> items = random(random, 30, 8, 90, seed % 2 == 0);
            Solver solver = Solver.of(items);
            int capacity = (int) (solver.minBytes() + random.nextInt((int) (solver.maxBytes() - solver.minBytes()) + 1));
            Solution s = solver.solve(capacity, new int[] {2, 4});
            double best = tableOverBytes(items, capacity);
            assertTrue(s.lowerBound() <= best * (1 + 1e-12) && best <= s.objective() * (1 + 1e-12), () -> s + " " + best);
            assertTrue(!s.proven() || s.objective() <= best * (1 + 1e-12));
            cut += s.proven() ? 0 : 1;
        }
        assertTrue(cut > 50, "the limit was hit " + cut + " times");
    }

    @Test
    void noItemsCostNothing() {
        Solution s = Solver.of(List.of()).solve(0);
        assertEquals(0, s.bytes());
        assertTrue(s.proven());
    }

    @Test
    void ofEqualOptionsTheFirstIsKept() {
        Solution s = Solver.of(List.of(new Item(List.of(new Option(5, 1), new Option(5, 1), new Option(6, 1))))).solve(10);
        assertArrayEquals(new int[] {0}, s.choices());
    }

    /// Items with the sizes and error ratios of real modules.
    static List<Item> modelLike(int count, long seed) {
        Random random = new Random(seed);
        long[][] shapes = {{4096, 4096}, {1024, 4096}, {1024, 4096}, {4096, 4096}, {12288, 4096}, {12288, 4096}, {4096, 12288}};
        List<Item> out = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Shape shape = Shape.of(i == 0 ? new long[] {151936, 4096} : shapes[i % shapes.length]);
            double weight = Math.exp(random.nextGaussian()) / count * Math.sqrt(shape.elements() / 1e7);
            List<Option> options = new ArrayList<>();
            for (Format f : Format.allAffine()) {
                double error = 1.2 * Math.pow(4, -f.bits()) * Math.pow(f.groupSize() / 64.0, 0.3) * (1 + 0.02 * random.nextGaussian());
                options.add(new Option(f.bytes(shape, DType.BF16) + 8 * random.nextInt(3), weight * error));
            }
            options.add(new Option(Format.DENSE.bytes(shape, DType.BF16), 0));
            out.add(new Item(options));
        }
        return out;
    }

    @Test
    void solvesModelsOfRealSize() {
        for (int count : new int[] {400, 5_000, 20_000}) {
            Solver solver = Solver.of(modelLike(count, count));
            for (double bits : new double[] {3.1, 4.4, 4.6, 7.3}) {
                Solution s = solver.solve((long) (solver.maxBytes() * bits / 16));
                assertTrue(s.proven() || count > 400);
                assertTrue(s.gap() <= 1e-5 * s.objective());
            }
        }
    }
}
