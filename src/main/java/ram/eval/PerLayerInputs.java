package ram.eval;

import java.util.Arrays;
import java.util.List;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// Vectors that each token has for each layer: half of one is a row of a table, half a normalised projection of the token's embedding. At the end of a layer
/// a gate of the states lets the layer's vector in, and what is projected back from it is normalised and added.
///
/// Vectors are made anew in each layer, so that only one of them per token is held.
final class PerLayerInputs {
    private static final int TOKENS = 64;

    private final NetworkShape shape;
    private final int width;
    private final int known;
    private final Linears linears;
    private final FeedForward feedForward;
    private final Normalization norms;
    private final Workers workers;
    private final String table;
    private final String projection;
    private final String projectionNorm;

    PerLayerInputs(NetworkShape shape, NetworkShape.LayerInputs sizes, Linears linears, FeedForward feedForward, Normalization norms, Workers workers) {
        this.shape = shape;
        this.width = sizes.width();
        this.known = sizes.tokens();
        this.linears = linears;
        this.feedForward = feedForward;
        this.norms = norms;
        this.workers = workers;
        table = shape.root() + "embed_tokens_per_layer";
        projection = shape.root() + "per_layer_model_projection";
        projectionNorm = shape.root() + "per_layer_projection_norm";
    }

    private String gate(int l) {
        return shape.layer(l) + ".per_layer_input_gate";
    }

    private String back(int l) {
        return shape.layer(l) + ".per_layer_projection";
    }

    /// Paths of the modules of a layer; with the first one come those that all layers have in common.
    List<String> modules(int l) {
        return l == 0 ? List.of(table, projection, gate(l), back(l)) : List.of(gate(l), back(l));
    }

    /// Working memory per token beside the states.
    long scratchFloatsPerToken() {
        return 3L * shape.hidden() + 2L * width;
    }

    /// What a layer adds to the states at last: `tokens · hidden` values.
    ///
    /// @param x the states, sequence after sequence
    /// @param ids of the sequences
    /// @param embedded the states before the first layer
    float[] apply(int l, float[] x, List<int[]> ids, float[] embedded) {
        float[] gates = linears.apply(gate(l), width, shape.hidden(), x);
        feedForward.activate(gates, vectors(l, ids, embedded));
        float[] out = linears.apply(back(l), shape.hidden(), width, gates);
        norms.apply(out, shape.layer(l) + ".post_per_layer_input_norm", shape.hidden());
        return out;
    }

    private float[] vectors(int l, List<int[]> ids, float[] embedded) {
        Rows rows = linears.matrix(table, known, shape.layers() * width);
        Rows all = linears.matrix(projection, (long) shape.layers() * width, shape.hidden());
        float[] out = linears.apply(all, linears.bias(projection, shape.layers() * width), (long) l * width, width, embedded);
        float shrunk = (float) (1 / Math.sqrt(shape.hidden()));
        for (int i = 0; i < out.length; i++) {
            out[i] *= shrunk;
        }
        norms.apply(out, projectionNorm, width);
        int[] tokens = ids.stream().flatMapToInt(Arrays::stream).toArray();
        float grown = (float) Math.sqrt(width);
        float half = (float) Math.sqrt(0.5);
        workers.forRanges(tokens.length, TOKENS, (from, to) -> {
            float[] row = new float[rows.columns()];
            for (int t = from; t < to; t++) {
                rows.read(tokens[t] < known ? tokens[t] : 0, 1, row);
                Kernels.addScaled(grown, row, l * width, out, t * width, width);
                for (int i = t * width; i < (t + 1) * width; i++) {
                    out[i] *= half;
                }
            }
        });
        return out;
    }
}
