package ram.numeric;

import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;

/// Something that is done in a thread of its own beside other work, such as hashing or writing files. With one thread in all it is done when it is asked for.
public final class Background<T> {
    private final FutureTask<T> task;
    private final AtomicBoolean begun = new AtomicBoolean();
    private final boolean beside;

    /// @param threads that may work, 1 or more
    public Background(int threads, Supplier<T> work) {
        task = new FutureTask<>(work::get);
        beside = threads > 1;
    }

    /// Begins, unless that was done before or is to be done later.
    public void begin() {
        if (beside && begun.compareAndSet(false, true)) {
            Thread thread = new Thread(task, "ram-background");
            thread.setDaemon(true);
            thread.start();
        }
    }

    /// Waits for the result, and throws what was thrown.
    ///
    /// @throws CancellationException when the caller's thread is interrupted
    public T get() {
        begin();
        if (!beside) {
            task.run();
        }
        try {
            return task.get();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CancellationException("interrupted");
        } catch (ExecutionException e) {
            throw Workers.rethrow(e.getCause());
        }
    }

    /// Waits until it has ended, if it was begun: whatever comes of it, and even when the caller's thread is interrupted, which stays marked as interrupted.
    public void await() {
        boolean interrupted = false;
        while (begun.get() && !task.isDone()) {
            try {
                task.get();
            } catch (InterruptedException e) {
                interrupted = true;
            } catch (ExecutionException e) {
                // who asks for the result learns of it
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
