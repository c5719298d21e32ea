package ram.eval;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import ram.InputException;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// Runs sequences through a decoder, layer by layer: one layer's weights at a time, all sequences through it.
/// Activations are float32. The result does not depend on the number of threads nor on how many sequences run together.
///
///     new ForwardPass(weights, workers).run(sequences, 4096, (layer, layers) -> { })
public final class ForwardPass {
    private final NetworkShape shape;
    private final Workers workers;
    private final Linears linears;
    private final Normalization norms;
    private final HeadAttention heads;
    private final Optional<LatentAttention> latent;
    private final Optional<TokenMixer> mixer;
    private final FeedForward feedForward;
    private final Optional<PerLayerInputs> layerInputs;
    private final Optional<AlternatingStreams> streams;

    /// @throws InputException for a family that cannot be run
    public ForwardPass(WeightSource weights, Workers workers) {
        this(weights, workers, new Projection(workers));
    }

    ForwardPass(WeightSource weights, Workers workers, Projection projection) {
        this.shape = NetworkShape.of(weights.config());
        this.workers = workers;
        this.linears = new Linears(weights, projection);
        this.norms = new Normalization(shape.norms(), linears, workers);
        Attention attention = new Attention(shape.factors(), workers);
        this.heads = new HeadAttention(shape, linears, attention, norms, workers);
        this.latent = shape.latent().map(l -> new LatentAttention(shape, l, linears, attention, norms, workers));
        this.mixer = shape.mixers().flatMap(Mixers::kind).map(this::mixer);
        this.feedForward = new FeedForward(shape, linears, workers);
        this.layerInputs = shape.layerInputs().map(i -> new PerLayerInputs(shape, i, linears, feedForward, norms, workers));
        this.streams = shape.streams().map(s -> new AlternatingStreams(shape, s, linears, norms));
    }

    private TokenMixer mixer(Mixers.Kind kind) {
        return switch (kind) {
            case Mixers.ShortConvolution sizes -> new ShortConvolution(shape.hidden(), sizes, linears, workers);
            case Mixers.DeltaNet sizes -> new GatedDeltaNet(shape.hidden(), sizes, shape.norms().lastEps(), linears, workers);
            case Mixers.SelectiveSpace sizes -> new SelectiveSpace(shape.hidden(), sizes, shape.norms().lastEps(), linears, norms, workers);
            case Mixers.StateSpace sizes -> new StateSpace(shape.hidden(), sizes, shape.norms().lastEps(), linears, workers);
        };
    }

    /// Sizes and settings of the model.
    public NetworkShape shape() {
        return shape;
    }

    /// Working memory per token while a layer computes, in bytes.
    long scratchBytesPerToken() {
        long attentionFloats = latent.map(LatentAttention::scratchFloatsPerToken).orElseGet(heads::scratchFloatsPerToken);
        long mixerFloats = mixer.map(TokenMixer::scratchFloatsPerToken).orElse(0L);
        long widest = 0;
        for (int l = 0; l < shape.layers(); l++) {
            widest = Math.max(widest, widest(l));
        }
        long besideFloats = shape.mixture().beside().isPresent() ? 3L * shape.hidden() : 0;
        long inputFloats = layerInputs.map(PerLayerInputs::scratchFloatsPerToken).orElse(0L);
        // where a layer has both, the outputs of the mixer wait for those of the attention
        long kept = (shape.parts().stream().anyMatch(p -> p.attends() && p.mixes()) ? 3L : 2L) * shape.hidden() + (streams.isPresent() ? 3L * stateFloatsPerToken() : 0);
        return 4 * (kept + Math.max(Math.max(attentionFloats, mixerFloats), Math.max(inputFloats, shape.hidden() + besideFloats + 3 * widest)));
    }

    /// Numbers of a token's states between the layers.
    int stateFloatsPerToken() {
        return Math.multiplyExact(shape.hidden(), shape.streams().map(NetworkShape.Streams::count).orElse(1));
    }

