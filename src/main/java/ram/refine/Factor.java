package ram.refine;

import static ram.refine.SecondMoments.PANEL;

import java.util.ArrayList;
import java.util.List;
import ram.numeric.Kernels;
import ram.numeric.PackedMatrix;
import ram.numeric.Workers;

/// H = L Lᵀ, with which the size of an error E of a weight is tr(E H Eᵀ) = ‖E L‖². Column k of E L takes the errors of column k and of the columns after it,
/// so what those got wrong can be made up for in column k, when columns are coded from the last to the first.
///
/// @param size columns of the weight
/// @param panels L in panels of [SecondMoments#PANEL] rows, each up to its last diagonal element, with zeros above the diagonal
/// @param inverses of the diagonal blocks
/// @param lifted pivots that were too small and have been raised
record Factor(int size, List<PackedMatrix> panels, float[][] inverses, int lifted) {
    /// That of H = I.
    static Factor identity(int size) {
        try (Workers workers = new Workers(1)) {
            float[] unit = new float[size * size];
            for (int i = 0; i < size; i++) {
                unit[i * size + i] = 1;
            }
            Inputs inputs = new Inputs(size, 0, workers);
            inputs.add(unit, null);
            return inputs.factor(0);
        }
    }

    /// @param panels are used up
    static Factor of(int size, float[][] panels, float[][] inverses, int lifted) {
        List<PackedMatrix> packed = new ArrayList<>();
        for (int p = 0; p < panels.length; p++) {
            int width = SecondMoments.width(size, p);
            packed.add(PackedMatrix.ofRows(SecondMoments.rows(size, p), width, panels[p], 0, width));
            panels[p] = null;
        }
        return new Factor(size, packed, inverses, lifted);
    }

    int panelCount() {
        return panels.size();
    }

    int rows(int panel) {
        return SecondMoments.rows(size, panel);
    }

    float get(int i, int j) {
        return panels.get(i / PANEL).get(i % PANEL, j);
    }

    /// Adds columns `from … from + count` of E L, as far as they come from columns `after …` of E.
    ///
    /// @param e `rows · size` values
    /// @param after the first column of a panel, or a column of the panel of `from`
    /// @param out `rows · count` values
    void addErrors(float[] e, int rows, int after, int from, int count, float[] out) {
        for (int j = after; j < size; j = (j / PANEL + 1) * PANEL) {
            int p = j / PANEL;
            int k = Math.min(size, (p + 1) * PANEL) - j;
            Kernels.multiplyAdd(rows, e, j, size, panels.get(p), j % PANEL, k, from, count, out, 0, count);
        }
    }

    /// ‖E L‖² per row.
    ///
    /// @param e `rows · size` values
    double[] weigh(float[] e, int rows) {
        double[] sums = new double[rows];
        for (int p = 0; p < panelCount(); p++) {
            float[] out = new float[rows * rows(p)];
            addErrors(e, rows, p * PANEL, p * PANEL, rows(p), out);
            for (int r = 0; r < rows; r++) {
                sums[r] += Kernels.sumOfSquares(out, r * rows(p), rows(p));
            }
        }
        return sums;
    }

    /// Replaces G by G H⁻¹.
    ///
    /// @param g `rows · size` values
    void solve(float[] g, int rows) {
        for (int p = 0; p < panelCount(); p++) {
            int from = p * PANEL;
            float[] rest = part(g, rows, from, rows(p));
            Kernels.multiplyAdd(rows, rows(p), from, negated(g, rows, 0, from), 0, from, panels.get(p).rowMajor(), 0, panels.get(p).columns(), rest, 0, rows(p));
            float[] solved = new float[rest.length];
            Kernels.multiplyAdd(rows, rows(p), rows(p), rest, inverses[p], solved);
            put(solved, g, rows, from, rows(p));
        }
        for (int p = panelCount() - 1; p >= 0; p--) {
            int from = p * PANEL;
            float[] rest = new float[rows * rows(p)];
            addErrors(g, rows, (p + 1) * PANEL, from, rows(p), rest);
            float[] own = part(g, rows, from, rows(p));
            for (int i = 0; i < rest.length; i++) {
                rest[i] = own[i] - rest[i];
            }
            float[] solved = new float[rest.length];
            Kernels.multiplyAddByRows(rows, rows(p), rows(p), rest, 0, rows(p), inverses[p], 0, rows(p), solved, 0, rows(p));
            put(solved, g, rows, from, rows(p));
        }
    }

    private float[] part(float[] g, int rows, int from, int count) {
        float[] out = new float[rows * count];
        for (int r = 0; r < rows; r++) {
            System.arraycopy(g, r * size + from, out, r * count, count);
        }
        return out;
    }

    private float[] negated(float[] g, int rows, int from, int count) {
        float[] out = part(g, rows, from, count);
        for (int i = 0; i < out.length; i++) {
            out[i] = -out[i];
        }
        return out;
    }

    private void put(float[] values, float[] g, int rows, int from, int count) {
        for (int r = 0; r < rows; r++) {
            System.arraycopy(values, r * count, g, r * size + from, count);
        }
    }
}
