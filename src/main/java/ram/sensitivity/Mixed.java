package ram.sensitivity;

import java.util.List;
import ram.layout.Module;

/// What the attention of one layer hands to its output projection.
///
/// @param o the output projection
/// @param context mean square of each of its inputs
record Mixed(Module o, double[] context, Noise noise) {
    /// What the power of a context counts that a norm has given its size. All others are followed as if channels were independent, which makes them too weak, by ten to forty times in small trained
    /// models, so that such a branch would seem to be all that there is in the residual.
    static final double NORMED = 0.2;

    /// How noise in the projections before, and in the output projection, reaches the residual.
    @FunctionalInterface
    interface Noise {
        /// @param output per input of o: power that a unit of it has in the residual, Σᵢ W_oᵢⱼ² with the gain of a norm after the branch
        /// @param rowGain per output of o: gain of a norm after the branch
        /// @param scale ½ over the residual's power after the branch
        List<ModuleWeights> weights(double[] output, double[] rowGain, double scale);
    }
}