    /// Numbers per token that [#run] holds from layer to layer beside the states.
    long heldFloatsPerToken() {
        return heads.heldFloatsPerToken();
    }

    private long widest(int l) {
        String path = shape.feedForward(l);
        long shared = shape.shared(l).map(expert -> Math.max(linears.rows(expert + "." + shape.dense().up()), linears.rows(expert + "." + shape.mixture().shared().orElseThrow().fused()))).orElse(0L);
        long dense = Math.max(linears.rows(path + "." + shape.dense().up()), linears.rows(path + "." + shape.dense().both()));
        return shape.experts(l) == 0 ? dense : Math.max(Math.max(dense, shared), Math.max(shape.hidden(), linears.rows(shape.stack(l, shape.mixture().up())) / shape.experts(l)));
    }

    /// Told after each layer, for progress.
    @FunctionalInterface
    public interface LayerListener {
        void done(int layer, int layers);
    }

    /// The states after the last layer, before the final norm.
    ///
    /// @param sequences token ids, each below the vocabulary's size
    /// @param chunkTokens how many tokens a layer works on at a time; whole sequences, at least one
    /// @param progress is told after each layer how many are done
    /// @return per sequence `tokens · hidden` values
    public List<float[]> run(List<int[]> sequences, int chunkTokens, LayerListener progress) {
        List<float[]> states = new ArrayList<>(embed(sequences));
        int longest = sequences.stream().mapToInt(s -> s.length).max().orElse(0);
        Map<Rope, float[]> tables = new IdentityHashMap<>();
        shape.positions().forEach(p -> p.rope().ifPresent(r -> tables.computeIfAbsent(r, _ -> r.table(longest))));
        List<List<Integer>> batches = batches(IntStream.range(0, states.size()).boxed().toList(), sequences, chunkTokens);
        List<Map<Integer, HeadAttention.KeysAndValues>> held = Stream.<Map<Integer, HeadAttention.KeysAndValues>>generate(HashMap::new).limit(batches.size()).toList();
        streams.ifPresent(s -> replace(states, batches, s::spread));
        for (int l = 0; l < shape.layers(); l++) {
            for (int b = 0; b < batches.size(); b++) {
                List<Integer> batch = batches.get(b);
                List<float[]> some = batch.stream().map(states::get).toList();
                layer(l, batch.stream().map(sequences::get).toList(), some, tables, held.get(b));
                for (float[] s : some) {
                    requireFinite(l, s);
                }
            }
            progress.done(l + 1, shape.layers());
        }
        streams.ifPresent(s -> replace(states, batches, s::merged));
        return states;
    }

    private static void replace(List<float[]> states, List<List<Integer>> batches, UnaryOperator<List<float[]>> change) {
        for (List<Integer> batch : batches) {
            List<float[]> changed = change.apply(batch.stream().map(states::get).toList());
            for (int i = 0; i < batch.size(); i++) {
                states.set(batch.get(i), changed.get(i));
            }
        }
    }

    /// The states before the first layer, per sequence `tokens · hidden` values.
    public List<float[]> embed(List<int[]> sequences) {
        Rows embedding = linears.matrix(shape.embedding(), shape.vocabulary(), shape.hidden());
        float factor = shape.factors().embedding();
        return workers.map(sequences, ids -> {
            float[] out = new float[Math.multiplyExact(ids.length, shape.hidden())];
            float[] row = new float[shape.hidden()];
            for (int t = 0; t < ids.length; t++) {
                if (ids[t] < 0 || ids[t] >= shape.vocabulary()) {
                    throw TokenSet.outside(ids[t], shape.vocabulary());
                }
                embedding.read(ids[t], 1, row);
                Kernels.addScaled(factor, row, 0, out, t * shape.hidden(), row.length);
            }
            return out;
        });
    }

