package ram.numeric;

/// `ln(1 + e^x)`: near x above 0, near 0 below.
public final class SoftPlus {
    private SoftPlus() {
    }

    public static double of(double x) {
        return Math.max(x, 0) + StrictMath.log1p(StrictMath.exp(-Math.abs(x)));
    }
}
