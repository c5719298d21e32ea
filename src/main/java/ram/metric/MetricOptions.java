package ram.metric;

/// What influences the numbers beside the weights.
///
/// @param exactElements largest matrix that is decomposed in full (its smaller side must also not exceed `exactSide`)
/// @param lanczosSteps passes over the weights that the estimate of the spectrum takes, 2 to 64
/// @param seed of the start vector of that estimate
public record MetricOptions(long exactElements, int exactSide, int lanczosSteps, long seed) {
    /// The settings of a profile.
    public static final MetricOptions DEFAULT = new MetricOptions(1 << 20, 256, 5, 20260101);

    public MetricOptions {
        if (lanczosSteps < 2 || lanczosSteps > 64) {
            throw new IllegalArgumentException("Lanczos steps must be 2 to 64");
        }
        if (exactSide < 1 || exactSide > 4096) {
            throw new IllegalArgumentException("exact side must be 1 to 4096");
        }
    }
}
