package ram.eval;

import java.util.List;
import java.util.Optional;

/// What mixes tokens in those layers of a decoder that do not attend. Its output projection is called `out_proj`.
///
/// @param name of that part of a layer
/// @param layers for each whether it has one, in the place of attention
/// @param kind may be empty where none has
public record Mixers(String name, List<Boolean> layers, Optional<Kind> kind) {
    /// How tokens are mixed, and in what sizes.
    public sealed interface Kind permits ShortConvolution, DeltaNet, StateSpace {
    }

    /// A causal convolution of each dimension, between two gates.
    ///
    /// @param taps positions that it sees, the token's own included
    public record ShortConvolution(int taps) implements Kind {
    }

    /// A matrix per head of values that moves towards them and fades, see [GatedDeltaNet].
    ///
    /// @param keyHeads of queries and of keys, each for as many heads of values as the next
    /// @param keyDim rows of a head's matrix, `valueDim` its columns
    /// @param taps positions that the convolution sees
    public record DeltaNet(int keyHeads, int valueHeads, int keyDim, int valueDim, int taps) implements Kind {
        public DeltaNet {
            if (keyHeads < 1 || valueHeads % keyHeads != 0) {
                throw new IllegalArgumentException(valueHeads + " heads of values, " + keyHeads + " of keys");
            }
        }
    }

    /// States that fade by a step of each token, see [ram.eval.StateSpace].
    ///
    /// @param headDim dimensions of a head, each with as many `states`
    /// @param groups of heads that write and read with the same numbers
    /// @param taps positions that the convolution sees
    /// @param least a step may be, and `most`
    public record StateSpace(int heads, int headDim, int groups, int states, int taps, double least, double most) implements Kind {
        public StateSpace {
            if (groups < 1 || heads % groups != 0 || !(least <= most)) {
                throw new IllegalArgumentException(heads + " heads in " + groups + " groups, steps from " + least + " to " + most);
            }
        }
    }

    public Mixers {
        layers = List.copyOf(layers);
        if (layers.contains(true) && kind.isEmpty()) {
            throw new IllegalArgumentException("layers with a mixer of no kind");
        }
    }
}
