package ram.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import ram.safetensors.Shape;

/// A matrix that is read by blocks of whole rows, widened to float32. Implementations may be read by several threads at once.
public interface Rows {
    long rows();

    int columns();

    /// Fills `out[0 … count · columns)` with rows `firstRow … firstRow + count`, row after row.
    ///
    /// @throws ram.InputException when the source turns out to be unusable
    void read(long firstRow, int count, float[] out);

    /// All rows of `view`, its outer axes folded into one.
    static Rows of(TensorView view) {
        return of(view, 0, view.shape().rows());
    }

    /// `rows` rows of `view` from `firstRow`, counted with all outer axes folded into one.
    ///
    /// @throws IllegalArgumentException when the range is not inside the view, or a row is longer than an array can be
    static Rows of(TensorView view, long firstRow, long rows) {
        Objects.requireNonNull(view);
        long columns = view.shape().columns();
        if (firstRow < 0 || rows < 0 || firstRow > view.shape().rows() - rows) {
            throw new IllegalArgumentException("rows " + firstRow + " + " + rows + " of " + view.shape());
        }
        if (columns > 1 << 28) {
            throw new IllegalArgumentException("a row of " + columns + " elements");
        }
        return new Rows() {
            @Override
            public long rows() {
                return rows;
            }

            @Override
            public int columns() {
                return (int) columns;
            }

            @Override
            public void read(long first, int count, float[] out) {
                if (first < 0 || first + count > rows) {
                    throw new IndexOutOfBoundsException("rows " + first + " + " + count + " of " + rows);
                }
                view.read((firstRow + first) * columns, out, 0, Math.toIntExact(count * columns));
            }
        };
    }

    /// The same, for who reads all of it several times: a matrix whose elements have to be gathered or computed is held in memory once they are.
    ///
    /// @param most bytes that may be held; a larger one is not
    /// @param arena how long it is read
    /// @throws ram.InputException when the source turns out to be unusable
    static Rows held(TensorView view, long firstRow, long rows, long most, Arena arena) {
        long first = firstRow * view.shape().columns();
        long count = rows * view.shape().columns();
        long bytes = count * view.dtype().bytes();
        if (bytes > most || view.mapped(first, count).isPresent()) {
            return of(view, firstRow, rows);
        }
        MemorySegment elements = arena.allocate(bytes, 8);
        view.read(first, elements);
        return of(new Held(view.dtype(), Shape.of(rows, view.shape().columns()), elements, view.sources()), 0, rows);
    }

    /// What is done to rows `firstRow … firstRow + count` once they stand in `out`.
    @FunctionalInterface
    interface Change {
        void apply(long firstRow, int count, float[] out);
    }

    /// The same matrix, with its rows changed each time they are read.
    ///
    /// @param change called by several threads at once
    default Rows changed(Change change) {
        Objects.requireNonNull(change);
        Rows inner = this;
        return new Rows() {
            @Override
            public long rows() {
                return inner.rows();
            }

            @Override
            public int columns() {
                return inner.columns();
            }

            @Override
            public void read(long firstRow, int count, float[] out) {
                inner.read(firstRow, count, out);
                change.apply(firstRow, count, out);
            }
        };
    }

    /// The same matrix, to be read by one thread. Each of its rows is shown once, as far as they are read from the first one on.
    ///
    /// @param first is called with rows in order, and leaves them as they are
    default Rows watched(Change first) {
        Objects.requireNonNull(first);
        return changed(new Change() {
            private long next;

            @Override
            public void apply(long firstRow, int count, float[] out) {
                if (firstRow == next) {
                    next += count;
                    first.apply(firstRow, count, out);
                }
            }
        });
    }
}
