package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import ram.UsageException;
import ram.format.Format;
import ram.format.Quantizer;
import ram.layout.Model;
import ram.profile.AnalysisOptions;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.Profiles;

/// The predicted divergence of a real model, against what was measured on it: mean KL of 32 windows of 256 held-out tokens.
class DivergenceTest {
    private static Profile profile;

    @BeforeAll
    static void analyze() {
        try (Model model = Model.open(Path.of("examples/tiny-qwen3"))) {
            profile = Profiles.analyze(model, new AnalysisOptions(Quantizer.MSE, Format.allAffine(), false, Optional.empty(), false, false, false, 2), "test", _ -> { });
        }
    }

    private static double predicted(int bits, int groupSize) {
        return Planner.plan(profile, PlanRequest.defaults().withPolicy(Policy.UNIFORM, bits, groupSize)).solver().objective();
    }

    @Test
    void isRightToWithinTheStatedFactor() {
        double[][] measured = {{3, 32, 0.0740}, {4, 64, 0.0233}, {5, 64, 0.00571}, {6, 64, 0.00143}};
        for (double[] m : measured) {
            double ratio = predicted((int) m[0], (int) m[1]) / m[2];
            assertTrue(ratio > 1 / Damage.TRUST && ratio < Damage.TRUST, m[0] + " bits: " + ratio);
        }
    }

    /// The formula of docs/quality.md, with its factors, on what the profile holds.
    @Test
    void isTheDocumentedSum() {
        Map<String, Double> factors = Map.of("embedding", 2.0, "head", 2.0, "down", 1.4, "k", 0.56, "q", 0.5, "v", 0.44, "o", 0.33);
        double all = profile.modules().stream().mapToDouble(m -> m.tensors().getFirst().sensitivity()).sum();
        double weights = profile.modules().stream().mapToDouble(m -> m.shape().elements()).sum();
        double expected = 0;
        for (ModuleProfile m : profile.modules()) {
            double error = m.curve().stream().filter(p -> p.format().equals(Format.affine(4, 64))).findFirst().orElseThrow().relativeError();
            expected += 0.4 * all * factors.getOrDefault(m.kind().label(), 1.0) * Math.pow(m.tensors().getFirst().sensitivity() / all, 0.7) * Math.pow(m.shape().elements() / weights, 0.3) * error;
        }
        assertEquals(expected, predicted(4, 64), 1e-9 * expected);
    }

    @Test
    void theSmallestPlanForADivergence() {
        double wanted = 0.01;
        Manifest plan = Planner.plan(profile, PlanRequest.defaults().within(new Limit.Divergence(wanted)));
        assertTrue(plan.solver().objective() <= wanted);
        Manifest smaller = Planner.plan(profile, PlanRequest.ofBudget(plan.sizes().files() - 1));
        assertTrue(smaller.solver().objective() > wanted, "one byte less predicts more");
        assertEquals(plan.modules(), Planner.plan(profile, PlanRequest.of(plan)).modules(), "the manifest tells how it was planned");
    }

    @Test
    void requestsThatMakeNoSense() {
        assertThrows(UsageException.class, () -> PlanRequest.defaults().within(new Limit.Divergence(0)));
        assertThrows(UsageException.class, () -> PlanRequest.defaults().withPolicy(Policy.MINT, 4, 64).within(new Limit.Divergence(0.1)));
    }
}
