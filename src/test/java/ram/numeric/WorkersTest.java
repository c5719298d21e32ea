package ram.numeric;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class WorkersTest {
    private static final List<Integer> ITEMS = IntStream.range(0, 200).boxed().toList();

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 5})
    void resultsComeInInputOrder(int threads) {
        try (Workers workers = new Workers(threads)) {
            assertEquals(ITEMS.stream().map(i -> i * i).toList(), workers.map(ITEMS, i -> {
                if (i % 7 == 0) {
                    Thread.yield();
                }
                return i * i;
            }));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void rangesCoverEveryNumberOnce(int threads) {
        try (Workers workers = new Workers(threads)) {
            for (int[] countAndStep : new int[][] {{0, 5}, {1, 5}, {5, 5}, {11, 5}, {200, 1}, {Integer.MAX_VALUE, 1 << 30}}) {
                int step = countAndStep[1];
                AtomicLong covered = new AtomicLong();
                workers.forRanges(countAndStep[0], step, (from, to) -> {
                    assertEquals(0, from % step);
                    assertTrue(from < to && to - from <= step);
                    covered.addAndGet(to - from);
                });
                assertEquals(countAndStep[0], covered.get());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void firstFailureIsThrownAndStopsTheRest(int threads) {
        AtomicInteger started = new AtomicInteger();
        AtomicInteger running = new AtomicInteger();
        RuntimeException failure = new RuntimeException("item 5");
        try (Workers workers = new Workers(threads)) {
            assertSame(failure, assertThrows(RuntimeException.class, () -> workers.map(ITEMS, i -> {
                started.incrementAndGet();
                running.incrementAndGet();
                try {
                    if (i == 5) {
                        throw failure;
                    }
                    return i;
                } finally {
                    running.decrementAndGet();
                }
            })));
            assertTrue(started.get() <= 6 + 2 * threads, "started " + started);
            assertEquals(0, running.get());
            assertEquals(List.of(1), workers.map(List.of(1), i -> i), "usable afterwards");
        }
    }

    @Test
    void fewTasksAreUnderWayAtOnce() {
        AtomicInteger begun = new AtomicInteger();
        AtomicInteger collected = new AtomicInteger();
        try (Workers workers = new Workers(3)) {
            workers.forEach(ITEMS, i -> begun.incrementAndGet() - collected.get(), ahead -> {
                collected.incrementAndGet();
                assertTrue(ahead <= 7, ahead + " ahead");
            });
        }
        assertEquals(200, collected.get());
    }

    @Test
    void largeItemDoesNotHoldUpThoseAfterIt() {
        CountDownLatch others = new CountDownLatch(40);
        List<Integer> collected = new ArrayList<>();
        try (Workers workers = new Workers(2)) {
            workers.forEach(ITEMS, 40, i -> {
                if (i == 0) {
                    await(others);
                } else {
                    others.countDown();
                }
                return i;
            }, collected::add);
        }
        assertEquals(ITEMS, collected);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void interruptionStops(int threads) {
        try (Workers workers = new Workers(threads)) {
            Thread.currentThread().interrupt();
            assertThrows(CancellationException.class, () -> workers.map(ITEMS, i -> i));
            assertTrue(Thread.interrupted());
        }
    }

    private static void await(CountDownLatch latch) {
        try {
            assertTrue(latch.await(60, TimeUnit.SECONDS));
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void workWithinWorkRuns() {
        try (Workers workers = new Workers(2)) {
            assertEquals(List.of(3, 3, 3), workers.map(List.of(1, 2, 3), i -> workers.map(ITEMS.subList(0, 3), j -> j).stream().mapToInt(j -> j).sum()));
        }
    }
}
