package ram.eval;

/// SplitMix64 (Steele, Lea, Flood 2014): a generator whose whole state is one number, so that each row of a weight can have its own.
final class SplitMix {
    private static final long STEP = 0x9e3779b97f4a7c15L;

    private long state;
    private double spare = Double.NaN;

    SplitMix(long seed) {
        state = seed;
    }

    long next() {
        state += STEP;
        long z = (state ^ state >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    /// Uniform in (0, 1].
    double uniform() {
        return ((next() >>> 11) + 1) * 0x1p-53;
    }

    /// Standard normal, by Box and Muller; StrictMath gives the same bits everywhere.
    double gaussian() {
        if (!Double.isNaN(spare)) {
            double out = spare;
            spare = Double.NaN;
            return out;
        }
        double r = Math.sqrt(-2 * StrictMath.log(uniform()));
        double angle = 2 * Math.PI * uniform();
        spare = r * StrictMath.sin(angle);
        return r * StrictMath.cos(angle);
    }
}
