package ram.tensor;

import java.util.Objects;

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
