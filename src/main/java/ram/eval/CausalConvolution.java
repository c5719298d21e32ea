package ram.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import ram.numeric.Workers;

/// A convolution over the positions of a sequence, of each channel for itself: a token sees itself and the `taps − 1` before it, and zeros before the first.
final class CausalConvolution {
    /// Positions that one task computes.
    private static final int POSITIONS = 64;

    private final int channels;
    private final int taps;
    private final Workers workers;

    CausalConvolution(int channels, int taps, Workers workers) {
        this.channels = channels;
        this.taps = taps;
        this.workers = workers;
    }

    /// Positions of a sequence, and its first token within the chunk.
    private record Stretch(int firstToken, int from, int to) {
    }

    /// @param linears has `path.weight`, for each channel its taps, the last one that of the token itself, and maybe `path.bias`
    /// @param x `tokens · channels` values
    /// @param lengths of the sequences in `x`
    /// @return as many values
    float[] apply(Linears linears, String path, float[] x, List<Integer> lengths) {
        float[] byTap = turned(linears.vector(path + ".weight", channels * taps));
        Optional<float[]> bias = linears.bias(path, channels);
        float[] out = new float[x.length];
        workers.forEach(stretches(lengths), s -> {
            for (int p = s.from(); p < s.to(); p++) {
                int at = (s.firstToken() + p) * channels;
                if (bias.isPresent()) {
                    System.arraycopy(bias.get(), 0, out, at, channels);
                }
                for (int tap = Math.max(0, taps - 1 - p); tap < taps; tap++) {
                    int seen = at - (taps - 1 - tap) * channels;
                    for (int c = 0; c < channels; c++) {
                        out[at + c] += byTap[tap * channels + c] * x[seen + c];
                    }
                }
            }
            return s;
        }, _ -> { });
        return out;
    }

    private float[] turned(float[] weight) {
        float[] out = new float[weight.length];
        for (int c = 0; c < channels; c++) {
            for (int tap = 0; tap < taps; tap++) {
                out[tap * channels + c] = weight[c * taps + tap];
            }
        }
        return out;
    }

    private static List<Stretch> stretches(List<Integer> lengths) {
        List<Stretch> out = new ArrayList<>();
        int first = 0;
        for (int length : lengths) {
            for (int from = 0; from < length; from += POSITIONS) {
                out.add(new Stretch(first, from, Math.min(length, from + POSITIONS)));
            }
            first += length;
        }
        return out;
    }
}
