package ram.sensitivity;

/// What squared errors of one matrix cost: scale · Σᵢⱼ rowᵢ · ΔWᵢⱼ² · columnⱼ, times the logit power when `relative`. The result is a predicted
/// KL divergence in nats, the factor of the matrix' kind included.
///
/// @param rows one weight per row of the matrix
/// @param columns one weight per column; shared between matrices, so not to be changed
/// @param relative whether the noise is a share of the residual, which reaches the logits in proportion to their power
public record Term(double[] rows, double[] columns, double scale, boolean relative) {
    /// The share of rows `firstRow … firstRow + count` in the sum, without scale and logit power.
    ///
    /// @param original the weights of these rows, row after row
    /// @param decoded what a quantizer made of them
    public double weightedError(int firstRow, int count, float[] original, float[] decoded) {
        int n = columns.length;
        double sum = 0;
        for (int i = 0; i < count; i++) {
            double row = 0;
            for (int j = 0; j < n; j++) {
                double e = original[i * n + j] - decoded[i * n + j];
                row += e * e * columns[j];
            }
            sum += rows[firstRow + i] * row;
        }
        return sum;
    }

    /// Predicted damage in nats from the weighted error of all rows.
    ///
    /// @param logitPower `Propagation.Result.logitPower`
    public double damage(double weightedError, double logitPower) {
        return scale * weightedError * (relative ? logitPower : 1);
    }
}
