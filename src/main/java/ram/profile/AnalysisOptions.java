package ram.profile;

import java.util.List;
import java.util.Objects;
import java.util.Optional;
import ram.format.Format;
import ram.format.Quantizer;
import ram.safetensors.DType;

/// How a checkpoint is analysed.
///
/// @param quantizer the quantizer whose errors are measured
/// @param formats the candidates, dense excluded
/// @param exact whether errors are measured on every row of large tensors too
/// @param dtype type of what stays dense; empty for the source's
/// @param hash whether the content of every file is hashed
/// @param keepNonFinite whether a tensor with values that are infinite or not a number stays dense; otherwise it is refused
/// @param rewrite whether the model is one that [ram.rewrite.Rewriting] made
/// @param threads worker threads; results do not depend on it
public record AnalysisOptions(Quantizer quantizer, List<Format> formats, boolean exact, Optional<DType> dtype, boolean hash, boolean keepNonFinite,
                              boolean rewrite, int threads) {
    /// In the options of profile and manifest: the tensors of the output that hold such values, separated by commas.
    public static final String KEPT_NON_FINITE = "keep_nonfinite";
    /// In the options of profile and manifest: how the model was rewritten before; absent when it was not.
    public static final String REWRITE = "rewrite";
    /// The only value of [#REWRITE].
    public static final String POWER_OF_TWO = "power-of-two";

    public AnalysisOptions {
        Objects.requireNonNull(quantizer);
        formats = formats.stream().filter(f -> !f.isDense()).toList();
        Objects.requireNonNull(dtype);
        if (threads < 1) {
            throw new IllegalArgumentException("at least one thread is needed");
        }
    }

    /// Quantizer `mse`, every affine format, large tensors sampled, the source's types.
    ///
    /// @param threads 1 or more
    public static AnalysisOptions defaults(int threads) {
        return new AnalysisOptions(Quantizer.MSE, Format.allAffine(), false, Optional.empty(), false, false, false, threads);
    }
}
