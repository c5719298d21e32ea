package ram.sensitivity;

import java.util.List;
import java.util.Optional;
import ram.layout.Kind;
import ram.layout.Module;

/// The branch that Gemma 3n and Gemma 4 end their layers with: a gate of the residual through its activation, times a vector of the token for that layer, is projected back. The vectors of all
/// layers come from one table, times the root of their length, and, normalised, from a projection of the embedding; the two are added and divided by the root of 2.
final class PerLayerInputs {
    private final Dense dense;
    private final Module table;
    private final Module projection;
    private final int each;
    /// Mean squares of the vectors of all layers.
    private final double[] power;
    /// What noise in a row of the projection is multiplied by before a layer reads it.
    private final double[] projectionGain;
    private final double[] embedded;
    /// What noise in an element of the vectors does, of those layers that were followed.
    private final double[] reach;

    private PerLayerInputs(Dense dense, Squares squares, Module table, Module projection, int each, double[] embedded) {
        this.dense = dense;
        this.table = table;
        this.projection = projection;
        this.each = each;
        this.embedded = embedded;
        power = squares.of(table, null, null, true).columns()[0];
        double[] projected = dense.outputs(squares, projection, embedded);
        projectionGain = dense.normalize(projected, Modules.beside(projection, ""), List.of("per_layer_projection_norm"), each);
        for (int i = 0; i < power.length; i++) {
            power[i] = (power[i] / table.weight().shape().rows() * each + projected[i]) / 2;
        }
        reach = new double[power.length];
    }

    /// The table and the projection among the modules outside the layers, when they have the shapes that config.json implies.
    ///
    /// @param embedded mean squares of the embedding that the projection reads
    static Optional<PerLayerInputs> find(List<Module> outside, Dense dense, Squares squares, double[] embedded) {
        Module table = Modules.named(outside, "embed_tokens_per_layer").orElse(null);
        Module projection = Modules.named(outside, "per_layer_model_projection").orElse(null);
        int each = (int) Math.clamp(dense.number("hidden_size_per_layer_input", 0), 0, 1 << 20);
        if (table == null || each == 0 || table.weight().shape().rank() != 2 || table.weight().shape().columns() % each != 0
                || !Modules.is(projection, 1, table.weight().shape().columns(), embedded.length)) {
            return Optional.empty();
        }
        return Optional.of(new PerLayerInputs(dense, squares, table, projection, each, embedded.clone()));
    }

    /// The branch of a layer, when its modules are there.
    Optional<Mixed> follow(int layer, List<Module> modules, Squares squares, double[] input) {
        Module gate = Modules.named(modules, "per_layer_input_gate").orElse(null);
        Module back = Modules.named(modules, "per_layer_projection").orElse(null);
        if (!Modules.is(gate, 1, each, input.length) || !Modules.is(back, 1, input.length, each) || (layer + 1L) * each > power.length) {
            return Optional.empty();
        }
        double[] gates = dense.outputs(squares, gate, input);
        Activation activation = dense.activation();
        int first = layer * each;
        double[] context = new double[each];
        for (int i = 0; i < each; i++) {
            context[i] = activation.meanSquare(gates[i]) * power[first + i];
        }
        return Optional.of(new Mixed(back, context, (output, rowGain, scale) -> {
            double[] rows = new double[each];
            for (int i = 0; i < each; i++) {
                rows[i] = activation.slopeMeanSquare(gates[i]) * power[first + i] * output[i];
                reach[first + i] = activation.meanSquare(gates[i]) * output[i] * scale;
            }
            return List.of(ModuleWeights.propagated(gate, new Term(rows, input, scale * DecoderRules.factor(Kind.GATE), true)),
                    ModuleWeights.propagated(back, new Term(rowGain, context, scale * DecoderRules.factor(Kind.DOWN), true)));
        }));
    }

    /// Of the table and the projection, once all layers have been followed. What they give is multiplied by a gate, as what an up projection gives is.
    List<ModuleWeights> weights() {
        double[] rows = new double[reach.length];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = reach[i] * projectionGain[i];
        }
        double factor = DecoderRules.factor(Kind.UP) / 2;
        int tokens = Math.toIntExact(table.weight().shape().rows());
        return List.of(ModuleWeights.propagated(table, new Term(Dense.ones(tokens), reach, factor * each / tokens, true)), ModuleWeights.propagated(projection, new Term(rows, embedded, factor, true)));
    }
}
