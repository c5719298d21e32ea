package ram.sensitivity;

import java.util.Locale;
import java.util.function.DoubleUnaryOperator;

/// Mean squares of an activation function and of its slope under a centred Gaussian. StrictMath gives the same bits on every machine.
enum Activation {
    SILU(x -> x * sigmoid(x), x -> {
        double s = sigmoid(x);
        return s * (1 + x * (1 - s));
    }),
    /// The tanh form; the exact one differs by less than 0.001.
    GELU(x -> 0.5 * x * (1 + StrictMath.tanh(inner(x))), x -> {
        double t = StrictMath.tanh(inner(x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
    }),
    RELU(x -> Math.max(0, x), x -> x > 0 ? 1 : x < 0 ? 0 : 0.5),
    SQUARED_RELU(x -> x > 0 ? x * x : 0, x -> x > 0 ? 2 * x : 0),
    /// The gate of gated attention.
    SIGMOID(Activation::sigmoid, x -> {
        double s = sigmoid(x);
        return s * (1 - s);
    });

    // The trapezoid rule converges exponentially for a smooth function times a Gaussian.
    private static final double STEP = 0.25;
    private static final int HALF = 32;
    private static final double[] WEIGHTS = new double[2 * HALF + 1];

    static {
        double sum = 0;
        for (int i = 0; i < WEIGHTS.length; i++) {
            double x = (i - HALF) * STEP;
            WEIGHTS[i] = StrictMath.exp(-x * x / 2);
            sum += WEIGHTS[i];
        }
        for (int i = 0; i < WEIGHTS.length; i++) {
            WEIGHTS[i] /= sum;
        }
    }

    private final DoubleUnaryOperator value;
    private final DoubleUnaryOperator slope;

    Activation(DoubleUnaryOperator value, DoubleUnaryOperator slope) {
        this.value = value;
        this.slope = slope;
    }

    /// The function that config.json names; SiLU when it names none that is known.
    static Activation named(String name) {
        String n = name.toLowerCase(Locale.ROOT);
        if (n.contains("gelu")) {
            return GELU;
        }
        if (n.contains("relu2") || n.contains("relu_squared") || n.contains("squared_relu")) {
            return SQUARED_RELU;
        }
        return n.equals("relu") ? RELU : SILU;
    }

    static double sigmoid(double x) {
        return 1 / (1 + StrictMath.exp(-x));
    }

    private static double inner(double x) {
        return Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
    }

    /// E[f(g)²] for g ~ N(0, `variance`).
    double meanSquare(double variance) {
        return expect(x -> square(value.applyAsDouble(x)), 0, variance);
    }

    /// E[f′(g)²] for g ~ N(0, `variance`).
    double slopeMeanSquare(double variance) {
        return expect(x -> square(slope.applyAsDouble(x)), 0, variance);
    }

    /// E[f(g)] for g ~ N(`mean`, `variance`).
    static double expect(DoubleUnaryOperator f, double mean, double variance) {
        double deviation = Math.sqrt(variance);
        double sum = 0;
        for (int i = 0; i < WEIGHTS.length; i++) {
            sum += WEIGHTS[i] * f.applyAsDouble(mean + deviation * (i - HALF) * STEP);
        }
        return sum;
    }

    private static double square(double x) {
        return x * x;
    }
}
