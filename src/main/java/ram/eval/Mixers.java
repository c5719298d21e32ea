package ram.eval;

import java.util.List;

/// What mixes tokens in those layers of a decoder that do not attend. Its output projection is called `out_proj`.
///
/// @param name of that part of a layer
/// @param layers for each whether it has one, in the place of attention
public record Mixers(String name, List<Boolean> layers, Kind kind) {
    /// How tokens are mixed, and in what sizes.
    public sealed interface Kind permits ShortConvolution, DeltaNet {
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

    public Mixers {
        layers = List.copyOf(layers);
    }
}
