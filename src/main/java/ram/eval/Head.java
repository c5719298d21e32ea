package ram.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import ram.InputException;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// The output head of several models in step: each strip of the vocabulary is decoded once, its logits are turned into running sums and forgotten.
/// So neither logits nor probabilities of the whole vocabulary are ever held, and a divergence needs a single pass.
///
/// With a reference's logits `a` and a model's `b`: `KL = Σ eᵃ(a − b) / Σ eᵃ − ln Σ eᵃ + ln Σ eᵇ`.
final class Head {
    /// Rows of the vocabulary in a strip. Sums are formed strip by strip, so the results depend on this number, in the last digits.
    private static final int STRIP = 512;
    private static final int TOKENS = 256;
    private static final int DECODE_ROWS = 64;

    private final Workers workers;
    private final Projection projection;

    Head(Workers workers, Projection projection) {
        this.workers = workers;
        this.projection = projection;
    }

    /// One model at the head.
    ///
    /// @param name of the model, for messages
    /// @param inputs `tokens · hidden` values
    /// @param bias is added to the logits of each token
    /// @param cap of the logits, see [NetworkShape.Factors]
    record Input(String name, Rows weight, Optional<float[]> bias, float[] inputs, float cap) {
        /// Of some tokens for some rows of the vocabulary, token after token.
        ///
        /// @param strip these rows of the weight
        float[] logits(int token, int tokens, float[] strip, int first, int rows) {
            int k = weight.columns();
            float[] out = new float[tokens * rows];
            bias.ifPresent(b -> {
                for (int t = 0; t < tokens; t++) {
                    System.arraycopy(b, first, out, t * rows, rows);
                }
            });
            Kernels.multiplyAdd(tokens, rows, k, inputs, token * k, k, strip, 0, k, out, 0, rows);
            SoftCap.apply(out, 0, out.length, cap);
            return out;
        }
    }

    /// Running sums of one model over the vocabulary so far, per token.
    private static final class Sums {
        final float[] max;
        /// the maximum before the latest strip
        final float[] previousMax;
        final double[] sum;
        final int[] top;
        final float[] target;
        /// Σ e^(a − max a)(a − b), with the reference's logits a
        final double[] cross;

        Sums(int tokens) {
            max = new float[tokens];
            Arrays.fill(max, Float.NEGATIVE_INFINITY);
            previousMax = max.clone();
            sum = new double[tokens];
            top = new int[tokens];
            target = new float[tokens];
            cross = new double[tokens];
        }

        double logSum(int t) {
            return max[t] + StrictMath.log(sum[t]);
        }
    }

    /// @param reference whether the first input is a reference for the others
    /// @param targets the token that follows, per token
    /// @param vocabulary rows of each weight
    /// @return per model the scores of all tokens in one piece
    List<SequenceScores> score(List<Input> models, boolean reference, int[] targets, int vocabulary) {
        int tokens = targets.length;
        List<Sums> sums = models.stream().map(_ -> new Sums(tokens)).toList();
        List<float[]> strips = new ArrayList<>();
        for (Input m : models) {
            strips.add(new float[STRIP * m.weight().columns()]);
        }
        long start = System.nanoTime();
        for (int from = 0; from < vocabulary; from += STRIP) {
            int first = from;
            int rows = Math.min(STRIP, vocabulary - from);
            decode(models, strips, first, rows);
            workers.forRanges(tokens, TOKENS, (t, to) -> strip(models, strips, sums, reference, targets, first, rows, t, to - t));
        }
        long operations = models.stream().mapToLong(m -> 2L * tokens * vocabulary * m.weight().columns()).sum();
        projection.add(operations, System.nanoTime() - start);
        List<SequenceScores> out = new ArrayList<>();
        for (int m = 0; m < models.size(); m++) {
            Sums own = sums.get(m);
            requireFinite(models.get(m).name(), IntStream.range(0, tokens).mapToDouble(t -> own.logSum(t) + own.target[t] + own.cross[t]));
            out.add(scores(own, reference && m > 0 ? sums.getFirst() : null));
        }
        return out;
    }

    /// Draws a token from the prediction at each position: every strip of the vocabulary takes the place of the tokens drawn so far with the probability
    /// that its share of the sum up to it asks for.
    ///
    /// @param random one number generator per position
    int[] draw(Input model, int vocabulary, List<SplitMix> random) {
        int tokens = random.size();
        float[] max = new float[tokens];
        Arrays.fill(max, Float.NEGATIVE_INFINITY);
        double[] sum = new double[tokens];
        int[] drawn = new int[tokens];
        List<float[]> strips = List.of(new float[STRIP * model.weight().columns()]);
        for (int from = 0; from < vocabulary; from += STRIP) {
            int first = from;
            int rows = Math.min(STRIP, vocabulary - from);
            decode(List.of(model), strips, first, rows);
            workers.forRanges(tokens, TOKENS, (t, to) -> {
                float[] logits = model.logits(t, to - t, strips.getFirst(), first, rows);
                for (int i = t; i < to; i++) {
                    draw(logits, (i - t) * rows, rows, first, i, max, sum, drawn, random.get(i));
                }
            });
        }
        requireFinite(model.name(), Arrays.stream(sum));
        return drawn;
    }

