package ram.refine;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.function.DoubleConsumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import ram.eval.ForwardPass;
import ram.eval.NetworkShape;
import ram.eval.ReplacedWeights;
import ram.eval.Routes;
import ram.eval.WeightSource;
import ram.format.CodedMatrix;
import ram.format.Format;
import ram.format.Quantizer;
import ram.numeric.Workers;
import ram.safetensors.DType;
import ram.tensor.Rows;

/// Codes the linear modules of a decoder one after the other, each with the inputs that the modules coded before it make of a text.
///
/// Two streams of activations go through the layers in step: that of the model and that of the coded modules. The second gives the moments H of a module's
/// inputs, the difference of the two how far its inputs have drifted; part of the drift is made up for in the weight that is coded.
public final class Refiner {
    /// Least that is added to the diagonal of H, in units of its mean. With many tokens, results between 0.001 and 0.1 hardly differ.
    private static final double DAMPING = 0.03;
    /// The same for an embedding that is the output head too: looking tokens up weighs all columns alike.
    private static final double TIED_DAMPING = 0.5;
    /// An expert that fewer tokens pass is left to `mse`.
    private static final int FEWEST_TOKENS = 64;
    /// What the model's own pass over the text, which a tied embedding needs first, takes of the time of the layers, roughly.
    private static final double TIED_SHARE = 0.3;

    /// What takes the time.
    public enum Part {
        /// Both streams through the layers.
        FORWARD,
        /// Moments and drift of inputs.
        STATISTICS,
        FACTORISATION,
        /// Compensated and plain coding, and the comparison of both.
        CODING
    }

    /// What becomes of a module.
    ///
    /// @param stored type of scales and biases
    public record Target(Format format, DType stored) {
        /// Whether it is compensated and not left to `mse`.
        boolean refinable() {
            return format.mode() == Format.Mode.AFFINE;
        }
    }

    static boolean headRefinable(NetworkShape shape, Map<String, Target> targets) {
        return targets.containsKey(shape.head()) && targets.get(shape.head()).refinable();
    }

    private final WeightSource source;
    private final Map<String, Target> targets;
    private final Workers workers;
    private final RefineStore store;
    private final ModuleCoding coding;
    private final ForwardPass exact;
    private final ForwardPass coded;
    private final Map<String, Rows> replaced = new HashMap<>();
    private final NetworkShape shape;
    private final long memory;
    private final double drift;
    /// The first pieces, and their tokens, go through the model itself too.
    private int followedPieces;
    private long followed;
    private long nanos;

    /// @param targets the formats of quantized modules, by path
    /// @param memory bytes for activations beside the statistics of one module
    /// @param drift part of the drift of inputs that is made up for, 0 to 1
    /// @throws ram.InputException for a family that cannot be run
    public Refiner(WeightSource source, Map<String, Target> targets, Workers workers, long memory, double drift, RefineStore store) {
        this.source = source;
        this.targets = Map.copyOf(targets);
        this.workers = workers;
        this.store = store;
        this.coding = new ModuleCoding(workers, drift);
        this.exact = new ForwardPass(source, workers);
        this.coded = new ForwardPass(new ReplacedWeights(source, "refined", (path, rows) -> replaced.getOrDefault(path, rows)), workers);
        this.shape = exact.shape();
        this.memory = memory;
        this.drift = drift;
    }

