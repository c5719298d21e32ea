package ram.eval;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import ram.InputException;
import ram.tensor.Rows;

/// The modules of a model by their paths: what config.json implies of their shapes holds, or a sentence says what does not.
final class Linears {
    private static final float[] NO_BIAS = null;

    private final WeightSource weights;
    private final Projection projection;

    Linears(WeightSource weights, Projection projection) {
        this.weights = weights;
        this.projection = projection;
    }

    boolean has(String path) {
        return weights.matrix(path).isPresent();
    }

    /// @throws InputException when the model has no such module
    Rows matrix(String path) {
        return weights.matrix(path).orElseThrow(() -> InputException.in(weights.config().file(), "describes a model with the module " + path + ", which the folder does not hold; correct it, or download both again"));
    }

    /// @throws InputException when the model has no such module, or one of another shape
    Rows matrix(String path, long rows, int columns) {
        Rows w = matrix(path);
        if (w.rows() != rows || w.columns() != columns) {
            throw InputException.in(weights.config().file(), "implies a weight of " + rows + "×" + columns + " for " + path + ", but the stored one is " + w.rows() + "×" + w.columns() + "; correct it, or download both again");
        }
        return w;
    }

    /// Rows of a module; 0 when the model has no such module.
    long rows(String path) {
        return weights.matrix(path).map(Rows::rows).orElse(0L);
    }

    /// @throws InputException when the model has no such vector, or one of another length
    float[] vector(String name, int length) {
        float[] v = weights.vector(name).orElseThrow(() -> InputException.in(weights.config().file(), "describes a model with the tensor " + name + ", which the folder does not hold; correct it, or download both again"));
        if (v.length != length) {
            throw InputException.in(weights.config().file(), "implies " + length + " elements for " + name + ", but " + v.length + " are stored; correct it, or download both again");
        }
        return v;
    }

    /// The additive bias of a module or norm, if it has one.
    ///
    /// @throws InputException when it has another length
    Optional<float[]> bias(String path, int length) {
        String name = path + ".bias";
        return weights.vector(name).map(_ -> vector(name, length));
    }

    /// The outputs of a module, additive bias included.
    ///
    /// @param x `tokens · columns` values
    float[] apply(String path, int rows, int columns, float[] x) {
        Rows w = matrix(path, rows, columns);
        return projection.apply(w, 0, rows, weights.vector(path + ".bias").orElse(NO_BIAS), x, x.length / columns);
    }

    /// As [#apply(String, int, int, float[])] with whatever shape is stored.
    float[] apply(String path, float[] x) {
        Rows w = matrix(path);
        return apply(path, Math.toIntExact(w.rows()), w.columns(), x);
    }

    /// `x · Wᵀ` with some rows of a matrix, and what is added to them.
    ///
    /// @param biases of all rows of the matrix
    float[] apply(Rows w, Optional<float[]> biases, long first, int rows, float[] x) {
        float[] own = biases.map(b -> Arrays.copyOfRange(b, Math.toIntExact(first), Math.toIntExact(first + rows))).orElse(NO_BIAS);
        return projection.apply(w, first, rows, own, x, x.length / w.columns());
    }

    /// The parts of each token's values, as many as widths.
    static float[][] split(float[] x, int... widths) {
        int all = 0;
        for (int w : widths) {
            all += w;
        }
        int tokens = x.length / all;
        float[][] out = new float[widths.length][];
        int before = 0;
        for (int part = 0; part < widths.length; part++) {
            out[part] = new float[tokens * widths[part]];
            for (int t = 0; t < tokens; t++) {
                System.arraycopy(x, t * all + before, out[part], t * widths[part], widths[part]);
            }
            before += widths[part];
        }
        return out;
    }

    /// The paths of modules that have the same inputs: the one that is several in one, where the model has that.
    List<String> fusedOr(String fused, String... apart) {
        return has(fused) ? List.of(fused) : List.of(apart);
    }
}