    /// @param held keys and values by layer, of those that later layers attend to
    private void layer(int l, List<int[]> ids, List<float[]> states, Map<Rope, float[]> tables, Map<Integer, HeadAttention.KeysAndValues> held) {
        if (streams.isPresent()) {
            alternating(l, streams.get(), ids, states, tables, held);
            return;
        }
        List<float[]> added = mixed(l, states, tables, held);
        boolean feeds = shape.parts().get(l).feeds();
        boolean parallel = shape.dense().parallel();
        float[] fed = feeds && parallel ? feedForward(l, feedForwardInput(l, states)) : null;
        added.forEach(a -> addTo(states, a));
        if (feeds && !parallel) {
            fed = shape.mixture().beside().filter(_ -> shape.experts(l) > 0).map(beside -> sideBySide(l, beside, states)).orElseGet(() -> feedForward(l, feedForwardInput(l, states)));
        }
        if (feeds) {
            addTo(states, fed);
        }
        layerInputs.ifPresent(inputs -> addTo(states, inputs.apply(l, joined(states), ids, joined(embed(ids)))));
        shape.factors().layer().ifPresent(name -> {
            float factor = linears.vector(shape.layer(l) + "." + name, 1)[0];
            states.forEach(s -> multiplied(s, factor));
        });
    }

    /// What attention and mixer of a layer, as many as it has of them, add to the states.
    private List<float[]> mixed(int l, List<float[]> states, Map<Rope, float[]> tables, Map<Integer, HeadAttention.KeysAndValues> held) {
        NetworkShape.Parts parts = shape.parts().get(l);
        List<float[]> out = new ArrayList<>();
        if (parts.mixes() || parts.attends()) {
            float[] x = attentionInput(l, states);
            if (parts.mixes()) {
                out.add(mixerOutput(l, mix(l, x, lengths(states))));
            }
            if (parts.attends()) {
                out.add(attentionOutput(l, attend(l, x, lengths(states), tables, held)));
            }
        }
        return out;
    }

    /// A layer that works on one of several states, with a branch of low rank beside the attention, and after which the others follow.
    private void alternating(int l, AlternatingStreams all, List<int[]> ids, List<float[]> states, Map<Rope, float[]> tables, Map<Integer, HeadAttention.KeysAndValues> held) {
        all.predict(l, states);
        List<float[]> active = all.active(states);
        float[] x = attentionInput(l, active);
        float[] attended = attentionOutput(l, attend(l, x, lengths(active), tables, held));
        addTo(active, attended);
        addTo(active, all.branch(l, x));
        active.forEach(s -> multiplied(s, (float) Math.sqrt(0.5)));
        addTo(active, feedForward(l, feedForwardInput(l, active)));
        all.correct(l, states, active);
        all.addToOthers(states, layerInputs.orElseThrow().apply(l, all.gating(l, states), ids, joined(embed(ids))));
    }

    /// @throws InputException when the states after a layer are not finite: one broken weight would otherwise make every number NaN without saying why
    public void requireFinite(int l, float[] states) {
        if (Kernels.nonFinite(states, 0, states.length) > 0) {
            throw new InputException("the activations after " + shape.layer(l) + " are not finite; the weights of this model are damaged or overflow float32, verify the folder");
        }
    }

    private List<Integer> lengths(List<float[]> states) {
        return states.stream().map(s -> s.length / shape.hidden()).toList();
    }

    /// What enters the query, key and value projections, or the mixer of a layer: all sequences, one after the other.
    public float[] attentionInput(int l, List<float[]> states) {
        return normalized(joined(states), l, shape.norms().attention());
    }

    /// What enters the feed-forward part.
    ///
    /// @param states that the layer's attention has been added to; those before it where both are parallel
    public float[] feedForwardInput(int l, List<float[]> states) {
        return normalized(joined(states), l, shape.norms().feedForward());
    }

    /// Paths of the modules of a layer's mixer that read what [#attentionInput] returns.
    public List<String> mixerReaders(int l) {
        return mixer.orElseThrow().readers(shape.mixer(l));
    }