    /// Refines all modules of the decoder, from where an earlier run with the same store ended.
    ///
    /// @param text makes the sequences of token ids; not asked when an earlier run kept them
    /// @param progress is told the share that is done
    /// @return what was gained, by module
    /// @throws ram.InputException when activations overflow
    public SortedMap<String, Gain> run(Supplier<List<int[]>> text, DoubleConsumer progress) {
        Optional<Integer> finished = store.finishedLayers();
        List<int[]> sequences = finished.isPresent() ? store.text() : text.get();
        List<Piece> pieces = Piece.of(sequences, chunkTokens());
        followedPieces = drift > 0 ? (int) pieces.stream().filter(Piece::followed).count() : 0;
        followed = pieces.subList(0, followedPieces).stream().mapToLong(Piece::tokens).sum();
        int[] tokens = pieces.stream().mapToInt(Piece::tokens).toArray();
        double before = tiedEmbedding() ? shape.layers() * TIED_SHARE : 0;
        double steps = before + shape.layers() + (headRefinable(shape, targets) ? 1 : 0);
        int first = finished.orElse(0);
        if (finished.isPresent()) {
            goOn();
        }
        long start = System.nanoTime();
        try (Streams even = streams(tokens, 0); Streams odd = streams(tokens, 1)) {
            if (finished.isEmpty()) {
                embedding(pieces, share -> progress.accept(before * share / steps));
                for (int i = 0; i < pieces.size(); i++) {
                    if (follows(i)) {
                        even.exact().put(i, concatenated(exact.embed(pieces.get(i).sequences())));
                    }
                    even.coded().put(i, concatenated(coded.embed(pieces.get(i).sequences())));
                }
                save(0, sequences, even);
            }
            for (int l = first; l < shape.layers(); l++) {
                Streams in = l % 2 == 0 ? even : odd;
                Streams out = l % 2 == 0 ? odd : even;
                attention(l, pieces, tokens, in, out);
                progress.accept((before + l + 0.3) / steps);
                if (shape.experts(l) == 0) {
                    dense(l, pieces, tokens, out);
                } else {
                    mixture(l, pieces, tokens, out);
                }
                replaced.keySet().removeIf(path -> !path.equals(shape.embedding()));
                requireFinite(l, pieces.size(), out);
                save(l + 1, sequences, out);
                progress.accept((before + l + 1) / steps);
            }
            head(pieces, shape.layers() % 2 == 0 ? even : odd);
            progress.accept(1);
        }
        nanos = System.nanoTime() - start;
        return coding.gains();
    }

    private void requireFinite(int l, int pieces, Streams states) {
        for (int i = 0; i < pieces; i++) {
            if (follows(i)) {
                exact.requireFinite(l, states.exact().get(i));
            }
            exact.requireFinite(l, states.coded().get(i));
        }
    }

    /// What goes into a layer. A layer reads that of one pair of files and writes that of the other, so that a run can go on with the layer in which it ended.
    private record Streams(Activations exact, Activations coded) implements AutoCloseable {
        void force() {
            exact.force();
            coded.force();
        }

        @Override
        public void close() {
            exact.close();
            coded.close();
        }
    }

    private Streams streams(int[] tokens, int parity) {
        return new Streams(Activations.kept(tokens, shape.hidden(), file("exact-" + parity), workers), Activations.kept(tokens, shape.hidden(), file("states-" + parity), workers));
    }

    private void save(int layer, List<int[]> text, Streams in) {
        in.force();
        store.finished(layer, text, coding.gains());
    }

    private void goOn() {
        coding.gains().putAll(store.gains());
        for (String path : coding.gains().keySet()) {
            open(path, targets.get(path));
        }
    }

    private CodedMatrix open(String path, Target target) {
        Rows w = exact.matrix(path);
        return store.open(path, target.format(), target.stored(), w.rows(), w.columns());
    }

    /// Codes modules that have the same inputs; from now on the coded stream uses them.
    private void refine(List<String> paths, Inputs inputs, double damping) {
        List<ModuleCoding.Slice> slices = paths.stream().filter(targets::containsKey)
                .map(path -> ModuleCoding.Slice.of(path, exact.matrix(path), targets.get(path), open(path, targets.get(path)))).toList();
        coding.code(slices, inputs, inputs.tokens(), damping);
        slices.forEach(s -> replaced.put(s.path(), s.out()));
    }

    /// Seconds spent on each part by [#run].
    public Map<Part, Double> seconds() {
        return coding.seconds(nanos);
    }

    private Path file(String name) {
        return store.file(name + ".f32");
    }

    /// How many tokens a layer works on at a time.
    public int chunkTokens() {
        return exact.chunkTokens(memory / 4);
    }

    private static float[] concatenated(List<float[]> parts) {
        float[] out = new float[parts.stream().mapToInt(p -> p.length).sum()];
        int at = 0;
        for (float[] p : parts) {
            System.arraycopy(p, 0, out, at, p.length);
            at += p.length;
        }
        return out;
    }

    private Activations temporary(String name, int[] tokens, int width) {
        long bytes = 4L * width * Arrays.stream(tokens).asLongStream().sum();
        return new Activations(tokens, width, bytes <= memory / 8 ? null : file(name), workers);
    }

