package ram.numeric;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletionService;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorCompletionService;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.IntStream;

/// A fixed number of threads for work whose results are wanted in the order of the input.
/// At most two tasks per thread are under way or wait to be collected, unless more are asked for, which bounds what they hold in memory.
public final class Workers implements AutoCloseable {
    private static final int TASKS_PER_THREAD = 2;

    private final int threads;
    private final ThreadLocal<Boolean> inside = ThreadLocal.withInitial(() -> false);
    private final ExecutorService pool;

    /// @param threads 1 or more; with 1 everything runs in the caller's thread
    public Workers(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("no work gets done by " + threads + " threads");
        }
        this.threads = threads;
        AtomicInteger number = new AtomicInteger();
        this.pool = threads == 1 ? null : Executors.newFixedThreadPool(threads, task -> {
            Thread thread = new Thread(task, "ram-worker-" + number.incrementAndGet());
            thread.setDaemon(true);
            return thread;
        });
    }

    /// As many as run at once, 1 or more.
    public int threads() {
        return threads;
    }

    /// The results of `work` on each item, in the order of the items. See [#forEach].
    public <T, R> List<R> map(Iterable<? extends T> items, Function<? super T, ? extends R> work) {
        List<R> out = new ArrayList<>();
        forEach(items, work, out::add);
        return out;
    }

    /// Applies `work` to the items in several threads and hands the results, in the order of the items, to `inOrder` in the caller's thread.
    /// The first failure, in the order of the items, is thrown once all tasks under way have ended; no further ones are started.
    /// Called from within a task it runs in that task's thread.
    ///
    /// @throws CancellationException when the caller's thread is interrupted, which stays marked as interrupted
    public <T, R> void forEach(Iterable<? extends T> items, Function<? super T, ? extends R> work, Consumer<? super R> inOrder) {
        forEach(items, 0, work, inOrder);
    }

    /// The same for items of very different size, so that a large one does not hold up those after it.
    ///
    /// @param waiting how many more results may wait for that of an earlier item
    public <T, R> void forEach(Iterable<? extends T> items, int waiting, Function<? super T, ? extends R> work, Consumer<? super R> inOrder) {
        if (pool == null || inside.get()) {
            for (T item : items) {
                if (Thread.currentThread().isInterrupted()) {
                    throw new CancellationException("interrupted");
                }
                inOrder.accept(work.apply(item));
            }
            return;
        }
        AtomicBoolean stopped = new AtomicBoolean();
        int most = threads * TASKS_PER_THREAD;
        int running = 0;
        CompletionService<R> ended = new ExecutorCompletionService<>(pool);
        ArrayDeque<Future<R>> uncollected = new ArrayDeque<>();
        try {
            Iterator<? extends T> remaining = items.iterator();
            while (remaining.hasNext() || !uncollected.isEmpty()) {
                while (running < most && uncollected.size() < most + waiting && remaining.hasNext()) {
                    T item = remaining.next();
                    uncollected.add(ended.submit(() -> {
                        inside.set(true);
                        return stopped.get() ? null : work.apply(item);
                    }));
                    running++;
                }
                ended.take();
                running--;
                while (!uncollected.isEmpty() && uncollected.peek().isDone()) {
                    R result = uncollected.peek().get();
                    uncollected.remove();
                    inOrder.accept(result);
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CancellationException("interrupted");
        } catch (ExecutionException e) {
            throw rethrow(e.getCause());
        } finally {
            stopped.set(true);
            await(uncollected);
        }
    }

    /// Work on the numbers `from … to`, the last one not included.
    @FunctionalInterface
    public interface Range {
        void over(int from, int to);
    }

    /// Does work on the numbers below `count`, `step` of them at a time, in several threads. See [#forEach].
    public void forRanges(int count, int step, Range work) {
        forEach(IntStream.range(0, Math.ceilDiv(count, step)).boxed().toList(), i -> {
            int from = i * step;
            work.over(from, from + Math.min(step, count - from));
            return i;
        }, _ -> { });
    }

    /// The same as [#forEach], but the first item is done before all others, alone: vector code runs a thousand times slower until it is compiled, and the
    /// compiler gets there two to three times sooner where it has a processor to itself. For items of a second or less.
    public <T, R> void forEachAfterFirst(List<? extends T> items, Function<? super T, ? extends R> work, Consumer<? super R> inOrder) {
        if (!items.isEmpty()) {
            inOrder.accept(work.apply(items.getFirst()));
            forEach(items.subList(1, items.size()), work, inOrder);
        }
    }

    /// Throws what a task of another thread failed with.
    static RuntimeException rethrow(Throwable cause) {
        switch (cause) {
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            default -> throw new IllegalStateException(cause);
        }
    }

    /// Waits for the tasks that have begun: they may use files that the caller closes next.
    private static void await(ArrayDeque<? extends Future<?>> underWay) {
        boolean interrupted = false;
        while (!underWay.isEmpty()) {
            try {
                underWay.peek().get();
                underWay.remove();
            } catch (InterruptedException e) {
                interrupted = true;
            } catch (ExecutionException e) {
                // one failure has been reported already
                underWay.remove();
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        if (pool != null) {
            pool.shutdownNow();
        }
    }
}
