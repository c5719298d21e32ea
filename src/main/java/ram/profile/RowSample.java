package ram.profile;

import java.util.ArrayList;
import java.util.List;

/// The rows of a matrix on which errors are measured: all of them, or one run of rows in each of [#STRATA] equal strata.
/// Where a run lies in its stratum follows from the stratum's number alone, so the choice is the same every time.
///
/// @param runs in row order
/// @param complete whether the runs are all rows
record RowSample(List<Run> runs, boolean complete) {
    /// Matrices up to this many elements are always measured whole.
    static final long WHOLE = 1 << 20;
    /// Otherwise at least this many elements, or one in [#SHARE] when that is more.
    private static final long FEWEST = 1 << 17;
    private static final long SHARE = 32;
    private static final int STRATA = 64;
    /// Elements of a run of a matrix that is measured whole, and of a piece of a longer run.
    private static final long BLOCK = 1 << 16;

    /// Rows `first … first + count`.
    record Run(long first, int count) {
        /// The run in pieces that fit into a cache.
        List<Run> blocks(int columns) {
            int step = (int) Math.max(1, BLOCK / columns);
            List<Run> out = new ArrayList<>();
            for (int at = 0; at < count; at += step) {
                out.add(new Run(first + at, Math.min(step, count - at)));
            }
            return out;
        }
    }

    RowSample {
        runs = List.copyOf(runs);
    }

    static RowSample of(long rows, int columns, boolean exact) {
        List<Run> runs = new ArrayList<>();
        if (exact || rows * columns <= WHOLE || rows < 2 * STRATA) {
            long step = Math.max(1, BLOCK / columns);
            for (long first = 0; first < rows; first += step) {
                runs.add(new Run(first, (int) Math.min(step, rows - first)));
            }
            return new RowSample(runs, true);
        }
        long wanted = Math.max(FEWEST, rows * columns / SHARE);
        for (int s = 0; s < STRATA; s++) {
            long from = rows * s / STRATA;
            long size = rows * (s + 1) / STRATA - from;
            int count = (int) Math.min(size, Math.max(1, Math.ceilDiv(wanted, (long) columns * STRATA)));
            // Weyl sequence of the golden ratio: spreads the positions evenly without a pattern that a layout of heads could match.
            double position = s * 0.6180339887498949 % 1.0;
            runs.add(new Run(from + (long) (position * (size - count + 1)), count));
        }
        return new RowSample(runs, false);
    }
}
