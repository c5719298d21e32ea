package ram.numeric;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class HandoffTest {
    private static final Duration LIMIT = Duration.ofSeconds(20);

    @Test
    void everyItemArrivesOnceAndInOrder() {
        assertTimeoutPreemptively(LIMIT, () -> {
            Handoff<Integer> handoff = new Handoff<>();
            CompletableFuture<List<Integer>> taken = CompletableFuture.supplyAsync(() -> {
                List<Integer> all = new ArrayList<>();
                handoff.forEach(all::add);
                return all;
            });
            List<Integer> given = new ArrayList<>();
            for (int b = 0; b < 500; b++) {
                List<Integer> batch = b % 7 == 0 ? List.of() : List.of(b, -b, b * 2);
                given.addAll(batch);
                assertTrue(handoff.give(batch));
            }
            handoff.complete();
            assertEquals(given, taken.get());
        });
    }

    @Test
    void theGiverIsOneBatchAheadAndNoMore() {
        assertTimeoutPreemptively(LIMIT, () -> {
            Handoff<Integer> handoff = new Handoff<>();
            AtomicInteger given = new AtomicInteger();
            CompletableFuture<Void> giver = CompletableFuture.runAsync(() -> {
                for (int b = 0; b < 10; b++) {
                    handoff.give(List.of(b, b));
                    given.incrementAndGet();
                }
                handoff.complete();
            });
            Iterator<Integer> items = handoff.iterator();
            for (int b = 0; b < 10; b++) {
                assertEquals(b, items.next());
                assertTrue(given.get() <= b + 2, given + " batches given while the batch " + b + " is gone through");
                assertEquals(b, items.next());
            }
            assertFalse(items.hasNext());
            assertThrows(NoSuchElementException.class, items::next);
            giver.get();
        });
    }

    @Test
    void closingFreesBothSides() {
        assertTimeoutPreemptively(LIMIT, () -> {
            Handoff<Integer> full = new Handoff<>();
            assertTrue(full.give(List.of(1)));
            CompletableFuture<Boolean> giver = CompletableFuture.supplyAsync(() -> full.give(List.of(2)));
            full.close();
            assertFalse(giver.get(), "nobody takes what was given");
            assertFalse(full.iterator().hasNext(), "what waits is not gone through any more");

            Handoff<Integer> empty = new Handoff<>();
            CompletableFuture<Boolean> taker = CompletableFuture.supplyAsync(() -> empty.iterator().hasNext());
            empty.close();
            assertFalse(taker.get());
        });
    }

    @Test
    void anInterruptedThreadWaitsNoLonger() {
        assertTimeoutPreemptively(LIMIT, () -> {
            Handoff<Integer> handoff = new Handoff<>();
            Thread.currentThread().interrupt();
            assertThrows(CancellationException.class, () -> handoff.iterator().hasNext());
            assertTrue(Thread.interrupted());
        });
    }
}
