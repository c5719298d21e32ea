package ram.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import ram.UsageException;
import ram.format.Format;
import ram.layout.Architecture.Structure;
import ram.numeric.Quantiles;
import ram.plan.Candidates.Candidate;
import ram.plan.Candidates.Choice;
import ram.plan.Manifest.Why;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;

/// The policies that decide module by module and not by a budget.
final class RulePolicies {
    /// A span of scores below this separates nothing.
    private static final double MIN_SPAN = 0.15;
    // A metric whose robust range is below this part of its median is the same everywhere.
    private static final double MIN_RELATIVE_RANGE = 0.05;
    private static final int SENSITIVE_BITS = 8;
    private static final int PLAIN_BITS = 4;
    private static final int TOUGH_BITS = 2;

    private final Profile profile;
    private final PlanRequest request;
    private final List<Choice> choices;
    private final List<String> notes = new ArrayList<>();

    /// Scores at or above `dense` stay dense, at or above `sensitive` get 8 bits, at or below `tough` 2 bits, all others 4 bits.
    private record Thresholds(double dense, double sensitive, double tough) {
    }

    /// A module's score, and how it came about.
    private record Score(double value, String words) {
    }

    RulePolicies(Profile profile, PlanRequest request, List<Choice> choices) {
        this.profile = profile;
        this.request = request;
        this.choices = choices;
    }

    /// One per module, in order.
    List<Decision> decide() {
        Policy policy = request.policy();
        if (policy == Policy.V4) {
            policy = profile.architecture().structure() == Structure.DENSE ? Policy.V3_OPT : Policy.V2;
            notes.add("v4 took the model for " + profile.architecture().structure().label() + " and used " + policy.label() + ".");
        }
        return switch (policy) {
            case UNIFORM -> uniform();
            case MIXED_2_6, MIXED_3_4, MIXED_3_6, MIXED_4_6 -> recipe(policy);
            case V1 -> byScore(fixedScores(), new Thresholds(0.85, 0.45, Double.NEGATIVE_INFINITY));
            case V2 -> adaptive(false, false);
            case V2_OPT -> adaptive(false, true);
            case V3 -> adaptive(true, false);
            case V3_OPT -> adaptive(true, true);
            case V4, BUDGET, MINT -> throw new IllegalStateException(policy + " decides otherwise");
        };
    }

    /// Sentences about the plan as a whole; complete after [#decide()].
    List<String> notes() {
        return List.copyOf(notes);
    }

    private List<Decision> uniform() {
        List<Decision> out = new ArrayList<>();
        for (Choice c : choices) {
            Optional<Format> preset = c.module().preset();
            out.add(Planner.settled(c).orElseGet(() -> preset.isPresent() && fits(c, preset.get())
                    ? routed(c, preset.get(), "the architecture's own setting") : fitted(c, request.bits(), "the same everywhere")));
        }
        return out;
    }

    /// mlx_lm's mixed recipes: high bits for value and down projections of the first and last eighth of the layers and of every third between, and for the
    /// head; low bits for everything else, routers too, because the recipe takes the place of the architecture's own settings.
    private List<Decision> recipe(Policy policy) {
        int low = policy.label().charAt("mixed_".length()) - '0';
        int high = policy.label().charAt("mixed_x_".length()) - '0';
        if (choices.stream().noneMatch(c -> c.module().path().contains("down_proj"))) {
            throw new UsageException("--policy " + policy.label() + ": this model has no down_proj, for which mlx_lm's recipes are made; use another policy");
        }
        notes.add("Same choices as mlx_lm's recipe " + policy.label() + ", which also gives routers the low bits and knows no noise floor.");
        List<Decision> out = new ArrayList<>();
        for (Choice c : choices) {
            String path = c.module().path();
            boolean more = getsMoreBits(Math.max(0, c.module().layer()), profile.layers());
            boolean isHigh = path.contains("lm_head") || more && (path.contains("v_proj") || path.contains("v_a_proj") || path.contains("v_b_proj") || path.contains("down_proj"));
            out.add(Planner.settled(c).orElseGet(() -> fits(c, Format.affine(isHigh ? high : low, request.groupSize()))
                    ? new Decision(Format.affine(isHigh ? high : low, request.groupSize()), Why.POLICY, isHigh ? "high bits by the recipe" : "low bits by the recipe")
                    : doesNotFit()));
        }
        return out;
    }

    static boolean getsMoreBits(int layer, int layers) {
        return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
    }

    private boolean fits(Choice c, Format f) {
        if (!f.fits(c.module().shape())) {
            return false;
        }
        if (c.measured(f).isEmpty()) {
            throw new UsageException("--policy " + request.policy().label() + ": the profile holds no measurement of " + f + " for " + c.module().path() + "; analyze with that format");
        }
        return true;
    }

