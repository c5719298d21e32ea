package ram.eval;

import java.util.List;
import java.util.Optional;
import ram.layout.ModelConfig;

/// What a forward pass must know of a decoder: `networks.json` says what distinguishes the families, config.json the rest.
///
/// @param prefix what the paths of all modules begin with; empty for models of text alone
/// @param positions per layer, how its attention sees positions
public record NetworkShape(String prefix, int hidden, int layers, int vocabulary, int heads, int kvHeads, int headDim, List<Positions> positions, Norms norms,
                    Activation activation, Factors factors, Mixture mixture) {
    /// Whether queries and keys are normalised: not, each head for itself, or all heads together.
    public enum QkNorm { NONE, HEAD, WHOLE }

    /// @param window the number of positions that a token sees, itself included; 0 for all
    /// @param rope empty for a layer that does not turn queries and keys
    public record Positions(int window, Optional<Rope> rope) {
    }

    /// Root-mean-square norms, and what they are called within a layer; empty where a layer has none.
    ///
    /// @param offset is added to the stored weights
    /// @param attention before the attention, `attentionOutput` after it, before its outputs are added to the states
    /// @param feedForward the same for the feed-forward part
    public record Norms(float eps, float offset, QkNorm queriesAndKeys, Optional<String> attention, Optional<String> attentionOutput, Optional<String> feedForward,
                        Optional<String> feedForwardOutput) {
    }

    /// What numbers are multiplied by: states after the embedding, scores of the attention, outputs of attention and feed-forward part, logits.
    /// A cap c above 0 turns x into `c · tanh(x / c)`, scores and logits after their factor.
    public record Factors(float embedding, float score, float scoreCap, float branch, float logit, float logitCap) {
    }

    /// @param block the name of the feed-forward part
    /// @param experts routed experts in each layer, 0 where the layer is dense
    /// @param normalized whether the shares of the chosen experts add up to 1
    public record Mixture(String block, List<Integer> experts, int perToken, boolean normalized, boolean sharedExpert) {
        public Mixture {
            experts = List.copyOf(experts);
        }
    }

    public NetworkShape {
        positions = List.copyOf(positions);
        boolean normedMixture = norms.feedForwardOutput().isPresent() && mixture.experts().stream().anyMatch(e -> e > 0);
        if (positions.size() != layers || mixture.experts().size() != layers || kvHeads < 1 || heads % kvHeads != 0 || normedMixture) {
            throw new IllegalArgumentException(layers + " layers, " + positions.size() + " and " + mixture.experts().size() + " of which are known, with " + heads + " heads of " + kvHeads);
        }
    }

    /// @throws ram.InputException for other families and for configurations that lack a number
    static NetworkShape of(ModelConfig config) {
        return new NetworkReader(config).read();
    }

    /// Routed experts of a layer, 0 where it is dense.
    public int experts(int layer) {
        return mixture.experts().get(layer);
    }

    /// Path of the embedding.
    public String embedding() {
        return prefix + "model.embed_tokens";
    }

    /// Path of the output head, which a model may not have.
    public String head() {
        return prefix + "lm_head";
    }

    /// Path of a layer.
    public String layer(int layer) {
        return prefix + "model.layers." + layer;
    }

    /// Path of a layer's attention.
    public String attention(int layer) {
        return layer(layer) + ".self_attn";
    }

    /// Path of a layer's feed-forward part.
    public String feedForward(int layer) {
        return layer(layer) + "." + mixture.block();
    }
}
