package ram.refine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.function.BiFunction;
import java.util.function.DoubleConsumer;
import java.util.function.Supplier;
import ram.InputException;
import ram.eval.ForwardPass;
import ram.eval.Mixers;
import ram.eval.NetworkShape;
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
    /// Damping of an embedding that is the output head too, more than [CodedModel#DAMPING]: looking tokens up weighs all columns alike.
    private static final double TIED_DAMPING = 0.5;
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

    /// @throws ram.InputException for a family that cannot be refined
    public static void requireKnown(WeightSource source) {
        try (Workers one = new Workers(1)) {
            requireKnown(new ForwardPass(source, one).shape(), source);
        }
    }

    private static void requireKnown(NetworkShape shape, WeightSource source) {
        boolean selective = shape.mixers().flatMap(Mixers::kind).filter(Mixers.SelectiveSpace.class::isInstance).isPresent();
        if (selective || !shape.plainLayers()) {
            String what = selective ? "has the mixer of the first Mamba" : "is of a model_type whose layers share keys and values, or do more than attention and a feed-forward part";
            throw InputException.in(source.config().file(), what + ", which --refine does not know; leave out --refine");
        }
    }

    private final CodedModel model;
    private final ForwardPass exact;
    private final ForwardPass coded;
    private final ModuleCoding coding;
    private final NetworkShape shape;
    private final Workers workers;
    private final RefineStore store;
    private final long memory;
    private final boolean follow;
    private long nanos;

    /// @param targets the formats of quantized modules, by path
    /// @param memory bytes for activations beside the statistics of one module
    /// @param drift part of the drift of inputs that is made up for, 0 to 1
    /// @throws ram.InputException for a family that cannot be run or refined
    public Refiner(WeightSource source, Map<String, Target> targets, Workers workers, long memory, double drift, RefineStore store) {
        this.model = new CodedModel(source, targets, workers, drift, store);
        this.exact = model.exact();
        this.coded = model.coded();
        this.coding = model.coding();
        this.shape = model.shape();
        requireKnown(shape, source);
        this.workers = workers;
        this.store = store;
        this.memory = memory;
        this.follow = drift > 0;
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
        Pieces pieces = new Pieces(sequences, chunkTokens(), follow, store, memory, workers);
        double before = tiedEmbedding() ? shape.layers() * TIED_SHARE : 0;
        double steps = before + shape.layers() + (model.headRefinable() ? 1 : 0);
        int first = finished.orElse(0);
        if (finished.isPresent()) {
            goOn();
        }
        long start = System.nanoTime();
        try (Streams even = streams(pieces, 0); Streams odd = streams(pieces, 1)) {
            if (finished.isEmpty()) {
                embedding(pieces, share -> progress.accept(before * share / steps));
                for (int i = 0; i < pieces.count(); i++) {
                    if (pieces.follows(i)) {
                        even.exact().put(i, concatenated(exact.embed(pieces.get(i).sequences())));
                    }
                    even.coded().put(i, concatenated(coded.embed(pieces.get(i).sequences())));
                }
                save(0, sequences, even);
            }
            for (int l = first; l < shape.layers(); l++) {
                Streams in = l % 2 == 0 ? even : odd;
                Streams out = l % 2 == 0 ? odd : even;
                mix(l, pieces, in, out);
                progress.accept((before + l + 0.3) / steps);
                if (shape.parts().get(l).feeds()) {
                    feedForward(l, pieces, in, out);
                }
                model.release();
                requireFinite(l, pieces, out);
                save(l + 1, sequences, out);
                progress.accept((before + l + 1) / steps);
            }
            head(pieces, shape.layers() % 2 == 0 ? even : odd);
            progress.accept(1);
        }
        nanos = System.nanoTime() - start;
        return coding.gains();
    }

    private void requireFinite(int l, Pieces pieces, Streams states) {
        for (int i = 0; i < pieces.count(); i++) {
            if (pieces.follows(i)) {
                exact.requireFinite(l, states.exact().get(i));
            }
            exact.requireFinite(l, states.coded().get(i));
        }
    }

    /// What goes into a layer. A layer reads that of one pair of files and writes that of the other, so that a run can go on with the layer in which it ended.
    private Streams streams(Pieces pieces, int parity) {
        return new Streams(pieces.kept("exact-" + parity, shape.hidden()), pieces.kept("states-" + parity, shape.hidden()));
    }

    private void save(int layer, List<int[]> text, Streams in) {
        in.force();
        store.finished(layer, text, coding.gains());
    }

    private void goOn() {
        coding.gains().putAll(store.gains());
        coding.gains().keySet().forEach(model::open);
    }

    /// Seconds spent on each part by [#run].
    public Map<Part, Double> seconds() {
        return coding.seconds(nanos);
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

    /// Whether there is an embedding to refine: as the output head that it is too.
    private boolean tiedEmbedding() {
        Target target = model.target(shape.embedding());
        return target != null && exact.tied() && target.refinable();
    }

    private void embedding(Pieces pieces, DoubleConsumer progress) {
        Target target = model.target(shape.embedding());
        if (target == null) {
            return;
        }
        Rows w = exact.matrix(shape.embedding());
        if (!tiedEmbedding()) {
            model.replace(shape.embedding(), codedOnReading(w, target));
            return;
        }
        Inputs inputs = pieces.inputs(shape.hidden(), 0);
        for (int i = 0; i < pieces.count(); i++) {
            Piece piece = pieces.get(i);
            int number = i;
            coding.add(inputs, exact.headInputs(exact.run(piece.sequences(), piece.tokens(),
                    (l, layers) -> progress.accept((number + (double) l / (layers + 1)) / pieces.count()))), null);
        }
        model.refine(List.of(shape.embedding()), inputs, TIED_DAMPING);
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

    /// Attention and mixer, as many as the layer has of them: first what reads the same inputs, then the output projections with what those make of them.
    private void mix(int l, Pieces pieces, Streams in, Streams out) {
        NetworkShape.Parts parts = shape.parts().get(l);
        if (!parts.attends() && !parts.mixes()) {
            for (int i = 0; i < pieces.count(); i++) {
                if (pieces.follows(i)) {
                    out.exact().put(i, in.exact().get(i));
                }
                out.coded().put(i, in.coded().get(i));
            }
            return;
        }
        List<String> readers = new ArrayList<>(parts.attends() ? exact.attentionReaders(l) : List.of());
        readers.addAll(parts.mixes() ? exact.mixerReaders(l) : List.of());
        Inputs inputs = pieces.inputs(shape.hidden());
        for (int i = 0; i < pieces.count(); i++) {
            int piece = i;
            coding.add(inputs, coded.attentionInput(l, List.of(in.coded().get(i))), pieces.exactly(i, () -> exact.attentionInput(l, List.of(in.exact().get(piece)))));
        }
        model.refine(readers, inputs);
        Streams before = in;
        if (parts.mixes()) {
            output(shape.mixerOutput(l), exact.mixerWidth(), (pass, x, lengths) -> pass.mix(l, x, lengths), (pass, mixed) -> pass.mixerOutput(l, mixed), l, pieces, in, before, out);
            before = out;
        }
        if (parts.attends()) {
            if (shape.latent().isPresent()) {
                new LatentRefiner(model, pieces).refine(l, in);
            }
            output(shape.attentionOutput(l), shape.mixedWidth(l), (pass, x, lengths) -> pass.attend(l, x, lengths), (pass, mixed) -> pass.attentionOutput(l, mixed), l, pieces, in, before, out);
        }
    }

    /// What enters an output projection, of the inputs of a layer.
    @FunctionalInterface
    private interface Mixing {
        float[] apply(ForwardPass pass, float[] x, List<Integer> lengths);
    }

    /// @param path of the output projection, which reads `width` values of a token
    /// @param adding what it adds to the states, of what enters it
    /// @param read the states that the layer reads
    /// @param before the states to which the outputs are added, and `after` those with them
    private void output(String path, int width, Mixing mixing, BiFunction<ForwardPass, float[], float[]> adding, int l, Pieces pieces, Streams read, Streams before, Streams after) {
        try (Activations mixed = pieces.temporary("mixed", width)) {
            Inputs inputs = pieces.inputs(width);
            for (int i = 0; i < pieces.count(); i++) {
                int piece = i;
                float[] exactMixed = pieces.exactly(i, () -> mixing.apply(exact, exact.attentionInput(l, List.of(read.exact().get(piece))), pieces.get(piece).lengths()));
                float[] codedMixed = mixing.apply(coded, coded.attentionInput(l, List.of(read.coded().get(i))), pieces.get(i).lengths());
                coding.add(inputs, codedMixed, exactMixed);
                if (pieces.follows(i)) {
                    model.add(before.exact(), after.exact(), i, adding.apply(exact, exactMixed));
                }
                mixed.put(i, codedMixed);
            }
            model.refine(List.of(path), inputs);
            for (int i = 0; i < pieces.count(); i++) {
                model.add(before.coded(), after.coded(), i, adding.apply(coded, mixed.get(i)));
            }
        }
    }

    /// Whether anything is refined with what a layer makes.
    private boolean isRead(int layer) {
        return layer + 1 < shape.layers() || model.headRefinable();
    }

    private void feedForward(int l, Pieces pieces, Streams in, Streams out) {
        if (shape.experts(l) == 0) {
            dense(l, pieces, shape.dense().parallel() ? in : out, out);
        } else {
            new MixtureRefiner(model, pieces).refine(l, out, isRead(l));
        }
    }

    /// @param read the states that the feed-forward part reads
    /// @param streams the states that its outputs are added to
    private void dense(int l, Pieces pieces, Streams read, Streams streams) {
        String down = shape.denseDown(l);
        Inputs inputs = pieces.inputs(shape.hidden());
        for (int i = 0; i < pieces.count(); i++) {
            int piece = i;
            coding.add(inputs, coded.feedForwardInput(l, List.of(read.coded().get(i))), pieces.exactly(i, () -> exact.feedForwardInput(l, List.of(read.exact().get(piece)))));
        }
        model.refine(exact.feedForwardReaders(l), inputs);
        int width = exact.matrix(down).columns();
        try (Activations gated = pieces.temporary("gated", width)) {
            inputs = pieces.inputs(width);
            for (int i = 0; i < pieces.count(); i++) {
                int piece = i;
                float[] exactGated = pieces.exactly(i, () -> exact.middle(l, exact.feedForwardInput(l, List.of(read.exact().get(piece)))));
                float[] codedGated = coded.middle(l, coded.feedForwardInput(l, List.of(read.coded().get(i))));
                coding.add(inputs, codedGated, exactGated);
                if (isRead(l)) {
                    if (pieces.follows(i)) {
                        model.add(streams.exact(), i, exact.feedForwardOutput(l, exactGated));
                    }
                    gated.put(i, codedGated);
                }
            }
            model.refine(List.of(down), inputs);
            for (int i = 0; isRead(l) && i < pieces.count(); i++) {
                model.add(streams.coded(), i, coded.feedForwardOutput(l, gated.get(i)));
            }
        }
    }

    private void head(Pieces pieces, Streams streams) {
        if (!model.headRefinable()) {
            return;
        }
        Inputs inputs = pieces.inputs(shape.hidden());
        for (int i = 0; i < pieces.count(); i++) {
            int piece = i;
            coding.add(inputs, coded.headInputs(List.of(streams.coded().get(i))), pieces.exactly(i, () -> exact.headInputs(List.of(streams.exact().get(piece)))));
        }
        model.refine(List.of(shape.head()), inputs);
    }
}