    private Decision doesNotFit() {
        return new Decision(Format.DENSE, Why.CANNOT_QUANTIZE, "groups of " + request.groupSize() + " do not divide its rows");
    }

    private Decision fitted(Choice c, int bits, String reason) {
        Format f = Format.affine(bits, request.groupSize());
        return f.fits(c.module().shape()) ? routed(c, f, reason) : doesNotFit();
    }

    /// The floor of routers applied to a wish.
    private Decision routed(Choice c, Format wanted, String reason) {
        if (!Candidates.isRouting(c.module().kind()) || Candidates.isFineEnoughForRouting(wanted)) {
            fits(c, wanted);
            return new Decision(wanted, Why.POLICY, reason);
        }
        Format f = c.module().preset().filter(Candidates::isFineEnoughForRouting).orElse(Format.affine(8, request.groupSize()));
        return fits(c, f) ? new Decision(f, Why.FLOOR, "routers never get fewer than 8 bits") : doesNotFit();
    }

    private List<Score> fixedScores() {
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

    private List<Decision> adaptive(boolean withFallback, boolean search) {
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
        List<Score> all = List.of(scores);
        Thresholds standard = new Thresholds(0.9, 0.65, 0.1);
        return byScore(all, search ? smallestThresholds(all, standard) : standard);
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

    private List<Decision> byScore(List<Score> scores, Thresholds t) {
        List<Decision> out = new ArrayList<>();
        for (int i = 0; i < choices.size(); i++) {
            out.add(byScore(choices.get(i), scores.get(i), t));
        }
        return out;
    }

    private Decision byScore(Choice c, Score s, Thresholds t) {
        Optional<Decision> settled = Planner.settled(c);
        if (settled.isPresent()) {
            return settled.get();
        }
        String score = String.format(Locale.ROOT, "score %.3f", s.value);
        String from = " (" + s.words + ")";
        if (s.value >= t.dense) {
            return new Decision(Format.DENSE, Why.POLICY, score + String.format(Locale.ROOT, " ≥ %.2f", t.dense) + from);
        }
        if (s.value >= t.sensitive) {
            return fitted(c, SENSITIVE_BITS, score + String.format(Locale.ROOT, " ≥ %.2f", t.sensitive) + from);
        }
        if (s.value <= t.tough) {
            Decision tough = fitted(c, TOUGH_BITS, score + String.format(Locale.ROOT, " ≤ %.2f", t.tough) + from);
            if (request.allowUnsafe() || tough.format().isDense() || c.measured(tough.format()).orElseThrow().safe()) {
                return tough;
            }
            Decision plain = fitted(c, PLAIN_BITS, "");
            return new Decision(plain.format(), Why.FLOOR, "2 bits would be under 9 dB; " + score + from);
        }
        return fitted(c, PLAIN_BITS, score + from);
    }

    /// The thresholds of a grid that give the smallest size without more predicted damage than the standard ones; of equal sizes the first.
    private Thresholds smallestThresholds(List<Score> scores, Thresholds standard) {
        Thresholds best = standard;
        double limit = damage(byScore(scores, standard));
        long bestBytes = bytes(byScore(scores, standard));
        for (double dense : new double[] {0.9, 0.95, 2}) {
            for (int sensitive = 40; sensitive <= 95; sensitive += 5) {
                for (int tough : new int[] {-100, 5, 10, 15, 20, 30}) {
                    Thresholds t = new Thresholds(dense, sensitive / 100.0, tough / 100.0);
                    List<Decision> decisions = byScore(scores, t);
                    long bytes = bytes(decisions);
                    if (bytes < bestBytes && damage(decisions) <= limit) {
                        best = t;
                        bestBytes = bytes;
                    }
                }
            }
        }
        notes.add(String.format(Locale.ROOT, "Thresholds of the smallest size that predicts no more damage than the standard ones: %s, 8 bits from %.2f, %s.",
                best.dense > 1 ? "dense never" : String.format(Locale.ROOT, "dense from %.2f", best.dense), best.sensitive,
                best.tough < 0 ? "2 bits never" : String.format(Locale.ROOT, "2 bits up to %.2f", best.tough)));
        return best;
    }

    private double damage(List<Decision> decisions) {
        double sum = 0;
        for (int i = 0; i < decisions.size(); i++) {
            sum += candidate(i, decisions).damage();
        }
        return sum;
    }

    private long bytes(List<Decision> decisions) {
        long sum = 0;
        for (int i = 0; i < decisions.size(); i++) {
            sum += candidate(i, decisions).cost();
        }
        return sum;
    }

    private Candidate candidate(int i, List<Decision> decisions) {
        return choices.get(i).measured(decisions.get(i).format()).orElseThrow();
    }
}
