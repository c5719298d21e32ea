package ram.metric;

import ram.tensor.Rows;

/// Weights far from the mean. Needs the moments first, and then reads again only the rows that can hold one.
final class Outliers {
    private static final double SIGMAS = 6;

    private Outliers() {
    }

    static double share(Rows rows, Moments moments) {
        double mean = moments.mean();
        double limit = SIGMAS * Math.sqrt(moments.variance());
        int columns = rows.columns();
        float[] row = new float[columns];
        long far = 0;
        for (long i = 0; i < rows.rows(); i++) {
            if (moments.rowMaxAbs((int) i) + Math.abs(mean) <= limit) {
                continue;
            }
            rows.read(i, 1, row);
            for (float w : row) {
                if (Math.abs(w - mean) > limit) {
                    far++;
                }
            }
        }
        return far == 0 ? 0 : (double) far / ((double) rows.rows() * columns);
    }
}
