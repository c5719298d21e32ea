package ram.refine;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import ram.numeric.Kernels;
import ram.numeric.PackedMatrix;
import ram.numeric.Workers;

/// What is known of a module's inputs: x̂ as the modules coded before it make them, and x of the model itself.
final class Inputs {
    /// Tokens handled together.
    private static final int PIECE = 1024;
    /// Below so many tokens for each column, their drift says more about these tokens than about the module.
    private static final int TOKENS_PER_COLUMN = 2;

    private final int columns;
    private final SecondMoments moments;
    /// Σ (x − x̂) x̂ᵀ over the inputs whose x is known, in panels of rows; none when drift is left alone
    private final float[][] drift;
    /// That times H⁻¹, after [#factor]
    private final List<PackedMatrix> correction = new ArrayList<>();
    private final Workers workers;
    /// For the panels of one piece of x̂ after the other, and for one panel of each.
    private final List<PackedMatrix.Buffers> panelBuffers;
    private final ThreadLocal<PackedMatrix.Buffers> codedBuffers = ThreadLocal.withInitial(PackedMatrix.Buffers::new);
    private final ThreadLocal<PackedMatrix.Buffers> exactBuffers = ThreadLocal.withInitial(PackedMatrix.Buffers::new);
    private long followed;

    /// @param followed for how many of the inputs x will be given
    Inputs(int columns, long followed, Workers workers) {
        this.columns = columns;
        this.workers = workers;
        this.moments = new SecondMoments(columns);
        this.panelBuffers = panels().stream().map(_ -> new PackedMatrix.Buffers()).toList();
        boolean enough = followed >= (long) TOKENS_PER_COLUMN * columns;
        this.drift = new float[enough ? SecondMoments.panels(columns) : 0][];
        for (int p = 0; p < drift.length; p++) {
            drift[p] = new float[rows(p) * columns];
        }
    }

    /// Bytes that the statistics of so many columns take.
    static long bytes(long columns, long followed) {
        return SecondMoments.bytes(columns) + (followed >= TOKENS_PER_COLUMN * columns ? 4 * Math.multiplyExact(columns, columns) : 0);
    }

    int columns() {
        return columns;
    }

    long tokens() {
        return moments.tokens();
    }

    private int rows(int panel) {
        return SecondMoments.rows(columns, panel);
    }

    /// Adds inputs, one after the other; the sums do not depend on how they are cut into calls.
    ///
    /// @param coded x̂, `tokens · columns` values
    /// @param exact x of the first of these tokens; null for none
    void add(float[] coded, float[] exact) {
        int known = drift.length == 0 || exact == null ? 0 : exact.length / columns;
        followed += known;
        for (int from = 0; from < known; from += PIECE) {
            add(coded, exact, from, Math.min(PIECE, known - from));
        }
        int tokens = coded.length / columns;
        for (int from = known; from < tokens; from += PIECE) {
            add(coded, null, from, Math.min(PIECE, tokens - from));
        }
    }

    private void add(float[] coded, float[] exact, int from, int count) {
        List<PackedMatrix> packed = workers.map(panels(), p -> panel(coded, from, count, p, panelBuffers.get(p)));
        moments.add(packed, workers);
        if (exact != null) {
            workers.forEach(panels(), p -> {
                float[] difference = panel(exact, from, count, p, exactBuffers.get()).columnMajor(exactBuffers.get());
                float[] own = packed.get(p).columnMajor(codedBuffers.get());
                for (int i = 0; i < count * rows(p); i++) {
                    difference[i] -= own[i];
                }
                for (int q : panels()) {
                    Kernels.multiplyAdd(rows(p), difference, 0, count, packed.get(q), drift[p], q * SecondMoments.PANEL, columns);
                }
                return p;
            }, _ -> { });
        }
    }

    /// Some inputs' values in the columns of a panel.
    private PackedMatrix panel(float[] x, int from, int count, int panel, PackedMatrix.Buffers buffers) {
        return PackedMatrix.ofRows(count, rows(panel), buffers, x, from * columns + panel * SecondMoments.PANEL, columns);
    }

    private List<Integer> panels() {
        return IntStream.range(0, SecondMoments.panels(columns)).boxed().toList();
    }

    int deadColumns() {
        return moments.deadColumns();
    }

    /// Uses the moments up; to be called once, after the last input.
    Factor factor(double damping) {
        Factor factor = moments.factor(damping, workers);
        workers.forEach(IntStream.range(0, drift.length).boxed().toList(), p -> {
            factor.solve(drift[p], rows(p));
            PackedMatrix solved = PackedMatrix.ofRows(rows(p), columns, drift[p], 0, columns);
            drift[p] = null;
            return solved;
        }, correction::add);
        return factor;
    }

    /// The weight that does on x̂ part of what the given one does on x: W + share · W · Σ (x − x̂) x̂ᵀ · H⁻¹, the sum scaled from the inputs whose x is known to all.
    /// After [#factor].
    ///
    /// @param w `rows · columns` values
    float[] aim(float[] w, int rows, double share) {
        if (correction.isEmpty() || share == 0) {
            return w;
        }
        float[] out = new float[w.length];
        double whole = share * moments.tokens() / Math.max(1, followed);
        for (int p = 0; p < correction.size(); p++) {
            Kernels.multiplyAdd(rows, w, p * SecondMoments.PANEL, columns, correction.get(p), out, 0, columns);
        }
        float factor = (float) whole;
        for (int i = 0; i < out.length; i++) {
            out[i] = w[i] + factor * out[i];
        }
        return out;
    }
}
