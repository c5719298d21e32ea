package ram.eval;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.LongStream;
import ram.InputException;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// The control experiment of a quantization: the same relative error in every module, but of Gaussian noise.
/// What a quantized model loses beyond it is due to the structure of its errors, not to their size.
public final class Noise {
    private static final int BLOCK_FLOATS = 1 << 20;
    private static final String OTHER = "; give the model that it was made from as --reference, or leave out --noise-control";

    private Noise() {
    }

    /// A source whose modules carry independent Gaussian noise. Every row gets noise of the same power relative to its own.
    ///
    /// @param relativeError per module path `‖Ŵ − W‖² / ‖W‖²`; modules without an entry stay as they are
    /// @param seed the same seed gives the same noise, row by row, in whatever order rows are read
    public static WeightSource of(WeightSource source, SortedMap<String, Double> relativeError, long seed) {
        SortedMap<String, Double> errors = new TreeMap<>(relativeError);
        return new ReplacedWeights(source, "noise " + seed + " " + errors, (path, rows) -> errors.getOrDefault(path, 0.0) == 0 ? rows
                : noisy(rows, Math.sqrt(errors.get(path)), seed ^ hash(path)));
    }

    private static Rows noisy(Rows rows, double amplitude, long seed) {
        int n = rows.columns();
        return rows.changed((firstRow, count, out) -> {
            for (int r = 0; r < count; r++) {
                SplitMix random = new SplitMix(new SplitMix(seed + firstRow + r).next());
                double deviation = amplitude * Math.sqrt(Kernels.sumOfSquares(out, r * n, n) / n);
                for (int i = r * n; i < (r + 1) * n; i++) {
                    out[i] += (float) (deviation * random.gaussian());
                }
            }
        });
    }

    private static long hash(String path) {
        long h = 0xcbf29ce484222325L;
        for (byte b : path.getBytes(StandardCharsets.UTF_8)) {
            h = (h ^ b) * 0x100000001b3L;
        }
        return h;
    }

    /// The relative squared error of each matrix of a model against a reference, `‖Ŵ − W‖² / ‖W‖²`; modules without a difference are left out.
    ///
    /// @param paths the modules to compare; see [#modules]
    /// @throws ram.InputException when a module is missing from one of them or has another shape
    public static SortedMap<String, Double> relativeErrors(WeightSource reference, WeightSource model, List<String> paths, Workers workers) {
        SortedMap<String, Double> out = new TreeMap<>();
        for (String path : paths) {
            Rows w = matrix(reference, path);
            Rows q = matrix(model, path);
            if (w.rows() != q.rows() || w.columns() != q.columns()) {
                throw InputException.in(model.config().file(), "belongs to a model whose module " + path + " is " + q.rows() + "×" + q.columns() + ", and " + w.rows() + "×" + w.columns()
                        + " in its reference" + OTHER);
            }
            int block = Math.max(1, BLOCK_FLOATS / w.columns());
            double[] sums = new double[2];
            workers.forEach(LongStream.iterate(0, r -> r < w.rows(), r -> r + block).boxed().toList(), r -> {
                int n = (int) Math.min(block, w.rows() - r);
                float[] a = new float[n * w.columns()];
                float[] b = new float[a.length];
                w.read(r, n, a);
                q.read(r, n, b);
                for (int i = 0; i < a.length; i++) {
                    b[i] -= a[i];
                }
                return new double[] {Kernels.sumOfSquares(b, 0, b.length), Kernels.sumOfSquares(a, 0, a.length)};
            }, s -> {
                sums[0] += s[0];
                sums[1] += s[1];
            });
            if (sums[0] > 0) {
                out.put(path, sums[0] / sums[1]);
            }
        }
        return out;
    }

    private static Rows matrix(WeightSource source, String path) {
        return source.matrix(path).orElseThrow(() -> InputException.in(source.config().file(), "belongs to a model without the module " + path + ", which its reference has" + OTHER));
    }

    /// The paths of all matrices that a forward pass of this source uses.
    ///
    /// @throws ram.InputException for a family that cannot be run
    public static List<String> modules(WeightSource source) {
        try (Workers one = new Workers(1)) {
            ForwardPass pass = new ForwardPass(source, one);
            NetworkShape shape = pass.shape();
            List<String> out = new ArrayList<>(List.of(shape.embedding()));
            for (int l = 0; l < shape.layers(); l++) {
                NetworkShape.Parts parts = shape.parts().get(l);
                if (parts.mixes()) {
                    out.addAll(pass.mixerModules(l));
                    out.add(shape.mixerOutput(l));
                }
                if (parts.attends()) {
                    attention(pass, l, out);
                }
                out.addAll(pass.furtherModules(l));
                if (parts.feeds()) {
                    feedForward(pass, l, out);
                }
            }
            if (!pass.tied()) {
                out.add(shape.head());
            }
            return List.copyOf(out);
        }
    }

    private static void attention(ForwardPass pass, int l, List<String> out) {
        out.addAll(pass.attentionReaders(l));
        out.addAll(pass.queryLatentReaders(l));
        out.addAll(pass.keyLatentReaders(l));
        pass.queryStack(l).ifPresent(out::add);
        out.add(pass.shape().attentionOutput(l));
    }

    private static void feedForward(ForwardPass pass, int l, List<String> out) {
        NetworkShape shape = pass.shape();
        if (shape.experts(l) == 0 || shape.mixture().beside().isPresent()) {
            out.addAll(pass.feedForwardReaders(l));
            out.add(shape.denseDown(l));
        }
        if (shape.experts(l) == 0) {
            return;
        }
        out.addAll(shape.stacks(l));
        out.add(shape.router(l));
        shape.narrowIn(l).ifPresent(out::add);
        shape.narrowOut(l).ifPresent(out::add);
        out.addAll(pass.sharedReaders(l));
        shape.sharedDown(l).ifPresent(out::add);
        shape.sharedGate(l).ifPresent(out::add);
    }
}
