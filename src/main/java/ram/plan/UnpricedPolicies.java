package ram.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import ram.UsageException;
import ram.format.Format;
import ram.layout.Architecture.Structure;
import ram.plan.Candidates.Candidate;
import ram.plan.Candidates.Choice;
import ram.plan.Manifest.Why;
import ram.plan.ModuleScores.Score;
import ram.profile.Profile;

/// The policies that decide module by module and not by a budget.
final class UnpricedPolicies {
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

    UnpricedPolicies(Profile profile, PlanRequest request, List<Choice> choices) {
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
            case V1 -> byScore(new ModuleScores(profile, choices).fixed(), new Thresholds(0.85, 0.45, Double.NEGATIVE_INFINITY));
            case V2 -> adaptive(false, false);
            case V2_OPT -> adaptive(false, true);
            case V3 -> adaptive(true, false);
            case V3_OPT -> adaptive(true, true);
            default -> throw new IllegalStateException(policy + " decides otherwise");
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

    private List<Decision> adaptive(boolean withFallback, boolean search) {
        ModuleScores scores = new ModuleScores(profile, choices);
        List<Score> all = scores.adaptive(withFallback);
        notes.addAll(scores.notes());
        Thresholds standard = new Thresholds(0.9, 0.65, 0.1);
        return byScore(all, search ? smallestThresholds(all, standard) : standard);
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
        String score = String.format(Locale.ROOT, "score %.3f", s.value());
        String from = " (" + s.words() + ")";
        if (s.value() >= t.dense) {
            return new Decision(Format.DENSE, Why.POLICY, score + String.format(Locale.ROOT, " ≥ %.2f", t.dense) + from);
        }
        if (s.value() >= t.sensitive) {
            return fitted(c, SENSITIVE_BITS, score + String.format(Locale.ROOT, " ≥ %.2f", t.sensitive) + from);
        }
        if (s.value() <= t.tough) {
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
