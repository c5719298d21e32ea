package ram.numeric;

import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CancellationException;

/// Items that one thread finds, some at a time, and another goes through meanwhile. One batch waits while another is gone through; whoever finds
/// more waits, so that nothing piles up.
///
/// Waiting ends with a [CancellationException] when the thread is interrupted, which stays marked as interrupted.
public final class Handoff<T> implements Iterable<T> {
    private final ArrayDeque<T> taken = new ArrayDeque<>();
    private List<T> waiting = List.of();
    private boolean complete;
    private boolean closed;

    /// Gives a batch, as soon as the one before is being gone through.
    ///
    /// @return false when nobody goes through any more
    public synchronized boolean give(List<T> batch) {
        while (!waiting.isEmpty() && !closed) {
            await();
        }
        waiting = List.copyOf(batch);
        notifyAll();
        return !closed;
    }

    /// Nothing more will be given.
    public synchronized void complete() {
        complete = true;
        notifyAll();
    }

    /// Nothing more will be given or gone through.
    public synchronized void close() {
        closed = true;
        notifyAll();
    }

    /// For one thread, once. It waits for items until there are no more, or for none when this is closed.
    @Override
    public Iterator<T> iterator() {
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                return fill();
            }

            @Override
            public T next() {
                if (!fill()) {
                    throw new NoSuchElementException();
                }
                return taken.remove();
            }
        };
    }

    private synchronized boolean fill() {
        while (taken.isEmpty() && waiting.isEmpty() && !complete && !closed) {
            await();
        }
        if (closed) {
            return false;
        }
        if (taken.isEmpty()) {
            taken.addAll(waiting);
            waiting = List.of();
            notifyAll();
        }
        return !taken.isEmpty();
    }

    private void await() {
        try {
            wait();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CancellationException("interrupted");
        }
    }
}
