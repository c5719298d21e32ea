package ram.metric;

import ram.numeric.Kernels;
import ram.tensor.Rows;

/// Weights far from the mean. Needs the moments first, and then only the rows that can hold one: they are counted while somebody else reads the matrix, in
/// one thread, and read again only where nobody did.
final class Outliers {
    private static final double SIGMAS = 6;

    private final Rows rows;
    private final Moments moments;
    private final double limit;
    private long next;
    private long far;

    Outliers(Rows rows, Moments moments) {
        this.rows = rows;
        this.moments = moments;
        this.limit = SIGMAS * Math.sqrt(moments.variance());
    }

    /// The matrix, to be read in place of itself.
    Rows watched() {
        return rows.watched((firstRow, count, values) -> {
            for (int i = 0; i < count; i++) {
                if (mayHoldOne(firstRow + i)) {
                    count(values, i * rows.columns());
                }
            }
            next = firstRow + count;
        });
    }

    /// Share of the weights that are more than six standard deviations from the mean.
    double share() {
        float[] row = new float[rows.columns()];
        for (; next < rows.rows(); next++) {
            if (mayHoldOne(next)) {
                rows.read(next, 1, row);
                count(row, 0);
            }
        }
        return far == 0 ? 0 : (double) far / ((double) rows.rows() * rows.columns());
    }

    private boolean mayHoldOne(long row) {
        return moments.rowMaxAbs((int) row) + Math.abs(moments.mean()) > limit;
    }

    private void count(float[] values, int from) {
        far += Kernels.outside(values, from, rows.columns(), (float) (moments.mean() - limit), (float) (moments.mean() + limit));
    }
}
