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

    /// A part of a layer that ends in an output projection.
    ///
    /// @param output path of that, which reads `width` values of a token
    /// @param middle what enters it
    /// @param delta what it adds to the states, of what enters it
    private record Branch(String output, int width, Middle middle, BiFunction<ForwardPass, float[], float[]> delta) {
    }

    /// What enters an output projection, of the states that its part of the layer reads and the lengths of their sequences.
    @FunctionalInterface
    private interface Middle {
        float[] of(ForwardPass pass, List<float[]> states, List<Integer> lengths);
    }

    /// Attention and mixer, as many as the layer has of them: first what reads the same inputs, then the output projections with what those make of them.
    private void mix(int l, Pieces pieces, Streams in, Streams out) {
        NetworkShape.Parts parts = shape.parts().get(l);
        List<String> readers = new ArrayList<>();
        List<Branch> branches = new ArrayList<>();
        if (parts.mixes()) {
            readers.addAll(exact.mixerReaders(l));
            branches.add(new Branch(shape.mixerOutput(l), exact.mixerWidth(), (pass, states, lengths) -> pass.mix(l, pass.attentionInput(l, states), lengths),
                    (pass, middle) -> pass.mixerOutput(l, middle)));
        }
        if (parts.attends()) {
            readers.addAll(exact.attentionReaders(l));
            branches.add(new Branch(shape.attentionOutput(l), shape.mixedWidth(l), (pass, states, lengths) -> pass.attend(l, pass.attentionInput(l, states), lengths),
                    (pass, middle) -> pass.attentionOutput(l, middle)));
        }
        if (branches.isEmpty()) {
            copy(pieces, in, out);
            return;
        }
        model.refine(readers, shape.hidden(), pieces, in, (pass, states) -> pass.attentionInput(l, states));
        if (parts.attends() && shape.latent().isPresent()) {
            new LatentRefiner(model, pieces).refine(l, in);
        }
        Streams before = in;
        for (Branch branch : branches) {
            output(branch, pieces, in, before, out, true);
            before = out;
        }
    }

    private static void copy(Pieces pieces, Streams from, Streams to) {
        for (int i = 0; i < pieces.count(); i++) {
            if (pieces.follows(i)) {
                to.exact().put(i, from.exact().get(i));
            }
            to.coded().put(i, from.coded().get(i));
        }
    }

    /// Codes the output projection of a branch.
    ///
    /// @param read the states that the branch reads
    /// @param before the states to which its outputs are added, and `after` those with them
    /// @param isRead whether anything is refined with these; otherwise no outputs are added
    private void output(Branch branch, Pieces pieces, Streams read, Streams before, Streams after, boolean isRead) {
        try (Activations middles = pieces.temporary("middle", branch.width())) {
            Inputs inputs = pieces.inputs(branch.width());
            for (int i = 0; i < pieces.count(); i++) {
                int piece = i;
                List<Integer> lengths = pieces.get(i).lengths();
                float[] exactMiddle = pieces.exactly(i, () -> branch.middle().of(exact, List.of(read.exact().get(piece)), lengths));
                float[] codedMiddle = branch.middle().of(coded, List.of(read.coded().get(i)), lengths);
                coding.add(inputs, codedMiddle, exactMiddle);
                if (isRead) {
                    if (pieces.follows(i)) {
                        model.add(before.exact(), after.exact(), i, branch.delta().apply(exact, exactMiddle));
                    }
                    middles.put(i, codedMiddle);
                }
            }
            model.refine(List.of(branch.output()), inputs);
            for (int i = 0; isRead && i < pieces.count(); i++) {
                model.add(before.coded(), after.coded(), i, branch.delta().apply(coded, middles.get(i)));
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
        model.refine(exact.feedForwardReaders(l), shape.hidden(), pieces, read, (pass, states) -> pass.feedForwardInput(l, states));
        Branch branch = new Branch(down, exact.matrix(down).columns(), (pass, states, _) -> pass.middle(l, pass.feedForwardInput(l, states)),
                (pass, middle) -> pass.feedForwardOutput(l, middle));
        output(branch, pieces, read, streams, streams, isRead(l));
    }

    private void head(Pieces pieces, Streams streams) {
        if (model.headRefinable()) {
            model.refine(List.of(shape.head()), shape.hidden(), pieces, streams, ForwardPass::headInputs);
        }
    }
}
