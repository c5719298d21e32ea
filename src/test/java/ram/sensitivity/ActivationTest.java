package ram.sensitivity;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ActivationTest {
    @ParameterizedTest
    @ValueSource(doubles = {0, 0.01, 1, 9, 400})
    void expectationsAgreeWithFineIntegration(double variance) {
        double value = 0;
        double slope = 0;
        double total = 0;
        for (int i = -10_000; i <= 10_000; i++) {
            double x = i * 1e-3;
            double p = Math.exp(-x * x / 2);
            double g = Math.sqrt(variance) * x;
            double s = 1 / (1 + Math.exp(-g));
            double d = s * (1 + g * (1 - s));
            total += p;
            value += p * g * s * g * s;
            slope += p * d * d;
        }
        assertEquals(value / total, Activation.SILU.meanSquare(variance), 1e-3 * value / total);
        // At a deviation of 20 the slope changes faster than the points of the rule lie apart.
        assertEquals(slope / total, Activation.SILU.slopeMeanSquare(variance), 0.06 * slope / total);
    }

    @Test
    void closedFormsOfRelu() {
        assertEquals(2, Activation.RELU.meanSquare(4), 1e-9);
        assertEquals(0.5, Activation.RELU.slopeMeanSquare(4), 0.03);
        // E[g⁴]/2 and 2 E[g²].
        assertEquals(1.5 * 16, Activation.SQUARED_RELU.meanSquare(4), 1e-6);
        assertEquals(2 * 4, Activation.SQUARED_RELU.slopeMeanSquare(4), 1e-6);
    }

    @Test
    void namesOfConfigurations() {
        assertEquals(Activation.GELU, Activation.named("gelu_pytorch_tanh"));
        assertEquals(Activation.SILU, Activation.named("swiglu"));
        assertEquals(Activation.SQUARED_RELU, Activation.named("relu2"));
    }
}
