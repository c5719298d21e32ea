package ram.metric;

/// The numbers that are measured on every matrix, by the name under which they are reported. For an all-zero matrix the share of zero rows and
/// the mark of an exact spectrum are 1, all others 0.
public enum Metric {
    FROBENIUS("frobenius", "square root of the sum of squares"),
    MAX_ABS("max_abs", "largest magnitude"),
    MEAN("mean", "mean of all weights"),
    STD("std", "standard deviation of all weights"),
    EXCESS_KURTOSIS("excess_kurtosis", "fourth central moment over the squared variance, less 3"),
    OUTLIER_SHARE("outlier_share", "share of weights more than 6 standard deviations from the mean"),
    ZERO_ROW_SHARE("zero_row_share", "share of rows in which every weight is zero"),
    SPECTRAL_NORM("spectral_norm", "largest singular value"),
    STABLE_RANK("stable_rank", "squared Frobenius norm over squared spectral norm"),
    EFFECTIVE_RANK("effective_rank", "exponential of the entropy of the singular values divided by their sum"),
    SVD_CONCENTRATION("svd_concentration", "sum of squares of the top tenth of the leading 256 singular values over that of all 256"),
    SPECTRUM_EXACT("spectrum_exact", "1 when the four metrics of the spectrum come from a full decomposition, 0 when they are estimates"),
    OUTPUT_NOISE("output_noise", "root mean square output of uniform noise as wide as one 4-bit step of the matrix' range, "
            + "relative to that of the weights, both for unit Gaussian inputs");

    private final String label;
    private final String meaning;

    Metric(String label, String meaning) {
        this.label = label;
        this.meaning = meaning;
    }

    /// The name in profiles and tables.
    public String label() {
        return label;
    }

    /// What it tells, in a few words.
    public String meaning() {
        return meaning;
    }
}