    /// Whether there is an embedding to refine: as the output head that it is too.
    private boolean tiedEmbedding() {
        return targets.containsKey(shape.embedding()) && source.tied() && targets.get(shape.embedding()).refinable();
    }

    private void embedding(List<Piece> pieces, DoubleConsumer progress) {
        Target target = targets.get(shape.embedding());
        if (target == null) {
            return;
        }
        Rows w = exact.matrix(shape.embedding());
        if (!tiedEmbedding()) {
            replaced.put(shape.embedding(), codedOnReading(w, target));
            return;
        }
        Inputs inputs = new Inputs(shape.hidden(), 0, workers);
        for (int i = 0; i < pieces.size(); i++) {
            Piece piece = pieces.get(i);
            int number = i;
            coding.add(inputs, exact.headInputs(exact.run(piece.sequences(), piece.tokens(),
                    (l, layers) -> progress.accept((number + (double) l / (layers + 1)) / pieces.size()))), null);
        }
        refine(List.of(shape.embedding()), inputs, TIED_DAMPING);
    }

    /// A matrix that is coded and decoded as it is read, for one of which few rows are.
    private static Rows codedOnReading(Rows w, Target target) {
        return w.changed((_, count, out) -> {
            int elements = count * w.columns();
            CodedMatrix part = CodedMatrix.allocate(target.format(), target.stored(), count, w.columns());
            part.encode(Quantizer.MSE, out.length == elements ? out : Arrays.copyOf(out, elements));
            part.read(0, count, out);
        });
    }

    private void attention(int l, List<Piece> pieces, int[] tokens, Streams in, Streams out) {
        int width = shape.heads() * shape.headDim();
        Inputs inputs = new Inputs(shape.hidden(), followed, workers);
        for (int i = 0; i < pieces.size(); i++) {
            int piece = i;
            coding.add(inputs, coded.attentionInput(l, List.of(in.coded().get(i))), exactly(i, () -> exact.attentionInput(l, List.of(in.exact().get(piece)))));
        }
        refine(exact.attentionReaders(l), inputs, DAMPING);
        try (Activations mixed = temporary("mixed", tokens, width)) {
            inputs = new Inputs(width, followed, workers);
            for (int i = 0; i < pieces.size(); i++) {
                int piece = i;
                float[] exactMixed = exactly(i, () -> exact.attend(l, exact.attentionInput(l, List.of(in.exact().get(piece))), pieces.get(piece).lengths()));
                float[] codedMixed = coded.attend(l, coded.attentionInput(l, List.of(in.coded().get(i))), pieces.get(i).lengths());
                coding.add(inputs, codedMixed, exactMixed);
                if (follows(i)) {
                    addOutputs(in.exact(), out.exact(), i, exact.attentionOutput(l, exactMixed));
                }
                mixed.put(i, codedMixed);
            }
            refine(List.of(shape.attention(l) + ".o_proj"), inputs, DAMPING);
            for (int i = 0; i < pieces.size(); i++) {
                addOutputs(in.coded(), out.coded(), i, coded.attentionOutput(l, mixed.get(i)));
            }
        }
    }

    /// What the model itself computes for a piece; null where it is not followed.
    private float[] exactly(int piece, Supplier<float[]> work) {
        return follows(piece) ? work.get() : null;
    }

    /// Whether anything is refined with what a layer makes.
    private boolean isRead(int layer) {
        return layer + 1 < shape.layers() || headRefinable(shape, targets);
    }

    private boolean follows(int piece) {
        return piece < followedPieces;
    }

    private void addOutputs(Activations states, int piece, float[] delta) {
        addOutputs(states, states, piece, delta);
    }

    private void addOutputs(Activations before, Activations after, int piece, float[] delta) {
        float[] all = before.get(piece);
        exact.addTo(List.of(all), delta);
        after.put(piece, all);
    }