    /// A single weight that is no number is enough: every sum over the vocabulary meets the whole head.
    private static void requireFinite(String model, DoubleStream values) {
        if (!values.allMatch(Double::isFinite)) {
            throw new InputException("the logits of " + model + " are not finite; its output head or embedding is damaged or overflows float32, verify the folder");
        }
    }

    private static void draw(float[] logits, int at, int rows, int first, int t, float[] max, double[] sum, int[] drawn, SplitMix random) {
        float top = max[t];
        for (int i = at; i < at + rows; i++) {
            top = Math.max(top, logits[i]);
        }
        if (top > max[t]) {
            sum[t] *= StrictMath.exp((double) max[t] - top);
            max[t] = top;
        }
        float[] e = Arrays.copyOfRange(logits, at, at + rows);
        Exp.exp(e, 0, rows, top);
        double share = Kernels.sum(e, 0, rows);
        sum[t] += share;
        double mark = random.uniform() * sum[t];
        if (mark <= share) {
            int i = 0;
            double passed = e[0];
            while (passed < mark && i < rows - 1) {
                passed += e[++i];
            }
            drawn[t] = first + i;
        }
    }

    private record Part(int model, int row) {
    }

    private void decode(List<Input> models, List<float[]> strips, int first, int rows) {
        List<Part> parts = IntStream.range(0, models.size()).boxed()
                .flatMap(m -> IntStream.iterate(0, r -> r < rows, r -> r + DECODE_ROWS).mapToObj(r -> new Part(m, r))).toList();
        workers.forEach(parts, p -> {
            Rows w = models.get(p.model()).weight();
            int n = Math.min(DECODE_ROWS, rows - p.row());
            float[] block = new float[n * w.columns()];
            w.read((long) first + p.row(), n, block);
            System.arraycopy(block, 0, strips.get(p.model()), p.row() * w.columns(), block.length);
            return p;
        }, _ -> { });
    }

    private static void strip(List<Input> models, List<float[]> strips, List<Sums> sums, boolean reference, int[] targets, int first, int rows, int from, int tokens) {
        float[] base = null;
        float[] work = new float[rows];
        float[] weights = new float[rows];
        for (int m = 0; m < models.size(); m++) {
            float[] logits = models.get(m).logits(from, tokens, strips.get(m), first, rows);
            for (int t = 0; t < tokens; t++) {
                add(sums.get(m), from + t, logits, t * rows, rows, first, targets[from + t], work);
            }
            if (m == 0) {
                base = logits;
            } else if (reference) {
                for (int t = 0; t < tokens; t++) {
                    cross(sums.getFirst(), sums.get(m), from + t, base, logits, t * rows, rows, work, weights);
                }
            }
        }
    }

    /// Takes a strip's logits of one token into the sums.
    private static void add(Sums s, int t, float[] logits, int at, int rows, int first, int target, float[] work) {
        float max = Float.NEGATIVE_INFINITY;
        int top = -1;
        for (int i = 0; i < rows; i++) {
            if (logits[at + i] > max) {
                max = logits[at + i];
                top = i;
            }
        }
        s.previousMax[t] = s.max[t];
        if (max > s.max[t]) {
            s.sum[t] *= StrictMath.exp((double) s.max[t] - max);
            s.max[t] = max;
            s.top[t] = first + top;
        }
        System.arraycopy(logits, at, work, 0, rows);
        Exp.exp(work, 0, rows, s.max[t]);
        s.sum[t] += Kernels.sum(work, 0, rows);
        if (target >= first && target < first + rows) {
            s.target[t] = logits[at + target - first];
        }
    }

    /// Takes a strip of one token into the sum of differences.
    private static void cross(Sums reference, Sums model, int t, float[] a, float[] b, int at, int rows, float[] work, float[] weights) {
        float max = reference.max[t];
        model.cross[t] *= StrictMath.exp((double) reference.previousMax[t] - max);
        for (int i = 0; i < rows; i++) {
            weights[i] = a[at + i];
            work[i] = a[at + i] - b[at + i];
        }
        Exp.exp(weights, 0, rows, max);
        model.cross[t] += Kernels.dot(weights, 0, work, 0, rows);
    }

    private static SequenceScores scores(Sums s, Sums reference) {
        int tokens = s.max.length;
        float[] nll = new float[tokens];
        float[] kl = reference == null ? null : new float[tokens];
        float[] deltaP = reference == null ? null : new float[tokens];
        boolean[] sameTop = reference == null ? null : new boolean[tokens];
        for (int t = 0; t < tokens; t++) {
            double log = s.logSum(t);
            nll[t] = (float) (log - s.target[t]);
            if (reference != null) {
                double base = reference.logSum(t);
                kl[t] = (float) Math.max(0, s.cross[t] / reference.sum[t] - base + log);
                deltaP[t] = (float) (StrictMath.exp(s.target[t] - log) - StrictMath.exp(reference.target[t] - base));
                sameTop[t] = s.top[t] == reference.top[t];
            }
        }
        return new SequenceScores(nll, kl, deltaP, sameTop);
    }
}