    /// Paths of the modules of a layer's mixer, beside its output projection.
    List<String> mixerModules(int l) {
        return mixer.orElseThrow().modules(shape.mixer(l));
    }

    /// What enters the output projection of a layer's mixer.
    ///
    /// @param x of [#attentionInput]
    /// @param lengths of the sequences in `x`
    public float[] mix(int l, float[] x, List<Integer> lengths) {
        return mixer.orElseThrow().apply(shape.mixer(l), x, lengths);
    }

    /// Values of a token that enter the output projection of a mixer.
    public int mixerWidth() {
        return mixer.orElseThrow().width();
    }

    /// What the mixer adds to the states.
    ///
    /// @param mixed of [#mix]
    public float[] mixerOutput(int l, float[] mixed) {
        return branch(l, linears.apply(shape.mixerOutput(l), shape.hidden(), mixerWidth(), mixed));
    }

    /// Paths of the modules of a layer's attention that read what [#attentionInput] returns.
    public List<String> attentionReaders(int l) {
        return latent.isPresent() ? latent.get().readers(shape.attention(l)) : heads.readers(l);
    }

    /// Paths of the modules that read what [#queryLatents] returns.
    public List<String> queryLatentReaders(int l) {
        return latent.map(a -> a.queryReaders(shape.attention(l))).orElse(List.of());
    }

    /// Paths of the modules that read what [#keyLatents] returns.
    public List<String> keyLatentReaders(int l) {
        return latent.map(a -> a.keyReaders(shape.attention(l))).orElse(List.of());
    }

    /// Path of the stack of a matrix for each head that reads the dimensions of its queries which do not turn; empty where keys are made in another way.
    public Optional<String> queryStack(int l) {
        return latent.flatMap(a -> a.queryStack(shape.attention(l)));
    }

    /// What queries are made of where the attention is latent and has such vectors.
    ///
    /// @param x of [#attentionInput]
    public float[] queryLatents(int l, float[] x) {
        return latent.orElseThrow().compressedQueries(shape.attention(l), x);
    }

    /// What keys and values are made of where the attention is latent.
    ///
    /// @param x of [#attentionInput]
    public float[] keyLatents(int l, float[] x) {
        return latent.orElseThrow().compressed(shape.attention(l), x)[0];
    }

    /// The queries of latent attention before any of their dimensions turn, `tokens · heads · headDim` values.
    ///
    /// @param x of [#attentionInput]
    public float[] queries(int l, float[] x) {
        return latent.orElseThrow().queries(shape.attention(l), x);
    }

    /// Paths of the modules that read what [#feedForwardInput] returns, in a dense layer.
    public List<String> feedForwardReaders(int l) {
        return readers(shape.feedForward(l), shape.dense().both());
    }

    /// @param both the name of gate and up in one
    private List<String> readers(String path, String both) {
        String up = path + "." + shape.dense().up();
        return shape.dense().gated() ? linears.fusedOr(path + "." + both, path + "." + shape.dense().gate(), up) : List.of(up);
    }

    /// Paths of the modules that read the same in the expert that all tokens pass; empty where there is none.
    public List<String> sharedReaders(int l) {
        return shape.shared(l).map(path -> readers(path, shape.mixture().shared().orElseThrow().fused())).orElse(List.of());
    }

    /// What enters the output projection of the attention, of a layer with keys and values of its own.
    ///
    /// @param x of [#attentionInput]
    /// @param lengths of the sequences in `x`
    public float[] attend(int l, float[] x, List<Integer> lengths) {
        int longest = lengths.stream().mapToInt(Integer::intValue).max().orElse(0);
        return attend(l, x, lengths, shape.positions().get(l).rope().map(r -> Map.of(r, r.table(longest))).orElse(Map.of()), new HashMap<>());
    }

