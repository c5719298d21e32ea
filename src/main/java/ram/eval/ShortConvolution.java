package ram.eval;

import java.util.List;
import ram.numeric.Kernels;
import ram.numeric.Workers;

/// The short convolution of LFM2: of what a first gate lets in, and a second one lets out. Both are projections, as are its inputs, and all three one module.
final class ShortConvolution implements TokenMixer {
    /// Values that one task multiplies.
    private static final int GRAIN = 1 << 16;

    private final int hidden;
    private final Linears linears;
    private final CausalConvolution convolution;
    private final Workers workers;

    ShortConvolution(int hidden, Mixers.ShortConvolution sizes, Linears linears, Workers workers) {
        this.hidden = hidden;
        this.linears = linears;
        this.convolution = new CausalConvolution(hidden, sizes.taps(), workers);
        this.workers = workers;
    }

    @Override
    public List<String> readers(String path) {
        return List.of(path + ".in_proj");
    }

    @Override
    public int width() {
        return hidden;
    }

    @Override
    public long scratchFloatsPerToken() {
        return 7L * hidden;
    }

    @Override
    public float[] apply(String path, float[] x, List<Integer> lengths) {
        float[][] parts = Linears.split(linears.apply(path + ".in_proj", 3 * hidden, hidden, x), hidden, hidden, hidden);
        multiply(parts[2], parts[0]);
        float[] out = convolution.apply(linears, path + ".conv", parts[2], lengths);
        multiply(out, parts[1]);
        return out;
    }

    private void multiply(float[] x, float[] gate) {
        workers.forRanges(x.length, GRAIN, (from, to) -> Kernels.multiply(x, from, gate, from, x, from, to - from));
    }
}
