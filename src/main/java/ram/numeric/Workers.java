package ram.numeric;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;

/// Runs independent steps of work on a fixed number of platform threads. No more than one step per thread is under way at a time,
/// so memory is bounded by the number of threads, and results come back in the order of the input whatever the order of completion.
public final class Workers {
    private final int threads;

    /// @param threads 1 or more; 1 works in the calling thread
    public Workers(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("at least one thread is needed");
        }
        this.threads = threads;
    }

    /// Applies `step` to every item.
    ///
    /// @throws CancellationException when the calling thread is interrupted; running steps are interrupted and waited for
    /// @throws RuntimeException or Error the first failure of a step, in the order of the input among those that happened; the remaining steps are not begun
    public <T, R> List<R> map(List<T> items, Function<? super T, ? extends R> step) {
        Object[] results = new Object[items.size()];
        AtomicInteger next = new AtomicInteger();
        AtomicReference<Failure> failure = new AtomicReference<>();
        Runnable loop = () -> {
            for (int i = next.getAndIncrement(); i < results.length && failure.get() == null; i = next.getAndIncrement()) {
                if (Thread.currentThread().isInterrupted()) {
                    failure.compareAndSet(null, new Failure(i, new CancellationException("interrupted")));
                    return;
                }
                try {
                    results[i] = step.apply(items.get(i));
                } catch (RuntimeException | Error e) {
                    Failure mine = new Failure(i, e);
                    failure.accumulateAndGet(mine, (a, b) -> a == null || b.index() < a.index() ? b : a);
                }
            }
        };
        int helpers = Math.min(threads, items.size()) - 1;
        List<Thread> pool = new ArrayList<>();
        for (int t = 0; t < helpers; t++) {
            pool.add(Thread.ofPlatform().name("ram-" + (t + 1)).daemon(true).start(loop));
        }
        loop.run();
        join(pool, failure);
        if (failure.get() != null) {
            switch (failure.get().cause()) {
                case RuntimeException e -> throw e;
                case Error e -> throw e;
                case Throwable e -> throw new IllegalStateException(e);
            }
        }
        @SuppressWarnings("unchecked")
        List<R> out = (List<R>) Arrays.asList(results);
        return out;
    }

    private record Failure(int index, Throwable cause) {
    }

    private static void join(List<Thread> pool, AtomicReference<Failure> failure) {
        boolean interrupted = Thread.currentThread().isInterrupted();
        for (Thread thread : pool) {
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                    failure.compareAndSet(null, new Failure(Integer.MAX_VALUE, new CancellationException("interrupted")));
                    pool.forEach(Thread::interrupt);
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
