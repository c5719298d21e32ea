package ram.eval;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import ram.Count;
import ram.numeric.Quantiles;

/// What an evaluation found.
///
/// @param tokens what was evaluated on
/// @param tokensFingerprint SHA-256 of all sequences
/// @param reference name of the reference, which then is the first of the models
/// @param warnings what keeps the numbers from being taken at face value, in sentences: first what was assumed of the models
/// @param speed measured, different in each run, and in no document
public record EvalReport(String tokens, String tokensFingerprint, int sequences, long predictions, Optional<String> reference, List<ModelScores> models,
                         List<String> warnings, Speed speed) {
    private static final int FEWEST_PREDICTIONS = 1000;

    /// How fast it went.
    ///
    /// @param tokens predicted by all models together, sequences taken from a partial file not counted
    /// @param operations floating-point operations of the matrix products
    /// @param productSeconds wall time of these products, decoding of weights included
    public record Speed(long tokens, double seconds, long operations, double productSeconds) {
        /// Of all models together.
        public double tokensPerSecond() {
            return tokens / seconds;
        }

        /// 10⁹ floating-point operations per second in the projections.
        public double gflops() {
            return operations / productSeconds / 1e9;
        }
    }

    /// How well a model predicts.
    ///
    /// @param sequenceNll mean negative log-likelihood of each sequence, in nats per token
    /// @param nll mean over all tokens, in nats
    /// @param nllError standard error of the mean over sequences
    /// @param perplexity `exp(nll)`
    /// @param sequencePerplexity statistics over the sequences' perplexities
    /// @param worst indices of the sequences with the highest perplexities, the worst first, five at most
    /// @param divergence from the reference; empty for the reference itself and without one
    public record ModelScores(String name, List<Double> sequenceNll, double nll, double nllError, double perplexity, Spread sequencePerplexity,
                              List<Integer> worst, Optional<Divergence> divergence) {
        public ModelScores {
            sequenceNll = List.copyOf(sequenceNll);
            worst = List.copyOf(worst);
        }

        double perplexity(int sequence) {
            return StrictMath.exp(sequenceNll.get(sequence));
        }
    }

    /// Robust statistics of per-sequence perplexities.
    ///
    /// @param trimmed5 mean without the 5 % lowest and the 5 % highest
    /// @param trimmed10 the same with 10 %
    /// @param standardError of the mean
    public record Spread(double mean, double median, double trimmed5, double trimmed10, double geometricMean, double standardError, double min, double max) {
    }

    /// How far a model's predictions are from the reference's, over all tokens.
    ///
    /// @param sequenceKl mean KL divergence of each sequence
    /// @param mean mean KL(reference ‖ model) in nats per token
    /// @param standardError of the mean, over sequences
    /// @param sameTop share of tokens for which both rank the same token first
    /// @param deltaP probability of the token that follows, the model's minus the reference's
    /// @param nllDifference the model's mean negative log-likelihood minus the reference's, over all tokens, in nats
    /// @param differenceLow lower end of its 95 % confidence interval, from the paired differences of the sequences; not a number for a single one
    /// @param differenceHigh upper end
    public record Divergence(List<Double> sequenceKl, double mean, double standardError, double median, double p90, double p99, double max, double sameTop,
                             DeltaP deltaP, double nllDifference, double differenceLow, double differenceHigh) {
        public Divergence {
            sequenceKl = List.copyOf(sequenceKl);
        }
    }

    /// Changes of the probability of the token that follows.
    public record DeltaP(double mean, double rms, double p1, double p5, double median, double p95, double p99) {
    }

    public EvalReport {
        models = List.copyOf(models);
        warnings = List.copyOf(warnings);
    }

    /// @param scores per sequence the scores of each model
    static EvalReport of(List<EvalModel> models, boolean reference, TokenSet tokens, List<List<SequenceScores>> scores, Speed speed) {
        List<ModelScores> out = new ArrayList<>();
        List<SequenceScores> base = reference ? column(scores, 0) : null;
        for (int m = 0; m < models.size(); m++) {
            List<SequenceScores> own = column(scores, m);
            out.add(model(models.get(m).name(), own, reference && m > 0 ? Optional.of(divergence(base, own)) : Optional.empty()));
        }
        Optional<String> name = reference ? Optional.of(models.getFirst().name()) : Optional.empty();
        List<String> warnings = new ArrayList<>();
        models.forEach(m -> m.weights().notes().forEach(note -> warnings.add(m.name() + ": " + note)));
        warnings.addAll(warnings(out, tokens.predictions()));
        return new EvalReport(tokens.name(), tokens.fingerprint(), scores.size(), tokens.predictions(), name, out, warnings, speed);
    }

    private static List<SequenceScores> column(List<List<SequenceScores>> scores, int model) {
        return scores.stream().map(s -> s.get(model)).toList();
    }

    private static ModelScores model(String name, List<SequenceScores> scores, Optional<Divergence> divergence) {
        double[] nll = scores.stream().mapToDouble(SequenceScores::meanNll).toArray();
        double[] perplexity = scores.stream().mapToDouble(SequenceScores::perplexity).toArray();
        double[] sorted = Statistics.sorted(perplexity);
        double overall = Statistics.mean(flat(scores, SequenceScores::nll));
        Spread spread = new Spread(Statistics.mean(perplexity), Quantiles.of(sorted, 0.5), Statistics.trimmedMean(sorted, 0.05), Statistics.trimmedMean(sorted, 0.1),
                StrictMath.exp(Statistics.mean(nll)), Statistics.standardError(perplexity), sorted[0], sorted[sorted.length - 1]);
        List<Integer> worst = IntStream.range(0, nll.length).boxed().sorted(Comparator.comparingDouble((Integer i) -> -nll[i])).limit(5).toList();
        return new ModelScores(name, list(nll), overall, Statistics.standardError(nll), StrictMath.exp(overall), spread, worst, divergence);
    }

    private static Divergence divergence(List<SequenceScores> base, List<SequenceScores> own) {
        double[] kl = flat(own, SequenceScores::kl);
        double[] sorted = Statistics.sorted(kl);
        double[] sequenceKl = own.stream().mapToDouble(s -> Statistics.mean(doubles(s.kl()))).toArray();
        double[] deltaP = flat(own, SequenceScores::deltaP);
        double[] sortedP = Statistics.sorted(deltaP);
        double squares = 0;
        for (double d : deltaP) {
            squares += d * d;
        }
        long same = 0;
        for (SequenceScores s : own) {
            for (boolean b : s.sameTop()) {
                same += b ? 1 : 0;
            }
        }
        double[] paired = IntStream.range(0, own.size()).mapToDouble(i -> own.get(i).meanNll() - base.get(i).meanNll()).toArray();
        double difference = Statistics.mean(flat(own, SequenceScores::nll)) - Statistics.mean(flat(base, SequenceScores::nll));
        double half = Statistics.student(paired.length - 1) * Statistics.standardError(paired);
        return new Divergence(list(sequenceKl), Statistics.mean(kl), Statistics.standardError(sequenceKl), Quantiles.of(sorted, 0.5), Quantiles.of(sorted, 0.9),
                Quantiles.of(sorted, 0.99), sorted[sorted.length - 1], (double) same / kl.length,
                new DeltaP(Statistics.mean(deltaP), Math.sqrt(squares / deltaP.length), Quantiles.of(sortedP, 0.01), Quantiles.of(sortedP, 0.05),
                        Quantiles.of(sortedP, 0.5), Quantiles.of(sortedP, 0.95), Quantiles.of(sortedP, 0.99)),
                difference, difference - half, difference + half);
    }

    private static double[] flat(List<SequenceScores> scores, java.util.function.Function<SequenceScores, float[]> part) {
        return scores.stream().flatMapToDouble(s -> java.util.Arrays.stream(doubles(part.apply(s)))).toArray();
    }

    private static double[] doubles(float[] x) {
        return IntStream.range(0, x.length).mapToDouble(i -> x[i]).toArray();
    }

    private static List<Double> list(double[] x) {
        return IntStream.range(0, x.length).mapToObj(i -> x[i]).toList();
    }

    /// Pairs of models that mean and median of the perplexities rank differently, as a few sequences then decide the mean; and a text that is too short.
    private static List<String> warnings(List<ModelScores> models, long predictions) {
        List<String> out = new ArrayList<>();
        for (int i = 0; i < models.size(); i++) {
            for (int j = i + 1; j < models.size(); j++) {
                ModelScores a = models.get(i);
                ModelScores b = models.get(j);
                double means = difference(a, b, Spread::mean);
                double medians = difference(a, b, Spread::median);
                if (means * medians < 0) {
                    ModelScores low = means < 0 ? a : b;
                    ModelScores high = means < 0 ? b : a;
                    out.add(String.format(Locale.ROOT, "%s has the lower mean of the sequences' perplexities and %s the lower median; the mean is decided by %s", low.name(), high.name(),
                            deciding(low, high)));
                }
            }
        }
        if (predictions < FEWEST_PREDICTIONS) {
            out.add((predictions == 1 ? "there is only " : "there are only ") + Count.of(predictions, "prediction") + ", too few to tell models apart; " + FEWEST_PREDICTIONS + " are the least");
        }
        return out;
    }

    private static double difference(ModelScores a, ModelScores b, ToDoubleFunction<Spread> part) {
        return part.applyAsDouble(a.sequencePerplexity()) - part.applyAsDouble(b.sequencePerplexity());
    }

    /// The sequences without which the mean would rank the two the other way.
    private static String deciding(ModelScores low, ModelScores high) {
        int n = low.sequenceNll().size();
        List<Integer> byGain = IntStream.range(0, n).boxed().sorted(Comparator.comparingDouble(s -> low.perplexity(s) - high.perplexity(s))).toList();
        double left = IntStream.range(0, n).mapToDouble(s -> high.perplexity(s) - low.perplexity(s)).sum();
        List<Integer> named = new ArrayList<>();
        for (int s : byGain) {
            if (left <= 0 || named.size() == 10) {
                break;
            }
            named.add(s);
            left -= high.perplexity(s) - low.perplexity(s);
        }
        return (named.size() == 1 ? "sequence " : "sequences ") + named.stream().sorted().map(String::valueOf).collect(Collectors.joining(", ")) + (left > 0 ? " and others" : "");
    }
}
