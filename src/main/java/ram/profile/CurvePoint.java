package ram.profile;

import java.util.Objects;
import ram.format.Format;

/// The quantization error of one weight in one format.
///
/// @param relativeError ‖W − Ŵ‖² / ‖W‖², 0 for dense and for an all-zero weight
/// @param samplingError estimated relative standard error of `relativeError`, 0 when every row was measured
public record CurvePoint(Format format, double relativeError, double samplingError) {
    public CurvePoint {
        Objects.requireNonNull(format);
        if (!(relativeError >= 0 && relativeError < Double.POSITIVE_INFINITY && samplingError >= 0 && samplingError < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("errors must be finite and not negative");
        }
    }

    /// Signal-to-quantization-noise ratio in decibels: −10 log₁₀ of the relative error; infinite when there is no error.
    public double sqnrDb() {
        return relativeError == 0 ? Double.POSITIVE_INFINITY : -10 * StrictMath.log10(relativeError);
    }
}
