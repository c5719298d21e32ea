package ram.eval;

import java.util.Optional;

/// What mixes tokens in those layers of a decoder that do not attend, or beside the attention. Its output projection is called `out_proj`.
///
/// @param name of that part of a layer
/// @param kind may be empty where no layer has one
public record Mixers(String name, Optional<Kind> kind) {
    /// How tokens are mixed, and in what sizes.
    public sealed interface Kind permits ShortConvolution, DeltaNet, StateSpace, SelectiveSpace {
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

    /// States that fade by a step of each token and dimension, see [ram.eval.SelectiveSpace].
    ///
    /// @param width dimensions, each with as many `states`
    /// @param rank numbers that the steps of a token are made of
    /// @param taps positions that the convolution sees
    /// @param norms whether those numbers, and what a token writes and reads with, are normalised
    public record SelectiveSpace(int width, int states, int rank, int taps, boolean norms) implements Kind {
    }

    /// States that fade by a step of each token, see [ram.eval.StateSpace].
    ///
    /// @param headDim dimensions of a head, each with as many `states`
    /// @param groups of heads that write and read with the same numbers
    /// @param taps positions that the convolution sees
    /// @param least a step may be, and `most`
    /// @param norms how many stretches of what heads read are normalised, each for itself; 0 where nothing is
    /// @param normFirst whether that is done before the gate multiplies it
    public record StateSpace(int heads, int headDim, int groups, int states, int taps, double least, double most, int norms, boolean normFirst) implements Kind {
        public StateSpace {
            if (groups < 1 || heads % groups != 0 || !(least <= most) || norms != 0 && norms != 1 && norms != groups) {
                throw new IllegalArgumentException(heads + " heads in " + groups + " groups, steps from " + least + " to " + most + ", " + norms + " norms");
            }
        }
    }
}
