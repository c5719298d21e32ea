package ram.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import ram.UsageException;
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

    private final Profile profile;
    private final List<Choice> choices;
    private final List<String> notes = new ArrayList<>();

    /// A module's score, and how it came about.
    record Score(double value, String words) {
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
            double svd = clamp((metric(m, "svd_concentration") - 0.1) / 0.8);
            double kurtosis = clamp(metric(m, "excess_kurtosis") / 10);
            double noise = noise(m);
            double position = position(m, profile.layers());
            double score = 0.3 * svd + 0.2 * kurtosis + 0.3 * noise + 0.2 * position;
            out.add(new Score(score, words("svd", svd, "kurtosis", kurtosis, "noise", noise, "position", position)));
        }
        return out;
    }

    private static double clamp(double x) {
        return Math.min(1, Math.max(0, x));
    }

    private static double noise(ModuleProfile m) {
        double amplification = metric(m, "output_noise");
        return amplification > 0 ? clamp((StrictMath.log10(amplification) + 2) / 3) : 0;
    }

    /// 1 at both ends of the stack and outside of it, 0 in its middle.
    private static double position(ModuleProfile m, int layers) {
        return m.layer() < 0 || layers < 2 ? 1 : Math.abs(2.0 * m.layer() / (layers - 1) - 1);
    }

    private static String words(Object... namesAndValues) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            out.append(i == 0 ? "" : ", ").append(namesAndValues[i]).append(String.format(Locale.ROOT, " %.2f", (Double) namesAndValues[i + 1]));
        }
        return out.toString();
    }

    /// Mean of a metric over the matrices of a module, weighted by their sizes.
    private static double metric(ModuleProfile m, String name) {
        double sum = 0;
        double weight = 0;
        for (TensorProfile t : m.tensors()) {
            sum += metric(t, name) * t.parameters();
            weight += t.parameters();
        }
        return weight == 0 ? 0 : sum / weight;
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
        double[] svd = normalised(open, "svd_concentration");
        double[] kurtosis = normalised(open, "excess_kurtosis");
        double[] noise = normalised(open, "output_noise");
        double[] error = normalised(open, "error_4_128");
        double[] score = new double[open.size()];
        for (int k = 0; k < score.length; k++) {
            score[k] = 0.2 * svd[k] + 0.45 * kurtosis[k] + 0.15 * noise[k] + 0.2 * error[k];
        }
        double span = percentile(score, 0.95) - percentile(score, 0.05);
        boolean separates = span >= MIN_SPAN;
        notes.add(String.format(Locale.ROOT, "Scores of the model span %.3f (5th to 95th percentile), %s.", span,
                separates ? "enough to tell modules apart" : "too little to tell modules apart"));
        Score[] scores = new Score[choices.size()];
        Arrays.fill(scores, new Score(0, ""));
        for (int k = 0; k < score.length; k++) {
            scores[open.get(k)] = new Score(separates ? score[k] : 0.5,
                    words("svd", svd[k], "kurtosis", kurtosis[k], "noise", noise[k], "error", error[k]) + (separates ? "" : ", not used"));
        }
        if (withFallback) {
            fallBack(open, score, separates, scores);
        }
        return List.of(scores);
    }

    /// Modules in the middle of the scores, or all when the model does not separate, are ranked by reconstruction error and share of the model's norm.
    private void fallBack(List<Integer> open, double[] score, boolean separates, Score[] scores) {
        double[] errorRank = ranks(open.stream().mapToDouble(i -> metric(choices.get(i).module(), "error_4_128")).toArray());
        double[] normRank = ranks(open.stream().mapToDouble(i -> norm(choices.get(i).module())).toArray());
        for (int k = 0; k < score.length; k++) {
            if (!separates || score[k] > 0.35 && score[k] < 0.65) {
                double value = (errorRank[k] + normRank[k]) / 2;
                // Ranks always cover 0 to 1, so only the highest may raise bits and none may lower them.
                scores[open.get(k)] = new Score(Math.max(0.5, 0.65 * value / 0.9), words("error rank", errorRank[k], "norm rank", normRank[k]));
            }
        }
    }

    private static double metric(TensorProfile t, String name) {
        Double value = t.metrics().get(name);
        if (value == null) {
            throw new UsageException("--policy: the profile holds no " + name + " for " + t.name() + "; analyze the model again with this version");
        }
        return value;
    }

    private static double norm(ModuleProfile m) {
        double sum = 0;
        for (TensorProfile t : m.tensors()) {
            double norm = metric(t, "frobenius");
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

    /// A metric of the open modules mapped to [0, 1] by its 5th and 95th percentile over them; 0.5 for all when it is nearly the same everywhere.
    private double[] normalised(List<Integer> open, String name) {
        double[] values = open.stream().mapToDouble(i -> metric(choices.get(i).module(), name)).toArray();
        double low = percentile(values, 0.05);
        double high = percentile(values, 0.95);
        boolean flat = high - low <= MIN_RELATIVE_RANGE * Math.abs(percentile(values, 0.5));
        return Arrays.stream(values).map(v -> flat ? 0.5 : clamp((v - low) / (high - low))).toArray();
    }

    /// Of values in any order; 0 of nothing.
    private static double percentile(double[] values, double p) {
        return values.length == 0 ? 0 : Quantiles.of(Arrays.stream(values).sorted().toArray(), p);
    }
}
