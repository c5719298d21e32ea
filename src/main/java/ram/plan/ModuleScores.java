package ram.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import ram.metric.Metric;
import ram.numeric.Quantiles;
import ram.plan.Candidates.Choice;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;

/// How much modules need their bits, by their metrics: 0 to 1, one score per module, in order.
final class ModuleScores {
    /// A span of scores below this separates nothing.
    private static final double MIN_SPAN = 0.15;
    // A metric whose robust range is below this part of its median is the same everywhere.
    private static final double MIN_RELATIVE_RANGE = 0.05;

    /// What `v1` adds up: each is 0 to 1 on a range that is the same for every model.
    private static final List<Part> FIXED = List.of(
            new Part("svd", 0.3, (m, _) -> between(m.mean(Metric.SVD_CONCENTRATION.label()), 0.1, 0.9)),
            new Part("kurtosis", 0.2, (m, _) -> between(m.mean(Metric.EXCESS_KURTOSIS.label()), 0, 10)),
            new Part("noise", 0.3, (m, _) -> between(StrictMath.log10(Math.max(0, m.mean(Metric.OUTPUT_NOISE.label()))), -2, 1)),
            new Part("position", 0.2, ModuleScores::position));

    /// What `v2` and all after it add up, each on the range that it has in the model.
    private static final List<Part> ADAPTIVE = List.of(
            new Part("svd", 0.2, (m, _) -> m.mean(Metric.SVD_CONCENTRATION.label())),
            new Part("kurtosis", 0.45, (m, _) -> m.mean(Metric.EXCESS_KURTOSIS.label())),
            new Part("noise", 0.15, (m, _) -> m.mean(Metric.OUTPUT_NOISE.label())),
            new Part("error", 0.2, (m, _) -> m.mean(TensorProfile.ERROR_4_128)));

    private final Profile profile;
    private final List<Choice> choices;
    private final List<String> notes = new ArrayList<>();

    /// A module's score, and how it came about.
    record Score(double value, String words) {
    }

    private interface Measure {
        double of(ModuleProfile module, int layers);
    }

    /// A summand of a score.
    ///
    /// @param name in the words of a score
    /// @param weight those of a score come to 1
    private record Part(String name, double weight, Measure measure) {
    }

    ModuleScores(Profile profile, List<Choice> choices) {
        this.profile = profile;
        this.choices = choices;
    }

    /// Sentences about the scores as a whole.
    List<String> notes() {
        return List.copyOf(notes);
    }

    /// A weighted sum of metrics that are each mapped to 0 to 1 by a fixed range; 0 of a module that is settled already.
    List<Score> fixed() {
        List<Score> out = new ArrayList<>();
        for (int i = 0; i < choices.size(); i++) {
            ModuleProfile m = choices.get(i).module();
            if (Planner.settled(choices.get(i)).isPresent()) {
                out.add(new Score(0, ""));
                continue;
            }
            double[] values = FIXED.stream().mapToDouble(p -> p.measure().of(m, profile.layers())).toArray();
            out.add(new Score(sum(FIXED, values), words(FIXED, values)));
        }
        return out;
    }

    /// Where `x` lies from `low` to `high`, 0 to 1.
    private static double between(double x, double low, double high) {
        return Math.min(1, Math.max(0, (x - low) / (high - low)));
    }

    /// 1 at both ends of the stack and outside of it, 0 in its middle.
    private static double position(ModuleProfile m, int layers) {
        return m.layer() < 0 || layers < 2 ? 1 : Math.abs(2.0 * m.layer() / (layers - 1) - 1);
    }

    /// @param values one per part
    private static double sum(List<Part> parts, double[] values) {
        double sum = 0;
        for (int i = 0; i < values.length; i++) {
            sum += parts.get(i).weight() * values[i];
        }
        return sum;
    }

    private static String words(List<Part> parts, double[] values) {
        return IntStream.range(0, values.length).mapToObj(i -> words(parts.get(i).name(), values[i])).collect(Collectors.joining(", "));
    }

    private static String words(String name, double value) {
        return String.format(Locale.ROOT, "%s %.2f", name, value);
    }