    private float[] attend(int l, float[] x, List<Integer> lengths, Map<Rope, float[]> tables, Map<Integer, HeadAttention.KeysAndValues> held) {
        return latent.isPresent() ? latent.get().apply(l, x, lengths, tables) : heads.apply(l, x, lengths, tables, held);
    }

    /// What the attention adds to the states.
    ///
    /// @param mixed of [#attend]
    public float[] attentionOutput(int l, float[] mixed) {
        return branch(l, linears.apply(shape.attentionOutput(l), shape.hidden(), shape.mixedWidth(l), mixed));
    }

    private float[] branch(int l, float[] out) {
        return scaled(normalized(out, l, shape.norms().attentionOutput()));
    }

    /// What the feed-forward part of a layer adds to the states, where no dense part stands beside experts.
    ///
    /// @param x of [#feedForwardInput]
    public float[] feedForward(int l, float[] x) {
        return shape.experts(l) == 0 ? feedForwardOutput(l, middle(l, x)) : feedForward.mixture(l, x);
    }

    /// What a layer's dense feed-forward part and the experts beside it add to the states.
    private float[] sideBySide(int l, NetworkShape.Beside beside, List<float[]> states) {
        float[] out = linears.apply(shape.denseDown(l), middle(l, feedForwardInput(l, states)));
        normalized(out, l, Optional.of(beside.output()));
        float[] scale = linears.vector(shape.block(l) + "." + beside.routerScale(), shape.hidden());
        float[] ranked = joined(states);
        norms.apply(ranked, multiplied(scale, (float) (1 / Math.sqrt(shape.hidden()))));
        Routes routes = feedForward.route(l, ranked);
        float[] routed = feedForward.routed(l, normalized(joined(states), l, Optional.of(beside.experts())), routes);
        normalized(routed, l, Optional.of(beside.expertsOutput()));
        addTo(List.of(out), routed);
        return normalized(out, l, shape.norms().feedForwardOutput());
    }

    /// Paths of the modules that make and use the vectors which tokens have for a layer, and several states of a token; those of all layers come with the first.
    List<String> furtherModules(int l) {
        List<String> out = new ArrayList<>(layerInputs.map(inputs -> inputs.modules(l)).orElse(List.of()));
        streams.ifPresent(s -> out.addAll(s.modules(l)));
        return List.copyOf(out);
    }

    /// What enters the output projection of a dense layer's feed-forward part.
    ///
    /// @param x of [#feedForwardInput]
    public float[] middle(int l, float[] x) {
        return feedForward.middle(l, x);
    }

    /// What enters the output projection of the expert that all tokens pass.
    ///
    /// @param x of [#feedForwardInput]
    /// @throws java.util.NoSuchElementException for a layer without one
    public float[] sharedMiddle(int l, float[] x) {
        return feedForward.sharedMiddle(l, x);
    }

    /// What a dense layer's feed-forward part adds to the states.
    ///
    /// @param middle of [#middle]
    public float[] feedForwardOutput(int l, float[] middle) {
        String down = shape.denseDown(l);
        float[] out = linears.apply(down, shape.hidden(), linears.matrix(down).columns(), middle);
        return scaled(normalized(out, l, shape.norms().feedForwardOutput()));
    }

    /// The activation of a model without gates, in place.
    public void activate(float[] x) {
        feedForward.activate(x);
    }

    /// The activation of the model with what multiplies it, into `gate`.
    public void activate(float[] gate, float[] up) {
        feedForward.activate(gate, up);
    }

    /// The experts that tokens pass, by the router of a layer.
    ///
    /// @param x of [#feedForwardInput]
    public Routes route(int l, float[] x) {
        return feedForward.route(l, x);
    }

    /// Adds what the shared expert makes, as much of it as counts.
    ///
    /// @param x of [#feedForwardInput]
    public void addShared(int l, float[] x, float[] shared, float[] out) {
        feedForward.addShared(l, x, shared, out);
    }

    /// The outputs of a linear module, additive bias included.
    ///
    /// @param x `tokens · columns` values
    public float[] apply(String path, float[] x) {
        return linears.apply(path, x);
    }