    private void dense(int l, List<Piece> pieces, int[] tokens, Streams streams) {
        String path = shape.feedForward(l);
        Inputs inputs = new Inputs(shape.hidden(), followed, workers);
        for (int i = 0; i < pieces.size(); i++) {
            int piece = i;
            coding.add(inputs, coded.feedForwardInput(l, List.of(streams.coded().get(i))), exactly(i, () -> exact.feedForwardInput(l, List.of(streams.exact().get(piece)))));
        }
        refine(exact.gatedReaders(path), inputs, DAMPING);
        int width = exact.matrix(path + ".down_proj").columns();
        try (Activations gated = temporary("gated", tokens, width)) {
            inputs = new Inputs(width, followed, workers);
            for (int i = 0; i < pieces.size(); i++) {
                int piece = i;
                float[] exactGated = exactly(i, () -> exact.middle(path, exact.feedForwardInput(l, List.of(streams.exact().get(piece)))));
                float[] codedGated = coded.middle(path, coded.feedForwardInput(l, List.of(streams.coded().get(i))));
                coding.add(inputs, codedGated, exactGated);
                if (isRead(l)) {
                    if (follows(i)) {
                        addOutputs(streams.exact(), i, exact.feedForwardOutput(l, exactGated));
                    }
                    gated.put(i, codedGated);
                }
            }
            refine(List.of(path + ".down_proj"), inputs, DAMPING);
            for (int i = 0; isRead(l) && i < pieces.size(); i++) {
                addOutputs(streams.coded(), i, coded.feedForwardOutput(l, gated.get(i)));
            }
        }
    }

    private void mixture(int l, List<Piece> pieces, int[] tokens, Streams streams) {
        String path = shape.feedForward(l);
        int experts = shape.experts(l);
        try (Activations exactIn = temporary("exact-in", tokens, shape.hidden()); Activations codedIn = temporary("in", tokens, shape.hidden())) {
            Inputs inputs = new Inputs(shape.hidden(), followed, workers);
            for (int i = 0; i < pieces.size(); i++) {
                codedIn.put(i, coded.feedForwardInput(l, List.of(streams.coded().get(i))));
                if (follows(i)) {
                    exactIn.put(i, exact.feedForwardInput(l, List.of(streams.exact().get(i))));
                }
                coding.add(inputs, codedIn.get(i), follows(i) ? exactIn.get(i) : null);
            }
            List<String> everyToken = new ArrayList<>(List.of(path + ".gate"));
            if (shape.mixture().sharedExpert()) {
                everyToken.add(path + ".shared_expert_gate");
                everyToken.addAll(exact.gatedReaders(path + ".shared_expert"));
            }
            refine(everyToken, inputs, DAMPING);
            List<Routes> routes = new ArrayList<>();
            for (int i = 0; i < pieces.size(); i++) {
                if (follows(i) && isRead(l)) {
                    addOutputs(streams.exact(), i, exact.feedForward(l, exactIn.get(i)));
                }
                routes.add(coded.route(coded.apply(path + ".gate", codedIn.get(i)), experts));
            }
            Stack gate = new Stack(path + ".switch_mlp.gate_proj", experts);
            Stack up = new Stack(path + ".switch_mlp.up_proj", experts);
            Stack down = new Stack(path + ".switch_mlp.down_proj", experts);
            for (int e = 0; e < experts; e++) {
                expert(e, gate, up, down, routes, exactIn, codedIn, isRead(l) ? streams.coded() : null);
            }
            if (shape.mixture().sharedExpert()) {
                shared(path, tokens, exactIn, codedIn, isRead(l) ? streams.coded() : null);
            }
        }
    }

    /// A module of all experts of a layer.
    private final class Stack {
        final String path;
        final Rows source;
        final int rows;
        final int columns;
        final Target target;
        final CodedMatrix coded;

        Stack(String path, int experts) {
            this.path = path;
            this.source = exact.matrix(path);
            this.rows = Math.toIntExact(source.rows() / experts);
            this.columns = source.columns();
            this.target = targets.get(path);
            this.coded = target == null ? null : open(path, target);
        }

        /// The weights that the coded model has.
        Rows current() {
            return coded == null ? source : coded;
        }

        boolean refinable() {
            return target != null && target.refinable();
        }

        /// The rows of an expert; nothing where they stay as they are.
        Stream<ModuleCoding.Slice> slice(int expert) {
            return target == null ? Stream.empty() : Stream.of(new ModuleCoding.Slice(path, source, (long) expert * rows, rows, target, coded));
        }
    }

