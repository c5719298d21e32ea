package ram.metric;

/// How loud the noise of a coarse quantizer is at the output of a matrix.
///
/// For an input of independent unit Gaussians E‖Wx‖² = ‖W‖², and for noise N, uniform within one step Δ, E‖Nx‖² = rows · columns · Δ²/12.
/// Both expectations are taken in closed form, so there are no probes and no seed.
final class OutputNoise {
    private static final int STEPS_4_BIT = 15;

    private OutputNoise() {
    }

    static double of(Moments moments, double elements) {
        double energy = moments.energy();
        double step = moments.range() / STEPS_4_BIT;
        return energy == 0 ? 0 : step * Math.sqrt(elements / 12 / energy);
    }
}
