package ram.refine;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import ram.eval.ForwardPass;
import ram.eval.NetworkShape;
import ram.eval.ReplacedWeights;
import ram.eval.WeightSource;
import ram.format.CodedMatrix;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// The model, and beside it the same one with the modules that are coded so far.
final class CodedModel {
    /// Least that is added to the diagonal of H, in units of its mean. With many tokens, results between 0.001 and 0.1 hardly differ.
    static final double DAMPING = 0.03;

    private final Map<String, Refiner.Target> targets;
    private final RefineStore store;
    private final ModuleCoding coding;
    private final ForwardPass exact;
    private final ForwardPass coded;
    private final Map<String, Rows> replaced = new HashMap<>();

    /// @param targets the formats of quantized modules, by path
    /// @param drift part of the drift of inputs that is made up for, 0 to 1
    /// @throws ram.InputException for a family that cannot be run
    CodedModel(WeightSource source, Map<String, Refiner.Target> targets, Workers workers, double drift, RefineStore store) {
        this.targets = Map.copyOf(targets);
        this.store = store;
        this.coding = new ModuleCoding(workers, drift);
        this.exact = new ForwardPass(source, workers);
        this.coded = new ForwardPass(new ReplacedWeights(source, "refined", (path, rows) -> replaced.getOrDefault(path, rows)), workers);
    }

    /// The model itself.
    ForwardPass exact() {
        return exact;
    }

    /// The model with its coded modules.
    ForwardPass coded() {
        return coded;
    }

    NetworkShape shape() {
        return exact.shape();
    }

    ModuleCoding coding() {
        return coding;
    }

    /// What becomes of a module; null when it stays as it is.
    Refiner.Target target(String path) {
        return targets.get(path);
    }

    /// Whether the output head is compensated.
    boolean headRefinable() {
        return Refiner.headRefinable(shape(), targets);
    }

    /// Room for the codes of a module, which has a target.
    CodedMatrix open(String path) {
        Rows w = exact.matrix(path);
        return store.open(path, target(path).format(), target(path).stored(), w.rows(), w.columns());
    }

    /// Codes modules that read the same, with what both models make of some states.
    ///
    /// @param columns values of a token that the modules read
    /// @param read what they read, of the states of a piece
    void refine(List<String> paths, int columns, Pieces pieces, Streams states, BiFunction<ForwardPass, List<float[]>, float[]> read) {
        Inputs inputs = pieces.inputs(columns);
        for (int i = 0; i < pieces.count(); i++) {
            int piece = i;
            coding.add(inputs, read.apply(coded, List.of(states.coded().get(i))), pieces.exactly(i, () -> read.apply(exact, List.of(states.exact().get(piece)))));
        }
        refine(paths, inputs);
    }

    /// Codes modules that have the same inputs; from now on the coded model uses them.
    void refine(List<String> paths, Inputs inputs) {
        refine(paths, inputs, DAMPING);
    }

    /// @param damping least that is added to the diagonal of the moments, in units of its mean
    void refine(List<String> paths, Inputs inputs, double damping) {
        List<ModuleCoding.Slice> slices = paths.stream().filter(targets::containsKey)
                .map(path -> ModuleCoding.Slice.of(path, exact.matrix(path), targets.get(path), open(path))).toList();
        coding.code(slices, inputs, inputs.tokens(), damping);
        slices.forEach(s -> replaced.put(s.path(), s.out()));
    }

    /// From now on the coded model uses these rows.
    void replace(String path, Rows rows) {
        replaced.put(path, rows);
    }

    /// Lets go of the modules of a layer that both are through with.
    void release() {
        replaced.keySet().removeIf(path -> !path.equals(shape().embedding()));
    }

    /// Adds what a part of a layer makes of a piece to its states.
    void add(Activations before, Activations after, int piece, float[] delta) {
        float[] all = before.get(piece);
        exact.addTo(List.of(all), delta);
        after.put(piece, all);
    }

    void add(Activations states, int piece, float[] delta) {
        add(states, states, piece, delta);
    }
}
