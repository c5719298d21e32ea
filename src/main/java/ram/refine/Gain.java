package ram.refine;

/// What refinement did to a module.
///
/// @param path MLX module path
/// @param error Σ over inputs of the squared differences of outputs, of the codes that were kept, in units of `plainError`'s sum
/// @param plainError the same of `mse`; both are sums over the refined rows
/// @param rows coded with compensation on trial
/// @param compensated rows in which compensation was closer and was kept
/// @param tokens inputs that the statistics come from; of a stack of experts, those of all together
/// @param plainExperts experts that too few tokens passed, which were coded by `mse`
/// @param deadColumns columns of the input that were always zero
/// @param liftedPivots pivots of the factorisation that were too small and have been raised
public record Gain(String path, double error, double plainError, long rows, long compensated, long tokens, int plainExperts, int deadColumns, int liftedPivots) {
    /// Share of `mse`'s error that is left, 1 where nothing was refined.
    public double ratio() {
        return plainError > 0 ? error / plainError : 1;
    }

    Gain plus(Gain other) {
        return new Gain(path, error + other.error, plainError + other.plainError, rows + other.rows, compensated + other.compensated, tokens + other.tokens,
                plainExperts + other.plainExperts, deadColumns + other.deadColumns, liftedPivots + other.liftedPivots);
    }
}
