package ram.sensitivity;

/// What squared errors of one matrix cost: scale · Σᵢⱼ rowᵢ · ΔWᵢⱼ² · columnⱼ, times the logit power when `relative`. The result is a predicted
/// KL divergence in nats, the factor of the matrix' kind included.
///
/// @param rows one weight per row of the matrix
/// @param columns one weight per column; shared between matrices, so not to be changed
/// @param relative whether the noise is a share of the residual, which reaches the logits in proportion to their power
public record Term(double[] rows, double[] columns, double scale, boolean relative) {
}
