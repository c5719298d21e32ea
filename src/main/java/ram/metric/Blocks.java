package ram.metric;

import ram.tensor.Rows;

/// Walks a matrix from its first row to its last through one small buffer.
final class Blocks {
    /// Enough to amortise a call, small enough to stay in the second-level cache.
    private static final int ELEMENTS = 1 << 16;

    private Blocks() {
    }

    @FunctionalInterface
    interface Consumer {
        /// Rows `firstRow … firstRow + rows` lie one after the other in `block`.
        void accept(long firstRow, int rows, int columns, float[] block);
    }

    static void forEach(Rows rows, Consumer consumer) {
        int columns = rows.columns();
        if (columns == 0) {
            return;
        }
        int perBlock = (int) Math.max(1, Math.min(rows.rows(), ELEMENTS / columns));
        float[] block = new float[Math.multiplyExact(perBlock, columns)];
        for (long first = 0; first < rows.rows(); first += perBlock) {
            int count = (int) Math.min(perBlock, rows.rows() - first);
            rows.read(first, count, block);
            consumer.accept(first, count, columns, block);
        }
    }
}
