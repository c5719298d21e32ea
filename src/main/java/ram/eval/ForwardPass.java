package ram.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
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
    private static final float[] NO_BIAS = null;

    private final WeightSource weights;
    private final NetworkShape shape;
    private final Workers workers;
    private final Projection projection;
    private final Attention attention;

    /// @throws InputException for a family that cannot be run
    public ForwardPass(WeightSource weights, Workers workers) {
        this(weights, workers, new Projection(workers));
    }

    ForwardPass(WeightSource weights, Workers workers, Projection projection) {
        this.weights = weights;
        this.shape = NetworkShape.of(weights.config());
        this.workers = workers;
        this.projection = projection;
        this.attention = new Attention(shape, workers);
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
            String path = "model.layers." + l + "." + shape.block();
            long width = shape.experts().get(l) == 0 ? rows(path + ".up_proj")
                    : Math.max(rows(path + ".shared_expert.up_proj"), Math.max(shape.hidden(), rows(path + ".switch_mlp.up_proj") / shape.experts().get(l)));
            widest = Math.max(widest, width);
        }
        return 4 * (2L * shape.hidden() + Math.max(attentionFloats, shape.hidden() + 3 * widest));
    }

    private long rows(String path) {
        return weights.matrix(path).map(Rows::rows).orElse(0L);
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
        float[] table = shape.rope().table(longest);
        List<List<Integer>> batches = batches(IntStream.range(0, states.size()).boxed().toList(), sequences, chunkTokens);
        for (int l = 0; l < shape.layers(); l++) {
            for (List<Integer> batch : batches) {
                layer(l, batch.stream().map(states::get).toList(), table);
            }
            progress.done(l + 1, shape.layers());
        }
        return states;
    }

    /// The states before the first layer, per sequence `tokens · hidden` values.
    public List<float[]> embed(List<int[]> sequences) {
        Rows embedding = matrix("model.embed_tokens", shape.vocabulary(), shape.hidden());
        return workers.map(sequences, ids -> {
            float[] out = new float[Math.multiplyExact(ids.length, shape.hidden())];
            float[] row = new float[shape.hidden()];
            for (int t = 0; t < ids.length; t++) {
                if (ids[t] < 0 || ids[t] >= shape.vocabulary()) {
                    throw TokenSet.outside(ids[t], shape.vocabulary());
                }
                embedding.read(ids[t], 1, row);
                System.arraycopy(row, 0, out, t * shape.hidden(), row.length);
            }
            return out;
        });
    }

    private void layer(int l, List<float[]> states, float[] table) {
        List<Integer> lengths = lengths(states);
        float[] x = attentionInput(l, states);
        float[] mixed = attend(l, x, lengths, table);
        addTo(states, linear(attentionPath(l) + ".o_proj", shape.hidden(), shape.heads() * shape.headDim(), mixed, tokens(states)));
        x = feedForwardInput(l, states);
        addTo(states, feedForward(l, x));
        for (float[] s : states) {
            requireFinite(l, s);
        }
    }

    /// @throws InputException when the states after a layer are not finite: one broken weight would otherwise make every number NaN without saying why
    public static void requireFinite(int l, float[] states) {
        if (Kernels.nonFinite(states, 0, states.length) > 0) {
            throw new InputException("the activations after " + layerPath(l) + " are not finite; the weights of this model are damaged or overflow float32, verify the folder");
        }
    }

    private static String layerPath(int l) {
        return "model.layers." + l;
    }

    /// Module path of a layer's attention.
    public static String attentionPath(int l) {
        return layerPath(l) + ".self_attn";
    }

    /// Module path of a layer's feed-forward part.
    public String feedForwardPath(int l) {
        return layerPath(l) + "." + shape.block();
    }

    private List<Integer> lengths(List<float[]> states) {
        return states.stream().map(s -> s.length / shape.hidden()).toList();
    }

    private int tokens(List<float[]> states) {
        return states.stream().mapToInt(s -> s.length / shape.hidden()).sum();
    }

    /// What enters the query, key and value projections: all sequences, one after the other.
    public float[] attentionInput(int l, List<float[]> states) {
        return normalized(states, layerPath(l) + ".input_layernorm.weight", tokens(states));
    }

    /// What enters the feed-forward part.
    public float[] feedForwardInput(int l, List<float[]> states) {
        return normalized(states, layerPath(l) + ".post_attention_layernorm.weight", tokens(states));
    }

    /// What enters the output projection of the attention.
    ///
    /// @param x of [#attentionInput]
    /// @param lengths of the sequences in `x`
    public float[] attend(int l, float[] x, List<Integer> lengths) {
        return attend(l, x, lengths, shape.rope().table(lengths.stream().mapToInt(Integer::intValue).max().orElse(0)));
    }

    private float[] attend(int l, float[] x, List<Integer> lengths, float[] table) {
        String path = attentionPath(l);
        int tokens = x.length / shape.hidden();
        int qWidth = shape.heads() * shape.headDim();
        int kvWidth = shape.kvHeads() * shape.headDim();
        float[] q = linear(path + ".q_proj", qWidth, shape.hidden(), x, tokens);
        float[] k = linear(path + ".k_proj", kvWidth, shape.hidden(), x, tokens);
        float[] v = linear(path + ".v_proj", kvWidth, shape.hidden(), x, tokens);
        switch (shape.qkNorm()) {
            case HEAD -> {
                normalize(q, shape.headDim(), vector(path + ".q_norm.weight", shape.headDim()));
                normalize(k, shape.headDim(), vector(path + ".k_norm.weight", shape.headDim()));
            }
            case WHOLE -> {
                normalize(q, qWidth, vector(path + ".q_norm.weight", qWidth));
                normalize(k, kvWidth, vector(path + ".k_norm.weight", kvWidth));
            }
            case NONE -> { }
        }
        attention.rotate(q, lengths, shape.heads(), table);
        attention.rotate(k, lengths, shape.kvHeads(), table);
        return attention.apply(q, k, v, lengths, shape.window().get(l));
    }

    /// What a layer's feed-forward part makes of its inputs.
    public float[] feedForward(int l, float[] x) {
        String path = feedForwardPath(l);
        int tokens = x.length / shape.hidden();
        int experts = shape.experts().get(l);
        if (experts == 0) {
            return gated(path, x, tokens);
        }
        float[] out = mixture(path, experts, x, tokens);
        if (shape.sharedExpert()) {
            float[] gate = linear(path + ".shared_expert_gate", 1, shape.hidden(), x, tokens);
            float[] shared = gated(path + ".shared_expert", x, tokens);
            for (int t = 0; t < tokens; t++) {
                Kernels.addScaled(sharedWeight(gate[t]), shared, t * shape.hidden(), out, t * shape.hidden(), shape.hidden());
            }
        }
        return out;
    }

    /// How much of the shared expert's output counts for a token: the sigmoid of its gate.
    public static float sharedWeight(float gate) {
        return 1 / (1 + Exp.exp(-gate));
    }

    private float[] gated(String path, float[] x, int tokens) {
        int width = Math.toIntExact(matrix(path + ".up_proj").rows());
        float[] gate = linear(path + ".gate_proj", width, shape.hidden(), x, tokens);
        float[] up = linear(path + ".up_proj", width, shape.hidden(), x, tokens);
        activate(gate, up);
        return linear(path + ".down_proj", shape.hidden(), width, gate, tokens);
    }

    /// `gate ← silu(gate) · up`; `up` is used up.
    public void activate(float[] gate, float[] up) {
        workers.forRanges(gate.length, 1 << 14, (from, to) -> {
            int n = to - from;
            float[] e = new float[n];
            for (int i = 0; i < n; i++) {
                e[i] = -gate[from + i];
            }
            Exp.exp(e, 0, n, 0);
            for (int i = 0; i < n; i++) {
                gate[from + i] = gate[from + i] / (1 + e[i]) * up[from + i];
            }
        });
    }

    /// Each token passes the experts that its router ranks highest; their outputs are added in the order of the experts.
    private float[] mixture(String path, int experts, float[] x, int tokens) {
        int hidden = shape.hidden();
        float[] scores = linear(path + ".gate", experts, hidden, x, tokens);
        Rows gate = matrix(path + ".switch_mlp.gate_proj");
        Rows up = matrix(path + ".switch_mlp.up_proj");
        Rows down = matrix(path + ".switch_mlp.down_proj");
        int width = Math.toIntExact(up.rows() / experts);
        boolean fits = gate.rows() == (long) width * experts && up.rows() == gate.rows() && down.rows() == (long) hidden * experts
                && gate.columns() == hidden && up.columns() == hidden && down.columns() == width;
        if (!fits) {
            throw new InputException("the experts of " + path + " do not have the shapes that config.json implies; verify the folder");
        }
        Routes routes = route(scores, experts);
        float[] out = new float[tokens * hidden];
        for (int e = 0; e < experts; e++) {
            int[] chosen = routes.tokens()[e];
            int n = chosen.length;
            if (n == 0) {
                continue;
            }
            float[] in = new float[n * hidden];
            for (int i = 0; i < n; i++) {
                System.arraycopy(x, chosen[i] * hidden, in, i * hidden, hidden);
            }
            float[] g = projection.apply(gate, (long) e * width, width, NO_BIAS, in, n);
            float[] u = projection.apply(up, (long) e * width, width, NO_BIAS, in, n);
            activate(g, u);
            float[] y = projection.apply(down, (long) e * hidden, hidden, NO_BIAS, g, n);
            for (int i = 0; i < n; i++) {
                Kernels.addScaled(routes.shares()[e][i], y, i * hidden, out, chosen[i] * hidden, hidden);
            }
        }
        return out;
    }

    /// Which tokens pass which experts.
    ///
    /// @param tokens per expert, ascending
    /// @param shares of the expert in each of these tokens' outputs
    public record Routes(int[][] tokens, float[][] shares) {
    }

    /// The experts that tokens pass, from the router's output.
    ///
    /// @param scores `tokens · experts` values
    public Routes route(float[] scores, int experts) {
        int tokens = scores.length / experts;
        int perToken = Math.min(shape.expertsPerToken(), experts);
        int[][] chosen = new int[experts][tokens];
        int[] counts = new int[experts];
        float[][] shares = new float[experts][tokens];
        float[] row = new float[experts];
        for (int t = 0; t < tokens; t++) {
            System.arraycopy(scores, t * experts, row, 0, experts);
            float[] share = shares(row, perToken);
            for (int e = 0; e < experts; e++) {
                if (share[e] >= 0) {
                    shares[e][counts[e]] = share[e];
                    chosen[e][counts[e]++] = t;
                }
            }
        }
        for (int e = 0; e < experts; e++) {
            chosen[e] = Arrays.copyOf(chosen[e], counts[e]);
            shares[e] = Arrays.copyOf(shares[e], counts[e]);
        }
        return new Routes(chosen, shares);
    }

    /// Softmax of a token's scores, -1 for the experts that it does not pass. Of equal scores the first expert wins.
    private float[] shares(float[] scores, int perToken) {
        int experts = scores.length;
        float[] share = new float[experts];
        Arrays.fill(share, -1);
        double max = Double.NEGATIVE_INFINITY;
        for (float s : scores) {
            max = Math.max(max, s);
        }
        double all = 0;
        for (float s : scores) {
            all += StrictMath.exp(s - max);
        }
        double picked = 0;
        for (int i = 0; i < perToken; i++) {
            int best = -1;
            for (int e = 0; e < experts; e++) {
                if (share[e] < 0 && (best < 0 || scores[e] > scores[best])) {
                    best = e;
                }
            }
            share[best] = 0;
            picked += StrictMath.exp(scores[best] - max);
        }
        double total = shape.normalizeTopK() ? picked : all;
        for (int e = 0; e < experts; e++) {
            if (share[e] == 0) {
                share[e] = (float) (StrictMath.exp(scores[e] - max) / total);
            }
        }
        return share;
    }

    /// The outputs of a linear module, additive bias included.
    ///
    /// @param x `tokens · columns` values
    public float[] apply(String path, float[] x) {
        Rows w = matrix(path);
        return linear(path, Math.toIntExact(w.rows()), w.columns(), x, x.length / w.columns());
    }

    /// `x · Wᵀ` with some rows of a matrix.
    public float[] apply(Rows w, long first, int rows, float[] x) {
        return projection.apply(w, first, rows, NO_BIAS, x, x.length / w.columns());
    }

    private float[] linear(String path, int rows, int columns, float[] x, int tokens) {
        Rows w = matrix(path, rows, columns);
        Optional<float[]> bias = weights.vector(path + ".bias");
        return projection.apply(w, 0, rows, bias.orElse(NO_BIAS), x, tokens);
    }

    /// The matrix of a module that the model must have.
    public Rows matrix(String path) {
        return weights.matrix(path).orElseThrow(() -> InputException.in(weights.config().file(), "describes a model with the module " + path + ", which the folder does not hold"));
    }

    private Rows matrix(String path, long rows, int columns) {
        Rows w = matrix(path);
        if (w.rows() != rows || w.columns() != columns) {
            throw InputException.in(weights.config().file(), "implies a weight of " + rows + "×" + columns + " for " + path + ", but the stored one is " + w.rows() + "×" + w.columns());
        }
        return w;
    }

    private float[] vector(String name, int length) {
        float[] v = weights.vector(name).orElseThrow(() -> InputException.in(weights.config().file(), "describes a model with the tensor " + name + ", which the folder does not hold"));
        if (v.length != length) {
            throw InputException.in(weights.config().file(), "implies " + length + " elements for " + name + ", but " + v.length + " are stored");
        }
        return v;
    }

    /// The output head: the embedding where it is shared.
    Rows head() {
        return matrix(weights.tied() ? "model.embed_tokens" : "lm_head", shape.vocabulary(), shape.hidden());
    }

    /// What enters the output head: the normalised states, all sequences one after the other.
    public float[] headInputs(List<float[]> states) {
        return normalized(states, "model.norm.weight", states.stream().mapToInt(s -> s.length / shape.hidden()).sum());
    }

    private float[] normalized(List<float[]> states, String name, int tokens) {
        float[] weight = vector(name, shape.hidden());
        float[] out = new float[Math.multiplyExact(tokens, shape.hidden())];
        int at = 0;
        for (float[] s : states) {
            System.arraycopy(s, 0, out, at, s.length);
            at += s.length;
        }
        normalize(out, shape.hidden(), weight);
        return out;
    }

    /// Root-mean-square norm of each stretch of `width` values.
    private void normalize(float[] x, int width, float[] weight) {
        workers.forRanges(x.length, Math.max(1, (1 << 15) / width) * width, (from, to) -> {
            for (int at = from; at < to; at += width) {
                float factor = (float) (1 / Math.sqrt(Kernels.sumOfSquares(x, at, width) / width + shape.eps()));
                for (int i = 0; i < width; i++) {
                    x[at + i] = x[at + i] * factor * weight[i];
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
