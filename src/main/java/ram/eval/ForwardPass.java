package ram.eval;

import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
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
    private final Attention attention;
    private final FeedForward feedForward;

    /// @throws InputException for a family that cannot be run
    public ForwardPass(WeightSource weights, Workers workers) {
        this(weights, workers, new Projection(workers));
    }

    ForwardPass(WeightSource weights, Workers workers, Projection projection) {
        this.shape = NetworkShape.of(weights.config());
        this.workers = workers;
        this.linears = new Linears(weights, projection);
        this.attention = new Attention(shape, workers);
        this.feedForward = new FeedForward(shape, linears, workers);
    }

    /// Sizes and settings of the model.
    public NetworkShape shape() {
        return shape;
    }

    /// Working memory per token while a layer computes, in bytes.
    long scratchBytesPerToken() {
        long attentionFloats = 4L * shape.heads() * shape.headDim() + 2L * shape.kvHeads() * shape.headDim();
        long widest = 0;
        for (int l = 0; l < shape.layers(); l++) {
            widest = Math.max(widest, widest(shape.feedForward(l), shape.experts(l)));
        }
        return 4 * (2L * shape.hidden() + Math.max(attentionFloats, shape.hidden() + 3 * widest));
    }

    private long widest(String path, int experts) {
        return experts == 0 ? Math.max(linears.rows(path + ".up_proj"), linears.rows(path + ".gate_up_proj"))
                : Math.max(linears.rows(path + ".shared_expert.up_proj"), Math.max(shape.hidden(), linears.rows(path + ".switch_mlp.up_proj") / experts));
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
        List<float[]> states = embed(sequences);
        int longest = sequences.stream().mapToInt(s -> s.length).max().orElse(0);
        Map<Rope, float[]> tables = new IdentityHashMap<>();
        shape.positions().forEach(p -> p.rope().ifPresent(r -> tables.computeIfAbsent(r, _ -> r.table(longest))));
        List<List<Integer>> batches = batches(IntStream.range(0, states.size()).boxed().toList(), sequences, chunkTokens);
        for (int l = 0; l < shape.layers(); l++) {
            for (List<Integer> batch : batches) {
                layer(l, batch.stream().map(states::get).toList(), tables);
            }
            progress.done(l + 1, shape.layers());
        }
        return states;
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

    private void layer(int l, List<float[]> states, Map<Rope, float[]> tables) {
        addTo(states, attentionOutput(l, attend(l, attentionInput(l, states), lengths(states), tables)));
        addTo(states, feedForward(l, feedForwardInput(l, states)));
        for (float[] s : states) {
            requireFinite(l, s);
        }
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

    /// What enters the query, key and value projections: all sequences, one after the other.
    public float[] attentionInput(int l, List<float[]> states) {
        return normalized(joined(states), l, shape.norms().attention());
    }

    /// What enters the feed-forward part.
    public float[] feedForwardInput(int l, List<float[]> states) {
        return normalized(joined(states), l, shape.norms().feedForward());
    }

    /// Paths of the modules that read what [#attentionInput] returns.
    public List<String> attentionReaders(int l) {
        String path = shape.attention(l);
        return linears.fusedOr(path + ".qkv_proj", path + ".q_proj", path + ".k_proj", path + ".v_proj");
    }

    /// Paths of the modules of a gated network that read its inputs.
    public List<String> gatedReaders(String path) {
        return linears.fusedOr(path + ".gate_up_proj", path + ".gate_proj", path + ".up_proj");
    }

    /// What enters the output projection of the attention.
    ///
    /// @param x of [#attentionInput]
    /// @param lengths of the sequences in `x`
    public float[] attend(int l, float[] x, List<Integer> lengths) {
        int longest = lengths.stream().mapToInt(Integer::intValue).max().orElse(0);
        return attend(l, x, lengths, shape.positions().get(l).rope().map(r -> Map.of(r, r.table(longest))).orElse(Map.of()));
    }

    private float[] attend(int l, float[] x, List<Integer> lengths, Map<Rope, float[]> tables) {
        String path = shape.attention(l);
        int qWidth = shape.heads() * shape.headDim();
        int kvWidth = shape.kvHeads() * shape.headDim();
        float[][] parts = linears.has(path + ".qkv_proj")
                ? Linears.split(linears.apply(path + ".qkv_proj", qWidth + 2 * kvWidth, shape.hidden(), x), qWidth, kvWidth, kvWidth)
                : new float[][] {linears.apply(path + ".q_proj", qWidth, shape.hidden(), x), linears.apply(path + ".k_proj", kvWidth, shape.hidden(), x),
                    linears.apply(path + ".v_proj", kvWidth, shape.hidden(), x)};
        float[] q = parts[0];
        float[] k = parts[1];
        if (shape.norms().queriesAndKeys() != NetworkShape.QkNorm.NONE) {
            boolean each = shape.norms().queriesAndKeys() == NetworkShape.QkNorm.HEAD;
            normalize(q, path + ".q_norm", each ? shape.headDim() : qWidth);
            normalize(k, path + ".k_norm", each ? shape.headDim() : kvWidth);
        }
        NetworkShape.Positions positions = shape.positions().get(l);
        positions.rope().ifPresent(rope -> {
            attention.rotate(q, lengths, shape.heads(), rope, tables.get(rope));
            attention.rotate(k, lengths, shape.kvHeads(), rope, tables.get(rope));
        });
        return attention.apply(q, k, parts[2], lengths, positions.window());
    }

    /// What the attention adds to the states.
    ///
    /// @param mixed of [#attend]
    public float[] attentionOutput(int l, float[] mixed) {
        float[] out = linears.apply(shape.attention(l) + ".o_proj", shape.hidden(), shape.heads() * shape.headDim(), mixed);
        return scaled(normalized(out, l, shape.norms().attentionOutput()));
    }

    /// What the feed-forward part of a layer adds to the states.
    ///
    /// @param x of [#feedForwardInput]
    public float[] feedForward(int l, float[] x) {
        String path = shape.feedForward(l);
        return shape.experts(l) == 0 ? feedForwardOutput(l, middle(path, x)) : scaled(feedForward.mixture(path, shape.experts(l), x));
    }

    /// What enters the output projection of a gated network.
    public float[] middle(String path, float[] x) {
        return feedForward.middle(path, x);
    }

    /// What a dense layer's feed-forward part adds to the states.
    ///
    /// @param middle of [#middle]
    public float[] feedForwardOutput(int l, float[] middle) {
        return scaled(normalized(feedForward.down(shape.feedForward(l), middle), l, shape.norms().feedForwardOutput()));
    }

    /// `gate ← f(gate) · up` with the activation of the model.
    public void activate(float[] gate, float[] up) {
        feedForward.activate(gate, up);
    }

    /// The experts that tokens pass, from the router's output.
    ///
    /// @param scores `tokens · experts` values
    public Routes route(float[] scores, int experts) {
        return feedForward.route(scores, experts);
    }

    /// Adds what the shared expert makes, as much of it as its gate lets count.
    ///
    /// @param gate one value per token
    public void addShared(float[] gate, float[] shared, float[] out) {
        feedForward.addShared(gate, shared, out);
    }

    /// The outputs of a linear module, additive bias included.
    ///
    /// @param x `tokens · columns` values
    public float[] apply(String path, float[] x) {
        return linears.apply(path, x);
    }

    /// `x · Wᵀ` with some rows of a matrix.
    public float[] apply(Rows w, long first, int rows, float[] x) {
        return linears.apply(w, first, rows, x);
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
        return new Head.Input(name, linears.matrix(path, shape.vocabulary(), shape.hidden()), headInputs(states), shape.factors().logitCap());
    }

    /// What enters the output head: the normalised states, all sequences one after the other, with the factor of the logits.
    public float[] headInputs(List<float[]> states) {
        float[] out = joined(states);
        normalize(out, shape.prefix() + "model.norm", shape.hidden());
        return multiplied(out, shape.factors().logit());
    }

    private static float[] joined(List<float[]> states) {
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
        name.ifPresent(n -> normalize(x, shape.layer(l) + "." + n, shape.hidden()));
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

    /// Root-mean-square norm of each stretch of `width` values.
    private void normalize(float[] x, String path, int width) {
        float[] weight = linears.vector(path + ".weight", width);
        float offset = shape.norms().offset();
        workers.forRanges(x.length, Math.max(1, (1 << 15) / width) * width, (from, to) -> {
            for (int at = from; at < to; at += width) {
                float factor = (float) (1 / Math.sqrt(Kernels.sumOfSquares(x, at, width) / width + shape.norms().eps()));
                for (int i = 0; i < width; i++) {
                    x[at + i] = x[at + i] * factor * (weight[i] + offset);
                }
            }
        });
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