    /// `x · Wᵀ` with some rows of a matrix, and what is added to them.
    ///
    /// @param biases of all rows, see [#biases]
    public float[] apply(Rows w, Optional<float[]> biases, long first, int rows, float[] x) {
        return linears.apply(w, biases, first, rows, x);
    }

    /// The additive biases of all experts' rows, expert after expert; empty where there are none.
    public Optional<float[]> biases(String stack) {
        return linears.bias(stack, Math.toIntExact(linears.matrix(stack).rows()));
    }

    /// The matrix of a module that the model must have.
    public Rows matrix(String path) {
        return linears.matrix(path);
    }

    /// Whether the head shares the embedding: MLX has no head of its own then.
    public boolean tied() {
        return !linears.has(shape.head());
    }

    /// The output head, for some states after the last layer.
    Head.Input head(String name, List<float[]> states) {
        String path = tied() ? shape.embedding() : shape.head();
        Optional<float[]> bias = linears.bias(path, shape.vocabulary()).map(b -> multiplied(b, shape.factors().logit()));
        return new Head.Input(name, linears.matrix(path, shape.vocabulary(), shape.hidden()), bias, headInputs(states), shape.factors().logitCap());
    }

    /// What enters the output head: the normalised states, all sequences one after the other, with the factor of the logits.
    public float[] headInputs(List<float[]> states) {
        float[] out = joined(states);
        norms.apply(out, shape.lastNorm(), shape.hidden(), shape.norms().lastEps());
        return multiplied(out, shape.factors().logit());
    }

    static float[] joined(List<float[]> states) {
        float[] out = new float[Math.toIntExact(states.stream().mapToLong(s -> s.length).sum())];
        int at = 0;
        for (float[] s : states) {
            System.arraycopy(s, 0, out, at, s.length);
            at += s.length;
        }
        return out;
    }

    /// Normalises in place, where the layer has a norm of this name.
    private float[] normalized(float[] x, int l, Optional<String> name) {
        name.ifPresent(n -> norms.apply(x, shape.layer(l) + "." + n, shape.hidden()));
        return x;
    }

    private float[] scaled(float[] branch) {
        return multiplied(branch, shape.factors().branch());
    }

    private float[] multiplied(float[] x, float factor) {
        if (factor != 1) {
            workers.forRanges(x.length, 1 << 16, (from, to) -> {
                for (int i = from; i < to; i++) {
                    x[i] *= factor;
                }
            });
        }
        return x;
    }

    /// Adds a layer part's outputs to the states.
    public void addTo(List<float[]> states, float[] delta) {
        int at = 0;
        for (float[] s : states) {
            int offset = at;
            workers.forRanges(s.length, 1 << 16, (from, to) -> {
                for (int i = from; i < to; i++) {
                    s[i] += delta[offset + i];
                }
            });
            at += s.length;
        }
    }

    /// Most tokens that may run at once so that a layer's working memory stays within `bytes`.
    public int chunkTokens(long bytes) {
        long byIndex = Integer.MAX_VALUE / Math.max(1L, scratchBytesPerToken() / 4);
        return (int) Math.clamp(bytes / scratchBytesPerToken(), 1, byIndex);
    }

    /// Items in their order, as many together as hold so many tokens; one at least.
    ///
    /// @param items indices of sequences
    public static List<List<Integer>> batches(List<Integer> items, List<int[]> sequences, long tokens) {
        List<List<Integer>> out = new ArrayList<>();
        List<Integer> batch = new ArrayList<>();
        long held = 0;
        for (int i : items) {
            if (!batch.isEmpty() && held + sequences.get(i).length > tokens) {
                out.add(List.copyOf(batch));
                batch.clear();
                held = 0;
            }
            batch.add(i);
            held += sequences.get(i).length;
        }
        if (!batch.isEmpty()) {
            out.add(List.copyOf(batch));
        }
        return out;
    }
}
