package ram.refine;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import ram.eval.ForwardPass;
import ram.eval.NetworkShape;
import ram.eval.Routes;
import ram.format.CodedMatrix;
import ram.tensor.Rows;

/// Codes the feed-forward part of a layer that is a mixture of experts: the router, then each expert with the tokens that the coded router gives it.
final class MixtureRefiner {
    /// An expert that fewer tokens pass is left to `mse`.
    private static final int FEWEST_TOKENS = 64;

    private final CodedModel model;
    private final ForwardPass exact;
    private final ForwardPass coded;
    private final ModuleCoding coding;
    private final Pieces pieces;
    private final NetworkShape shape;

    MixtureRefiner(CodedModel model, Pieces pieces) {
        this.model = model;
        this.exact = model.exact();
        this.coded = model.coded();
        this.coding = model.coding();
        this.pieces = pieces;
        this.shape = model.shape();
    }

    /// The layer that is refined.
    ///
    /// @param states what its attention left, to which the outputs are added
    /// @param isRead whether anything is refined with these outputs; otherwise none are added
    /// @param inputs what enters the feed-forward part
    private record Layer(int number, Streams states, boolean isRead, Streams inputs) {
    }

    /// The experts of a layer.
    ///
    /// @param readers what reads their inputs: gate and up, or up alone
    /// @param routes to them, of each piece
    private record Experts(List<Stack> readers, Stack down, List<Routes> routes) {
    }

    /// A module of all experts of a layer.
    ///
    /// @param biases additive ones, of all experts
    /// @param rows of each expert
    /// @param target null where they stay as they are
    /// @param coded null where they stay as they are
    private record Stack(String path, Rows source, Optional<float[]> biases, int rows, Refiner.Target target, CodedMatrix coded) {
        static Stack of(CodedModel model, String path, int experts) {
            Rows source = model.exact().matrix(path);
            Refiner.Target target = model.target(path);
            return new Stack(path, source, model.exact().biases(path), Math.toIntExact(source.rows() / experts), target, target == null ? null : model.open(path));
        }

        /// The weights that the coded model has.
        Rows current() {
            return coded == null ? source : coded;
        }

        boolean refinable() {
            return target != null && target.refinable();
        }

        long first(int expert) {
            return (long) expert * rows;
        }

        /// The rows of an expert; nothing where they stay as they are.
        Stream<ModuleCoding.Slice> slice(int expert) {
            return target == null ? Stream.empty() : Stream.of(new ModuleCoding.Slice(path, source, first(expert), rows, target, coded));
        }
    }

    /// @param states what the attention of the layer left, to which the outputs are added
    /// @param isRead whether anything is refined with these outputs
    void refine(int l, Streams states, boolean isRead) {
        try (Streams inputs = new Streams(pieces.temporary("exact-in", shape.hidden()), pieces.temporary("in", shape.hidden()))) {
            Layer layer = new Layer(l, states, isRead, inputs);
            everyToken(layer);
            for (int i = 0; isRead && i < pieces.followed(); i++) {
                model.add(states.exact(), i, exact.feedForward(l, inputs.exact().get(i)));
            }
            int count = shape.experts(l);
            List<Stack> stacks = shape.stacks(l).stream().map(path -> Stack.of(model, path, count)).toList();
            Experts experts = new Experts(stacks.subList(0, stacks.size() - 1), stacks.getLast(), routes(layer));
            for (int e = 0; e < count; e++) {
                expert(e, experts, layer);
            }
            shape.sharedDown(l).ifPresent(down -> shared(layer, down));
        }
    }

    /// The modules that read what every token brings: the router, the shared expert's gate and its first projections.
    private void everyToken(Layer layer) {
        Activations exactIn = layer.inputs().exact();
        Activations codedIn = layer.inputs().coded();
        Inputs inputs = pieces.inputs(shape.hidden());
        for (int i = 0; i < pieces.count(); i++) {
            codedIn.put(i, coded.feedForwardInput(layer.number(), List.of(layer.states().coded().get(i))));
            if (pieces.follows(i)) {
                exactIn.put(i, exact.feedForwardInput(layer.number(), List.of(layer.states().exact().get(i))));
            }
            coding.add(inputs, codedIn.get(i), pieces.follows(i) ? exactIn.get(i) : null);
        }
        List<String> readers = new ArrayList<>(List.of(shape.router(layer.number())));
        shape.sharedGate(layer.number()).ifPresent(readers::add);
        readers.addAll(exact.sharedReaders(layer.number()));
        model.refine(readers, inputs);
    }

