package ram.eval;

import java.util.List;

/// What mixes tokens in those layers of a decoder that do not attend. Its output projection is called `out_proj`.
///
/// @param name of that part of a layer
/// @param layers for each whether it has one, in the place of attention
public record Mixers(String name, List<Boolean> layers, Kind kind) {
    /// How tokens are mixed, and in what sizes.
    public sealed interface Kind permits ShortConvolution {
    }

    /// A causal convolution of each dimension, between two gates.
    ///
    /// @param taps positions that it sees, the token's own included
    public record ShortConvolution(int taps) implements Kind {
    }

    public Mixers {
        layers = List.copyOf(layers);
    }
}