    /// @param states to which the outputs are added; null where nothing reads them
    private void expert(int e, Stack gate, Stack up, Stack down, List<Routes> routes, Activations exactIn, Activations codedIn, Activations states) {
        int tokens = routes.stream().mapToInt(r -> r.count(e)).sum();
        List<Routes> followedRoutes = routes.subList(0, followedPieces);
        int followedTokens = followedRoutes.stream().mapToInt(r -> r.count(e)).sum();
        float[] exactInputs = followedTokens == 0 ? null : gather(exactIn, followedRoutes, e, followedTokens);
        float[] codedInputs = gather(codedIn, routes, e, tokens);
        boolean enough = tokens >= FEWEST_TOKENS;
        Inputs inputs = null;
        if (enough && (gate.refinable() || up.refinable())) {
            inputs = new Inputs(shape.hidden(), followedTokens, workers);
            coding.add(inputs, codedInputs, exactInputs);
        }
        coding.code(Stream.of(gate, up).flatMap(s -> s.slice(e)).toList(), inputs, tokens, DAMPING);
        if (tokens == 0) {
            coding.code(down.slice(e).toList(), null, 0, DAMPING);
            return;
        }
        float[] exactGated = null;
        if (exactInputs != null) {
            exactGated = exact.apply(gate.source, (long) e * gate.rows, gate.rows, exactInputs);
            exact.activate(exactGated, exact.apply(up.source, (long) e * up.rows, up.rows, exactInputs));
        }
        float[] codedGated = exact.apply(gate.current(), (long) e * gate.rows, gate.rows, codedInputs);
        exact.activate(codedGated, exact.apply(up.current(), (long) e * up.rows, up.rows, codedInputs));
        inputs = null;
        if (enough && down.refinable()) {
            inputs = new Inputs(down.columns, followedTokens, workers);
            coding.add(inputs, codedGated, exactGated);
        }
        coding.code(down.slice(e).toList(), inputs, tokens, DAMPING);
        if (states != null) {
            scatter(states, routes, e, exact.apply(down.current(), (long) e * down.rows, down.rows, codedGated));
        }
    }

    private float[] gather(Activations from, List<Routes> routes, int e, int tokens) {
        float[] out = new float[Math.multiplyExact(tokens, shape.hidden())];
        int at = 0;
        for (int i = 0; i < routes.size(); i++) {
            if (routes.get(i).count(e) > 0) {
                routes.get(i).gather(e, from.get(i), out, at);
                at += routes.get(i).count(e) * shape.hidden();
            }
        }
        return out;
    }

    private void scatter(Activations states, List<Routes> routes, int e, float[] out) {
        int at = 0;
        for (int i = 0; i < routes.size(); i++) {
            if (routes.get(i).count(e) > 0) {
                float[] all = states.get(i);
                routes.get(i).scatter(e, out, at, all);
                states.put(i, all);
                at += routes.get(i).count(e) * shape.hidden();
            }
        }
    }

    /// @param states to which the outputs are added; null where nothing reads them
    private void shared(String path, int[] tokens, Activations exactIn, Activations codedIn, Activations states) {
        String expert = path + ".shared_expert";
        int width = exact.matrix(expert + ".down_proj").columns();
        try (Activations gated = temporary("gated", tokens, width)) {
            Inputs inputs = new Inputs(width, followed, workers);
            for (int i = 0; i < tokens.length; i++) {
                int piece = i;
                float[] middle = coded.middle(expert, codedIn.get(i));
                if (states != null) {
                    gated.put(i, middle);
                }
                coding.add(inputs, middle, exactly(i, () -> exact.middle(expert, exactIn.get(piece))));
            }
            refine(List.of(expert + ".down_proj"), inputs, DAMPING);
            for (int i = 0; states != null && i < tokens.length; i++) {
                float[] gate = coded.apply(path + ".shared_expert_gate", codedIn.get(i));
                float[] all = states.get(i);
                coded.addShared(gate, coded.apply(expert + ".down_proj", gated.get(i)), all);
                states.put(i, all);
            }
        }
    }

    private void head(List<Piece> pieces, Streams streams) {
        if (!headRefinable(shape, targets)) {
            return;
        }
        Inputs inputs = new Inputs(shape.hidden(), followed, workers);
        for (int i = 0; i < pieces.size(); i++) {
            int piece = i;
            coding.add(inputs, coded.headInputs(List.of(streams.coded().get(i))), exactly(i, () -> exact.headInputs(List.of(streams.exact().get(piece)))));
        }
        refine(List.of(shape.head()), inputs, DAMPING);
    }
}