    /// Where the coded router sends the tokens of each piece.
    private List<Routes> routes(Layer layer) {
        return IntStream.range(0, pieces.count())
                .mapToObj(i -> coded.route(layer.number(), layer.inputs().coded().get(i))).toList();
    }

    private void expert(int e, Experts experts, Layer layer) {
        float[] exactInputs = gather(e, experts.routes().subList(0, pieces.followed()), layer.inputs().exact());
        float[] codedInputs = gather(e, experts.routes(), layer.inputs().coded());
        code(e, experts.readers(), codedInputs, exactInputs);
        float[] exactMiddle = middle(e, experts.readers(), Stack::source, exactInputs);
        float[] codedMiddle = middle(e, experts.readers(), Stack::current, codedInputs);
        Stack down = experts.down();
        code(e, List.of(down), codedMiddle, exactMiddle);
        if (layer.isRead() && codedMiddle.length > 0) {
            scatter(e, experts.routes(), exact.apply(down.current(), down.biases(), down.first(e), down.rows(), codedMiddle), layer.states().coded());
        }
    }

    /// Codes an expert's part of modules that have the same inputs.
    ///
    /// @param exactInputs of the first of these tokens, those that are followed
    private void code(int e, List<Stack> stacks, float[] codedInputs, float[] exactInputs) {
        int columns = stacks.getFirst().source().columns();
        int tokens = codedInputs.length / columns;
        Inputs inputs = null;
        if (tokens >= FEWEST_TOKENS && stacks.stream().anyMatch(Stack::refinable)) {
            inputs = pieces.inputs(columns, exactInputs.length / columns);
            coding.add(inputs, codedInputs, exactInputs);
        }
        coding.code(stacks.stream().flatMap(s -> s.slice(e)).toList(), inputs, tokens, CodedModel.DAMPING);
    }

    /// What enters the output projection of an expert.
    private float[] middle(int e, List<Stack> readers, Function<Stack, Rows> weights, float[] x) {
        if (x.length == 0) {
            return x;
        }
        List<float[]> outputs = readers.stream().map(s -> exact.apply(weights.apply(s), s.biases(), s.first(e), s.rows(), x)).toList();
        if (outputs.size() == 1) {
            exact.activate(outputs.getFirst());
        } else {
            exact.activate(outputs.getFirst(), outputs.getLast());
        }
        return outputs.getFirst();
    }

    private float[] gather(int e, List<Routes> routes, Activations from) {
        float[] out = new float[Math.multiplyExact(routes.stream().mapToInt(r -> r.count(e)).sum(), shape.hidden())];
        int at = 0;
        for (int i = 0; i < routes.size(); i++) {
            if (routes.get(i).count(e) > 0) {
                routes.get(i).gather(e, from.get(i), out, at);
                at += routes.get(i).count(e) * shape.hidden();
            }
        }
        return out;
    }

    private void scatter(int e, List<Routes> routes, float[] outputs, Activations states) {
        int at = 0;
        for (int i = 0; i < routes.size(); i++) {
            if (routes.get(i).count(e) > 0) {
                float[] all = states.get(i);
                routes.get(i).scatter(e, outputs, at, all);
                states.put(i, all);
                at += routes.get(i).count(e) * shape.hidden();
            }
        }
    }

    /// @param down path of the shared expert's output projection
    private void shared(Layer layer, String down) {
        int width = exact.matrix(down).columns();
        try (Activations gated = pieces.temporary("gated", width)) {
            Inputs inputs = pieces.inputs(width);
            for (int i = 0; i < pieces.count(); i++) {
                int piece = i;
                float[] middle = coded.sharedMiddle(layer.number(), layer.inputs().coded().get(i));
                if (layer.isRead()) {
                    gated.put(i, middle);
                }
                coding.add(inputs, middle, pieces.exactly(i, () -> exact.sharedMiddle(layer.number(), layer.inputs().exact().get(piece))));
            }
            model.refine(List.of(down), inputs);
            for (int i = 0; layer.isRead() && i < pieces.count(); i++) {
                float[] all = layer.states().coded().get(i);
                coded.addShared(layer.number(), layer.inputs().coded().get(i), coded.apply(down, gated.get(i)), all);
                layer.states().coded().put(i, all);
            }
        }
    }
}
