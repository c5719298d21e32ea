package ram.eval;

import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.IntStream;
import ram.layout.ModelConfig;

/// What a forward pass must know of a decoder: `networks.json` says what distinguishes the families, config.json the rest.
///
/// @param heads per layer, those of its attention
/// @param positions per layer, how its attention sees positions
/// @param latent present where keys and values of all heads are made of one latent vector per token
/// @param gatedQueries whether the projection of queries also makes gates of the attention's outputs, head by head after the queries
/// @param parts per layer, what it has
/// @param mixers present in families where some layers mix tokens by something else than attention
/// @param layerInputs present where each token has a vector of its own for each layer
/// @param streams present where a token has several states, see [AlternatingStreams]
public record NetworkShape(ModuleNames names, int hidden, int layers, int vocabulary, List<Heads> heads, List<Positions> positions, Norms norms, Dense dense, Factors factors,
                    Mixture mixture, Optional<Latent> latent, boolean gatedQueries, List<Parts> parts, Optional<Mixers> mixers, Optional<LayerInputs> layerInputs, Optional<Streams> streams) {
    /// Whether queries and keys are normalised: not, each head for itself, or all heads together.
    public enum QkNorm { NONE, HEAD, WHOLE }

    /// How a router's outputs become the scores that experts are chosen by.
    public enum Scores { SOFTMAX, SIGMOID }

    /// The heads of a layer's attention.
    ///
    /// @param count of queries, the same in all layers
    /// @param kv of keys and values, each for as many queries as the others
    /// @param dim of queries and keys
    /// @param value dimensions of values
    /// @param keysAsValues whether the projection of keys makes the values too, which have their own norm and do not turn
    /// @param source the layer whose keys and values are attended to: this one, or one before it, where this one makes none
    public record Heads(int count, int kv, int dim, int value, boolean keysAsValues, int source) {
        public Heads {
            if (kv < 1 || count % kv != 0 || dim < 1 || value < 1 || source < 0) {
                throw new IllegalArgumentException(count + " heads of " + kv + ", of " + dim + " and " + value + " dimensions, with those of layer " + source);
            }
        }
    }

    /// What a layer consists of. Attention and mixer, where it has both, read the same, and the outputs of both are added to the states.
    ///
    /// @param attends whether it has attention
    /// @param mixes whether it mixes tokens by something else
    /// @param feeds whether it has a feed-forward part
    public record Parts(boolean attends, boolean mixes, boolean feeds) {
        /// Those of nearly all decoders.
        static final Parts USUAL = new Parts(true, false, true);
    }

    /// @param window the number of positions that a token sees, itself included; 0 for all
    /// @param rope empty for a layer that does not turn queries and keys
    public record Positions(int window, Optional<Rope> rope) {
    }

    /// Norms, and what they are called within a layer; empty where a layer has none.
    ///
    /// @param lastEps of the norm after the last layer, and of those in mixers; `eps` of the others
    /// @param centered whether the mean is taken away first; else they are root-mean-square norms
    /// @param plain whether they have no weights
    /// @param offset is added to the stored weights
    /// @param attention before the attention, `attentionOutput` after it, before its outputs are added to the states
    /// @param feedForward the same for the feed-forward part
    public record Norms(float eps, float lastEps, boolean centered, boolean plain, float offset, HeadNorms queriesAndKeys, Optional<String> attention, Optional<String> attentionOutput,
                        Optional<String> feedForward, Optional<String> feedForwardOutput) {
    }

    /// @param afterRotation whether queries and keys are turned first
    /// @param values whether each head's values are normalised too, without weights
    public record HeadNorms(QkNorm kind, String query, String key, boolean afterRotation, boolean values) {
    }

    /// A feed-forward part without experts.
    ///
    /// @param parallel whether it reads the states that the attention reads; else those to which the attention's outputs are added
    /// @param gated whether `f(gate) · up` enters the output projection; else `f(up)`
    /// @param gate the name of its projection, as `up` and `down`, that of the outputs
    /// @param both the name of one that is gate and up, where a model has that
    /// @param upFirst whether the rows of up come first in it
    /// @param cuts per layer, how many standard deviations above the mean of a token's gates what is below is cut off before the activation; empty where nothing is in any layer
    public record Dense(boolean parallel, Activation activation, boolean gated, String gate, String up, String down, String both, boolean upFirst, List<OptionalDouble> cuts) {
        public Dense {
            cuts = List.copyOf(cuts);
        }

        OptionalDouble cut(int layer) {
            return cuts.isEmpty() ? OptionalDouble.empty() : cuts.get(layer);
        }
    }

    /// What numbers are multiplied by: states after the embedding, scores of the attention, outputs of attention and feed-forward part, logits.
    /// A cap c above 0 turns x into `c · tanh(x / c)`, scores and logits after their factor.
    ///
    /// @param growth of queries beyond a length
    /// @param layer the name within a layer of the number that multiplies the states after it
    public record Factors(float embedding, float score, float scoreCap, float branch, float logit, float logitCap, Optional<Growth> growth, Optional<String> layer) {
    }

    /// Queries at a position are multiplied by `1 + beta · ln(1 + floor(position / length))`.
    public record Growth(double beta, int length) {
        float at(int position) {
            return (float) (1 + beta * StrictMath.log1p(position / length));
        }
    }

    /// @param block the name of the feed-forward part, `router` and `stack` those of the router and of all experts' projections within it
    /// @param up the name of a projection within the stack, as `down`, that of the outputs
    /// @param narrow present where experts read and write less than a whole state
    /// @param experts routed experts in each layer, 0 where the layer is dense
    public record Mixture(String block, String router, String stack, String up, String down, Optional<Narrow> narrow, List<Integer> experts, int perToken, Routing routing,
                          Optional<Shared> shared, Optional<Beside> beside) {
        public Mixture {
            experts = List.copyOf(experts);
        }

        static Mixture none(String block, int layers) {
            return new Mixture(block, "", "", "", "", Optional.empty(), Collections.nCopies(layers, 0), 0,
                    new Routing(Scores.SOFTMAX, false, 0, 1, Optional.empty(), 1, 1, 2, Optional.empty()), Optional.empty(), Optional.empty());
        }
    }

    /// What experts have instead of states.
    ///
    /// @param width values of a token
    /// @param in the name within the block of the projection that makes them, and `out` of the one that makes a state of what the experts add up to
    public record Narrow(int width, String in, String out) {
    }

    /// @param normalized whether the shares of the chosen experts add up to 1, before the factor
    /// @param least what is added to their sum before they are divided by it
    /// @param correction the name within the block of what is added to scores when experts are chosen, but not to shares
    /// @param groups of experts; only those of the `best` ones can be chosen, by the sum of so many of the highest scores in each as `ranking` says
    /// @param scale the name within the block of what multiplies each expert's shares at last
    public record Routing(Scores scores, boolean normalized, double least, float factor, Optional<String> correction, int groups, int best, int ranking, Optional<String> scale) {
    }

    /// A dense feed-forward part beside the experts of each layer: both have norms of their own, and their sum has that of the outputs. The router reads
    /// normalised states, over the root of their length.
    ///
    /// @param output the name within a layer of the norm of what the dense part makes, `experts` and `expertsOutput` those of what the experts read and make
    /// @param routerScale the name within the block of what multiplies that which the router reads
    public record Beside(String output, String experts, String expertsOutput, String routerScale) {
    }

    /// A vector of each token for each layer, which the layer ends with, see [PerLayerInputs].
    ///
    /// @param width of a vector
    /// @param tokens that have some; those beyond have the vectors of token 0
    public record LayerInputs(int width, int tokens) {
        public LayerInputs {
            if (width < 1 || tokens < 1) {
                throw new IllegalArgumentException(width + " values for " + tokens + " tokens");
            }
        }
    }

    /// An expert that all tokens pass.
    ///
    /// @param gate what says how much of it counts, if anything does
    /// @param beside whether it stands beside the feed-forward part; else within it
    /// @param fused the name of both projections in one, where they are, `down` that of its output projection
    public record Shared(String name, Optional<String> gate, boolean beside, String fused, String down) {
    }

    /// Multi-head latent attention.
    ///
    /// @param queryRank length of the latent vector that queries are made of; 0 where they are made of the states
    /// @param rank length of the one that keys and values are made of
    /// @param plain dimensions of a head's queries and keys that do not turn, and come first
    /// @param turned those that do; all heads have them of keys in common
    /// @param value dimensions of a head's values
    /// @param eps of the norms of both latent vectors
    /// @param reach tokens that a sequence may have at most if each is to see all before it; in longer ones some are chosen, by modules that are not run here
    public record Latent(int queryRank, int rank, int plain, int turned, int value, float eps, int reach) {
        public Latent {
            if (queryRank < 0 || rank < 1 || plain < 1 || turned < 2 || turned % 2 != 0 || value < 1 || reach < 1) {
                throw new IllegalArgumentException(queryRank + ", " + rank + ", " + plain + ", " + turned + ", " + value + ", " + reach);
            }
        }

        int headDim() {
            return plain + turned;
        }
    }

    /// Several states per token, of which each layer works on one.
    ///
    /// @param active the number of that one
    /// @param clip coefficients are kept within ±this; infinite for as they are
    /// @param scaled whether what gates the inputs of layers has a factor per value
    public record Streams(int count, int active, float clip, boolean scaled) {
        public Streams {
            if (count < 1 || active < 0 || active >= count || !(clip > 0)) {
                throw new IllegalArgumentException(active + " of " + count + " states, within " + clip);
            }
        }
    }

    public NetworkShape {
        heads = List.copyOf(heads);
        positions = List.copyOf(positions);
        parts = List.copyOf(parts);
        boolean mixed = mixture.experts().stream().anyMatch(e -> e > 0);
        boolean beside = mixture.beside().isPresent();
        if (heads.size() != layers || positions.size() != layers || mixture.experts().size() != layers || parts.size() != layers
                || mixed && (norms.feedForwardOutput().isPresent() != beside || dense.parallel()) || (beside || mixture.narrow().isPresent()) && factors.branch() != 1
                || streams.isPresent() && (layerInputs.isEmpty() || dense.parallel() || mixed || mixers.isPresent())) {
            throw new IllegalArgumentException(layers + " layers, " + heads.size() + ", " + positions.size() + ", " + mixture.experts().size() + " and " + parts.size() + " of which are known");
        }
        if (parts.stream().anyMatch(Parts::mixes) && mixers.flatMap(Mixers::kind).isEmpty()) {
            throw new IllegalArgumentException("layers with a mixer of no kind");
        }
    }

    /// @throws ram.InputException for other families and for configurations that lack a number
    static NetworkShape of(ModelConfig config) {
        return new NetworkReader(config).read();
    }

    /// The heads of a layer's attention.
    public Heads heads(int layer) {
        return heads.get(layer);
    }

    /// Values of a token that enter the output projection of a layer's attention.
    public int mixedWidth(int layer) {
        return heads(layer).count() * heads(layer).value();
    }

    /// Whether layers after this one attend to its keys and values.
    boolean isShared(int layer) {
        return heads.subList(layer + 1, layers).stream().anyMatch(h -> h.source() == layer);
    }

    /// Whether layers consist of nothing but attention and mixers with weights of their own, and feed-forward parts, whose outputs are added to the states.
    public boolean plainLayers() {
        return layerInputs.isEmpty() && streams.isEmpty() && dense.cuts().isEmpty() && mixture.beside().isEmpty() && mixture.narrow().isEmpty() && factors.layer().isEmpty()
                && IntStream.range(0, layers).noneMatch(l -> heads(l).source() != l || heads(l).keysAsValues());
    }

    /// Routed experts of a layer, 0 where it is dense.
    public int experts(int layer) {
        return mixture.experts().get(layer);
    }

    /// Path of the embedding.
    public String embedding() {
        return names.prefix() + names.embedding();
    }

    /// What the paths of modules begin with that stand beside the embedding.
    String root() {
        return embedding().substring(0, embedding().lastIndexOf('.') + 1);
    }

    /// Path of the norm after the last layer.
    public String lastNorm() {
        return names.prefix() + names.norm();
    }

    /// Path of the output head, which a model may not have.
    public String head() {
        return names.prefix() + names.head();
    }

    /// Path of a layer.
    public String layer(int layer) {
        return names.prefix() + names.layers() + "." + layer;
    }

    /// Path of a layer's attention.
    public String attention(int layer) {
        return ModuleNames.within(layer(layer), names.attention());
    }

    /// Path of the projection of queries, keys and values, which a model may have instead of three.
    public String fused(int layer) {
        return attention(layer) + "." + names.fused();
    }

    /// Path of what mixes tokens in a layer by something else than attention.
    ///
    /// @throws java.util.NoSuchElementException in families that only attend
    public String mixer(int layer) {
        return layer(layer) + "." + mixers.orElseThrow().name();
    }

    /// Path of the output projection of that.
    public String mixerOutput(int layer) {
        return mixer(layer) + ".out_proj";
    }

    /// Path of the output projection of a layer's attention.
    public String attentionOutput(int layer) {
        return attention(layer) + "." + names.output();
    }

    /// Path of a layer's feed-forward part.
    public String feedForward(int layer) {
        return ModuleNames.within(layer(layer), names.feedForward().orElse(mixture.block()));
    }

    /// Path of the output projection of a dense layer's feed-forward part.
    public String denseDown(int layer) {
        return feedForward(layer) + "." + dense.down();
    }

    /// Path of the part of a layer that router and experts are in.
    String block(int layer) {
        return mixture.beside().isPresent() ? ModuleNames.within(layer(layer), mixture.block()) : feedForward(layer);
    }

    /// Path of the router of a layer with experts.
    public String router(int layer) {
        return block(layer) + "." + mixture.router();
    }

    /// Path of a projection of all experts of a layer.
    public String stack(int layer, String projection) {
        return block(layer) + "." + mixture.stack() + "." + projection;
    }

    /// Paths of all projections of the experts of a layer.
    public List<String> stacks(int layer) {
        String up = stack(layer, mixture.up());
        String down = stack(layer, mixture.down());
        return dense.gated() ? List.of(stack(layer, "gate_proj"), up, down) : List.of(up, down);
    }

    /// Path of the projection that makes what the experts of a layer read, where that is not a state.
    Optional<String> narrowIn(int layer) {
        return mixture.narrow().map(n -> feedForward(layer) + "." + n.in());
    }

    /// Path of the projection that makes a state of what they write.
    Optional<String> narrowOut(int layer) {
        return mixture.narrow().map(n -> feedForward(layer) + "." + n.out());
    }

    /// Values of a token that enter an expert.
    int expertWidth() {
        return mixture.narrow().map(Narrow::width).orElse(hidden);
    }

    /// Path of the expert of a layer that all tokens pass; empty where there is none.
    public Optional<String> shared(int layer) {
        return mixture.shared().map(s -> (s.beside() ? layer(layer) : feedForward(layer)) + "." + s.name());
    }

    /// Path of the output projection of that expert.
    public Optional<String> sharedDown(int layer) {
        return shared(layer).map(path -> path + "." + mixture.shared().orElseThrow().down());
    }

    /// Path of what says how much of that expert counts; empty where all of it does.
    public Optional<String> sharedGate(int layer) {
        return mixture.shared().flatMap(Shared::gate).map(gate -> feedForward(layer) + "." + gate);
    }
}
