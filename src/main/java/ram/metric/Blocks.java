package ram.metric;

import ram.tensor.Rows;

/// Walks a matrix from its first row to its last through one small buffer.
final class Blocks {
    /// Enough to amortise a call, small enough to stay in the second-level cache.
    private static final int ELEMENTS = 1 << 16;

    private Blocks() {
    }

    @FunctionalInterface
    interface RowConsumer {
        /// Row `row` lies in `block[from … to)`.
        void accept(long row, float[] block, int from, int to);
    }

    @FunctionalInterface
    interface BlockEnd {
        void run();
    }

    static void forEachRow(Rows rows, RowConsumer consumer) {
        forEachRow(rows, consumer, () -> { });
    }

    static void forEachRow(Rows rows, RowConsumer consumer, BlockEnd end) {
        int columns = rows.columns();
        if (columns == 0) {
            return;
        }
        int perBlock = (int) Math.max(1, Math.min(rows.rows(), ELEMENTS / columns));
        float[] block = new float[Math.multiplyExact(perBlock, columns)];
        for (long first = 0; first < rows.rows(); first += perBlock) {
            int count = (int) Math.min(perBlock, rows.rows() - first);
            rows.read(first, count, block);
            for (int i = 0; i < count; i++) {
                consumer.accept(first + i, block, i * columns, (i + 1) * columns);
            }
            end.run();
        }
    }
}
