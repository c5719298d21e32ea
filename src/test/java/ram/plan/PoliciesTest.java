package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import ram.UsageException;
import ram.format.Format;
import ram.layout.Kind;
import ram.plan.Manifest.ModulePlan;
import ram.plan.Manifest.Why;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;

class PoliciesTest {
    private static final Profile LLAMA = Profiles.llama(16, 128, true, 3);
    private static final Profile MIXTURE = Profiles.mixture(2, 128, 8, 4);

    private static Manifest plan(Profile p, Policy policy) {
        return Planner.plan(p, PlanRequest.defaults().withPolicy(policy, 4, 64));
    }

    /// The choices of mlx_lm 0.32, read from what it wrote.
    private static Map<String, String> golden(String name) throws Exception {
        try (InputStream in = PoliciesTest.class.getResourceAsStream(name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().map(l -> l.split(" ")).collect(Collectors.toMap(a -> a[0], a -> a[1], (a, b) -> a, TreeMap::new));
        }
    }

    private static Map<String, String> chosen(Manifest m) {
        return m.modules().stream().filter(x -> !x.format().isDense()).collect(Collectors.toMap(ModulePlan::path, x -> x.format().toString(), (a, b) -> a, TreeMap::new));
    }

    @Test
    void recipesChooseWhatMlxChooses() throws Exception {
        assertEquals(golden("mixed_3_6.txt"), chosen(plan(LLAMA, Policy.MIXED_3_6)));
        assertEquals(golden("mixed_3_4.txt"), chosen(plan(MIXTURE, Policy.MIXED_3_4)));
    }

    @ParameterizedTest
    @CsvSource({"16,'0,1,4,7,10,13,14,15'", "28,'0,1,2,5,8,11,14,17,20,23,24,25,26,27'", "32,'0,1,2,3,6,9,12,15,18,21,24,27,28,29,30,31'"})
    void recipesPreferTheSameLayers(int layers, String expected) {
        assertEquals(expected,
                IntStream.range(0, layers).filter(i -> UnpricedPolicies.getsMoreBits(i, layers)).mapToObj(String::valueOf).collect(Collectors.joining(",")));
    }

    private static double metric(Profile p, String path, String name) {
        return p.modules().stream().filter(m -> m.path().equals(path)).findFirst().orElseThrow().tensors().getFirst().metrics().get(name);
    }

    private static double between(double x, double low, double high) {
        return Math.clamp((x - low) / (high - low), 0, 1);
    }

    /// The modules of a plan that were chosen by score, and what they scored.
    private static Map<String, Double> scores(Manifest m) {
        Pattern score = Pattern.compile("score (-?\\d\\.\\d{3})");
        Map<String, Double> out = new TreeMap<>();
        for (ModulePlan p : m.modules()) {
            Matcher found = score.matcher(p.reason());
            if (found.find()) {
                out.put(p.path(), Double.parseDouble(found.group(1)));
            }
        }
        return out;
    }

    @Test
    void fixedScoresAreThoseOfTheFormula() {
        Map<String, Double> scores = scores(plan(LLAMA, Policy.V1));
        assertTrue(scores.size() > 100);
        scores.forEach((path, score) -> {
            int layer = LLAMA.modules().stream().filter(m -> m.path().equals(path)).findFirst().orElseThrow().layer();
            double position = layer < 0 ? 1 : Math.abs(layer - 7.5) / 7.5;
            assertEquals(0.3 * between(metric(LLAMA, path, "svd_concentration"), 0.1, 0.9) + 0.2 * between(metric(LLAMA, path, "excess_kurtosis"), 0, 10)
                    + 0.3 * between(Math.log10(metric(LLAMA, path, "output_noise")), -2, 1) + 0.2 * position, score, 0.00051, path);
        });
    }

    /// Between percentiles that are interpolated linearly, as numpy's are.
    @Test
    void adaptiveScoresAreThoseOfTheFormula() {
        Map<String, Double> scores = scores(plan(LLAMA, Policy.V2));
        assertTrue(scores.size() > 100);
        Map<String, Double> shares = Map.of("svd_concentration", 0.2, "excess_kurtosis", 0.45, "output_noise", 0.15, "error_4_128", 0.2);
        Map<String, Double> expected = new TreeMap<>();
        shares.forEach((name, share) -> {
            double[] sorted = scores.keySet().stream().mapToDouble(path -> metric(LLAMA, path, name)).sorted().toArray();
            scores.keySet().forEach(path -> expected.merge(path, share * between(metric(LLAMA, path, name), percentile(sorted, 0.05), percentile(sorted, 0.95)), Double::sum));
        });
        expected.forEach((path, score) -> assertEquals(score, scores.get(path), 0.00051, path));
    }

    private static double percentile(double[] sorted, double p) {
        double at = p * (sorted.length - 1);
        int below = (int) at;
        return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
    }

    @Test
    void uniformRespectsTheArchitecture() {
        Manifest m = plan(MIXTURE, Policy.UNIFORM);
        for (ModulePlan p : m.modules()) {
            if (p.why() != Why.CANNOT_QUANTIZE) {
                assertEquals(p.kind() == Kind.ROUTER ? "8:64" : "4:64", p.format().toString());
            }
        }
        Manifest large = Planner.plan(MIXTURE, PlanRequest.defaults().withPolicy(Policy.UNIFORM, 3, 128));
        ModulePlan down = large.modules().stream().filter(p -> p.kind() == Kind.DOWN).findFirst().orElseThrow();
        assertTrue(down.format().isDense() && down.why() == Why.CANNOT_QUANTIZE);
    }

    /// A module for everything that can have decided, as each is explained in other words.
    private static Collection<ModulePlan> oneOfEachReason(Manifest m) {
        return m.modules().stream().collect(Collectors.toMap(ModulePlan::why, x -> x, (first, _) -> first)).values();
    }

    @ParameterizedTest
    @EnumSource(Policy.class)
    void everyPolicyPlansAndExplains(Policy policy, @TempDir Path folder) throws IOException {
        for (Profile p : List.of(LLAMA, MIXTURE)) {
            PlanRequest request = PlanRequest.defaults().withPolicy(policy, 4, 64);
            Manifest m = Planner.plan(p, policy.isPriced() ? request.within(new Limit.BitsPerWeight(5)) : request);
            assertEquals(policy.label(), m.policy());
            Manifest back = ManifestJson.read(Files.write(folder.resolve("manifest.json"), ManifestJson.write(m)));
            assertEquals(m, back);
            PlanRequest again = PlanRequest.of(back);
            assertEquals(m, Planner.plan(p, again));
            for (ModulePlan one : oneOfEachReason(m)) {
                Explain explained = Explain.of(p, again, one.path());
                assertEquals(one, explained.module());
                assertEquals(List.of(one.format()), explained.curve().stream().filter(Explain.Point::chosen).map(Explain.Point::format).toList());
                assertTrue(explained.rule().endsWith("."));
                assertEquals(policy.isPriced(), explained.atMore().isPresent());
            }
            assertTrue(m.modules().stream().noneMatch(x -> x.reason().isBlank()));
            if (!policy.isPriced()) {
                BudgetException e = assertThrows(BudgetException.class, () -> Planner.plan(p, request.withBudget(m.sizes().files() - 1)));
                assertTrue(e.getMessage().startsWith("the policy needs "), e.getMessage());
                assertEquals(m.sizes().files(), Planner.plan(p, request.withBudget(m.sizes().files())).sizes().files());
            }
            if (!policy.label().startsWith("mixed_") && policy != Policy.UNIFORM) {
                assertTrue(m.modules().stream().allMatch(x -> x.sqnrDb() >= 9));
            }
        }
    }

    @Test
    void searchedThresholdsAreNeverWorse() {
        for (Profile p : List.of(LLAMA, MIXTURE)) {
            for (Policy[] pair : new Policy[][] {{Policy.V2, Policy.V2_OPT}, {Policy.V3, Policy.V3_OPT}}) {
                Manifest standard = plan(p, pair[0]);
                Manifest searched = plan(p, pair[1]);
                assertTrue(searched.sizes().files() <= standard.sizes().files());
                assertTrue(searched.solver().objective() <= standard.solver().objective() * (1 + 1e-12));
            }
        }
        assertEquals(chosen(plan(LLAMA, Policy.V3_OPT)), chosen(plan(LLAMA, Policy.V4)));
        assertEquals(chosen(plan(MIXTURE, Policy.V2)), chosen(plan(MIXTURE, Policy.V4)));
    }

    private static Profile withMetrics(Profile p, Map<String, Double> metrics) {
        return new Profile(p.toolVersion(), p.files(), p.architecture(), p.layers(), p.options(), p.modules().stream().map(m -> new ModuleProfile(m.path(), m.kind(), m.layer(), m.shape(), m.dtype(),
                m.expert(), m.sharedExpert(), m.preset(), m.mustStayDense(), m.sensitivitySource(), m.curve(), m.tensors().stream().map(t -> new TensorProfile(t.name(), t.rows(), t.columns(),
                new TreeMap<>(metrics), t.sensitivity(), t.ingredients(), t.curve())).toList(), m.sources())).toList(), p.plain(), p.prequantized(), p.dropped());
    }

    @Test
    void scoresThatDoNotDifferGiveANearlyUniformPlan() {
        Profile same = withMetrics(LLAMA, Map.of("frobenius", 1.0, "excess_kurtosis", 9.0, "svd_concentration", 0.8, "output_noise", 2.0, "error_4_128", 0.1));
        Manifest m = plan(same, Policy.V2);
        assertEquals(1, m.modules().stream().map(ModulePlan::format).distinct().count());
        assertEquals(Format.affine(4, 64), m.modules().getFirst().format());
        assertTrue(m.notes().toString().contains("too little"));
        // By hand: 0.3·0.875 + 0.2·0.9 + 0.3·(log10 2 + 2)/3 + 0.2·1 = 0.8726 at the ends, 0.2·(1/15) instead of 0.2 in the middle
        Manifest v1 = plan(same, Policy.V1);
        assertTrue(v1.modules().getFirst().format().isDense());
        assertEquals(8, v1.modules().stream().filter(x -> x.layer() == 8).findFirst().orElseThrow().format().bits());
    }

    @Test
    void aMissingMetricIsNamed() {
        assertTrue(assertThrows(UsageException.class, () -> plan(withMetrics(LLAMA, Map.of("frobenius", 1.0)), Policy.V1)).getMessage().contains("svd_concentration"));
    }

    @Test
    void priorsFollowTheRole() {
        Map<String, Double> priors = LLAMA.modules().stream().collect(Collectors.toMap(ModuleProfile::path, m -> Damage.prior(m, 16)));
        assertEquals(10, priors.get("model.embed_tokens"));
        assertEquals(3, priors.get("model.layers.0.mlp.up_proj"));
        assertEquals(1, priors.get("model.layers.7.mlp.up_proj"));
        assertEquals(2, priors.get("model.layers.15.mlp.up_proj"));
    }

    @Test
    void unknownNamesListTheKnownOnes() {
        assertEquals(Policy.V4, Policy.named("AUTO"));
        assertTrue(assertThrows(UsageException.class, () -> Policy.named("best")).getMessage().contains("mixed_4_6"));
    }
}