    /// A weighted sum of metrics that are each mapped by the range that they have in this model; 0 of a module that is settled already.
    ///
    /// @param withFallback whether modules that these do not tell apart are ranked by error and norm
    List<Score> adaptive(boolean withFallback) {
        List<Integer> open = new ArrayList<>();
        for (int i = 0; i < choices.size(); i++) {
            if (Planner.settled(choices.get(i)).isEmpty()) {
                open.add(i);
            }
        }
        List<double[]> normalised = ADAPTIVE.stream().map(p -> normalised(open, p.measure())).toList();
        List<double[]> values = IntStream.range(0, open.size()).mapToObj(k -> normalised.stream().mapToDouble(of -> of[k]).toArray()).toList();
        double[] score = values.stream().mapToDouble(v -> sum(ADAPTIVE, v)).toArray();
        double span = percentile(score, 0.95) - percentile(score, 0.05);
        boolean separates = span >= MIN_SPAN;
        notes.add(String.format(Locale.ROOT, "Scores of the model span %.3f (5th to 95th percentile), %s.", span,
                separates ? "enough to tell modules apart" : "too little to tell modules apart"));
        Score[] scores = new Score[choices.size()];
        Arrays.fill(scores, new Score(0, ""));
        for (int k = 0; k < score.length; k++) {
            scores[open.get(k)] = new Score(separates ? score[k] : 0.5, words(ADAPTIVE, values.get(k)) + (separates ? "" : ", not used"));
        }
        if (withFallback) {
            fallBack(open, score, separates, scores);
        }
        return List.of(scores);
    }

    /// Modules in the middle of the scores, or all when the model does not separate, are ranked by reconstruction error and share of the model's norm.
    private void fallBack(List<Integer> open, double[] score, boolean separates, Score[] scores) {
        double[] errorRank = ranks(open.stream().mapToDouble(i -> choices.get(i).module().mean(TensorProfile.ERROR_4_128)).toArray());
        double[] normRank = ranks(open.stream().mapToDouble(i -> norm(choices.get(i).module())).toArray());
        for (int k = 0; k < score.length; k++) {
            if (!separates || score[k] > 0.35 && score[k] < 0.65) {
                double value = (errorRank[k] + normRank[k]) / 2;
                // Ranks always cover 0 to 1, so only the highest may raise bits and none may lower them.
                scores[open.get(k)] = new Score(Math.max(0.5, 0.65 * value / 0.9), words("error rank", errorRank[k]) + ", " + words("norm rank", normRank[k]));
            }
        }
    }

    private static double norm(ModuleProfile m) {
        double sum = 0;
        for (TensorProfile t : m.tensors()) {
            double norm = t.metric(Metric.FROBENIUS.label());
            sum += norm * norm;
        }
        return sum;
    }

    /// Share of the values below each, 0 to 1; equal values share the mean of their ranks.
    private static double[] ranks(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        Map<Double, Double> rank = new HashMap<>();
        for (int below = 0, above; below < sorted.length; below = above) {
            above = below + 1;
            while (above < sorted.length && sorted[above] == sorted[below]) {
                above++;
            }
            rank.put(sorted[below], sorted.length < 2 ? 0.5 : (below + above - 1) / 2.0 / (sorted.length - 1));
        }
        return Arrays.stream(values).map(rank::get).toArray();
    }

    /// What is measured on the open modules, mapped to [0, 1] by its 5th and 95th percentile over them; 0.5 for all when it is nearly the same everywhere.
    private double[] normalised(List<Integer> open, Measure measure) {
        double[] values = open.stream().mapToDouble(i -> measure.of(choices.get(i).module(), profile.layers())).toArray();
        double low = percentile(values, 0.05);
        double high = percentile(values, 0.95);
        boolean flat = high - low <= MIN_RELATIVE_RANGE * Math.abs(percentile(values, 0.5));
        return Arrays.stream(values).map(v -> flat ? 0.5 : between(v, low, high)).toArray();
    }

    /// Of values in any order; 0 of nothing.
    private static double percentile(double[] values, double p) {
        return values.length == 0 ? 0 : Quantiles.of(Arrays.stream(values).sorted().toArray(), p);
    }
}
