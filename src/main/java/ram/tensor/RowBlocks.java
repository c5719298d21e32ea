package ram.tensor;

import java.util.Iterator;
import java.util.NoSuchElementException;

/// A matrix from its first row to its last, some rows at a time, through one buffer.
public final class RowBlocks implements Iterable<RowBlocks.Block> {
    /// Enough to amortise a call, small enough that two of them stay in a processor's second cache as float32.
    private static final int ELEMENTS = 1 << 16;

    private final Rows matrix;
    private final int rowsAtOnce;

    /// Rows that lie one after the other in `values`, until the next ones are asked for.
    public record Block(long firstRow, int rows, float[] values) {
    }

    private RowBlocks(Rows matrix) {
        this.matrix = matrix;
        this.rowsAtOnce = (int) Math.clamp(ELEMENTS / Math.max(1, matrix.columns()), 1, Math.max(1, matrix.rows()));
    }

    public static RowBlocks of(Rows matrix) {
        return new RowBlocks(matrix);
    }

    /// Rows of every block but the last, which may have fewer; 1 or more.
    public int rowsAtOnce() {
        return rowsAtOnce;
    }

    /// An array for the values of a block.
    public float[] room() {
        return new float[Math.multiplyExact(rowsAtOnce, matrix.columns())];
    }

    @Override
    public Iterator<Block> iterator() {
        float[] values = room();
        return new Iterator<>() {
            private long next;

            @Override
            public boolean hasNext() {
                return next < matrix.rows() && matrix.columns() > 0;
            }

            @Override
            public Block next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                long first = next;
                int count = (int) Math.min(rowsAtOnce, matrix.rows() - first);
                matrix.read(first, count, values);
                next += count;
                return new Block(first, count, values);
            }
        };
    }
}
