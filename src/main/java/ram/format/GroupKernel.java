package ram.format;

import ram.numeric.VectorSupport;
import ram.safetensors.DType;

/// The loops over all elements of a [Batch], once in plain Java and once with the Vector API. Both give the same bits:
/// a lane is a group, and each group is summed in the order of its elements.
interface GroupKernel {
    /// The one to use on this machine.
    GroupKernel BEST = VectorSupport.bits() > 0 ? new VectorGroups() : new ScalarGroups();

    /// 2²³: adding and subtracting it rounds a non-negative float below it to the nearest integer, ties to even.
    float ROUNDER = 0x1p23f;
    float MAX_FLOAT16 = 65504;
    /// Smaller scales are not inverted, as that overflows.
    float SMALLEST_INVERTED = 0x1p-124f;

    /// Sets `low` and `high`.
    void range(Batch b);

    /// Sets `error` and `weightedError` of coding against `codeScale` and `codeBias` and decoding with `scale` and `bias`.
    void residual(Batch b, int maxCode);

    /// Sets `words` to the codes taken against `codeScale` and `codeBias`.
    void pack(Batch b, int bits);

    /// Sets `trialError`.
    void score(Batch b, int maxCode);

    /// Sets `trialError` and the five sums.
    void fit(Batch b, int maxCode);

    /// Puts on trial the range without the given shares of it at its low and its high end.
    void start(Batch b, float lowCut, float highCut, int maxCode, DType stored);

    /// Makes what is on trial the best where it causes a smaller error.
    void keepBetter(Batch b);

    /// Corrects what is on trial from the sums of [#fit]: least squares of the residuals against the codes gives the correction of the scale,
    /// which is rounded as stored; the bias then takes the mean of what is left.
    void refit(Batch b, DType stored);
}
