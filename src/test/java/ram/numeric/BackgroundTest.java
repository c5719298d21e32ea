package ram.numeric;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BackgroundTest {
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void whatIsThrownComesOutAsItIs(int threads) {
        for (Throwable thrown : new Throwable[] {new IllegalArgumentException("x"), new OutOfMemoryError("y")}) {
            Background<String> background = new Background<>(threads, () -> {
                throw Workers.rethrow(thrown);
            });
            assertSame(thrown, assertThrows(Throwable.class, background::get));
        }
        assertEquals("done", new Background<>(threads, () -> "done").get());
    }

    @Test
    void theEndIsWaitedForInSpiteOfAnInterrupt() {
        assertTimeoutPreemptively(Duration.ofSeconds(20), () -> {
            CountDownLatch begun = new CountDownLatch(1);
            CountDownLatch released = new CountDownLatch(1);
            AtomicBoolean ended = new AtomicBoolean();
            Background<String> background = new Background<>(2, () -> {
                begun.countDown();
                try {
                    released.await();
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
                ended.set(true);
                throw new IllegalArgumentException("nobody asks");
            });
            background.begin();
            begun.await();
            Thread waiter = Thread.currentThread();
            Thread.ofPlatform().daemon().start(() -> {
                waiter.interrupt();
                released.countDown();
            });
            background.await();
            assertTrue(ended.get());
            // the interrupt may still be on its way
            while (!Thread.interrupted()) {
                Thread.onSpinWait();
            }
        });
    }

    @Test
    void nothingIsWaitedForThatWasNotBegun() {
        AtomicBoolean ran = new AtomicBoolean();
        new Background<>(2, () -> ran.getAndSet(true)).await();
        new Background<>(1, () -> ran.getAndSet(true)).await();
        assertFalse(ran.get());
    }
}
