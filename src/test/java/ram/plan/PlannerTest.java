package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import ram.UsageException;
import ram.format.Format;
import ram.layout.Kind;
import ram.plan.Manifest.ModulePlan;
import ram.plan.Manifest.Why;
import ram.profile.Profile;
import ram.safetensors.ShardPlan;

class PlannerTest {
    private static final Profile LLAMA = Profiles.llama(8, 256, false, 1);
    private static final Profile MIXTURE = Profiles.mixture(4, 128, 8, 2);

    private static PlanRequest safeBudget(Profile p, double share) {
        Manifest.Sizes s = Planner.plan(p, PlanRequest.defaults().withPolicy(Policy.UNIFORM, 8, 64)).sizes();
        return PlanRequest.ofBudget((long) (s.smallestSafe() + share * (s.dense() - s.smallestSafe())));
    }

    private static ModulePlan module(Manifest m, String path) {
        return m.modules().stream().filter(x -> x.path().equals(path)).findFirst().orElseThrow();
    }

    @Test
    void neverExceedsTheBudgetAndNeverPredictsMoreDamageForMore() {
        for (Profile p : List.of(LLAMA, MIXTURE)) {
            double last = Double.POSITIVE_INFINITY;
            for (double share = 0; share <= 1.05; share += 0.0437) {
                PlanRequest request = safeBudget(p, share);
                Manifest m = Planner.plan(p, request);
                ShardPlan files = OutputSize.of(p, m.modules().stream().map(ModulePlan::format).toList());
                assertEquals(files.totalBytes(), m.sizes().files());
                assertTrue(m.sizes().files() <= request.limit().budget().getAsLong());
                assertTrue(m.solver().proven());
                assertTrue(m.solver().objective() <= last);
                assertEquals(m.solver().objective(), m.modules().stream().mapToDouble(ModulePlan::damage).sum(), 1e-12);
                last = m.solver().objective();
            }
            assertEquals(0, last);
        }
    }

    @Test
    void theSmallestSizeIsABudgetThatCanBeMetAndOneByteLessIsNot() {
        for (boolean unsafe : new boolean[] {false, true}) {
            PlanRequest request = safeBudget(MIXTURE, 0.5).withAllowUnsafe(unsafe);
            Manifest.Sizes sizes = Planner.plan(MIXTURE, request).sizes();
            long smallest = unsafe ? sizes.smallestUnsafe() : sizes.smallestSafe();
            assertTrue(sizes.smallestUnsafe() < sizes.smallestSafe());
            assertEquals(smallest, Planner.plan(MIXTURE, request.withBudget(smallest)).sizes().files());
            BudgetException e = assertThrows(BudgetException.class, () -> Planner.plan(MIXTURE, request.withBudget(smallest - 1)));
            assertEquals(sizes.smallestSafe(), e.smallestSafe());
            assertEquals(sizes.smallestUnsafe(), e.smallestUnsafe());
            assertTrue(e.getMessage().contains(String.valueOf(sizes.smallestSafe())));
        }
    }

    @Test
    void floorsHold() {
        Manifest m = Planner.plan(MIXTURE, safeBudget(MIXTURE, 0));
        for (ModulePlan p : m.modules()) {
            if (p.kind() == Kind.ROUTER) {
                assertEquals(8, p.format().bits());
                assertEquals(Why.FLOOR, p.why());
            }
            assertTrue(p.sqnrDb() >= 9);
        }
        assertEquals(Why.CANNOT_QUANTIZE, module(m, "model.conv").why());
        assertTrue(module(m, "model.conv").format().isDense());
        Manifest unsafe = Planner.plan(MIXTURE, PlanRequest.ofBudget(m.sizes().smallestUnsafe()).withAllowUnsafe(true));
        assertEquals(2, module(unsafe, "lm_head").format().bits());
        assertEquals(8, module(unsafe, "model.layers.0.mlp.gate").format().bits());
        assertTrue(unsafe.notes().stream().anyMatch(n -> n.contains("below the noise floor")));
    }

    @Test
    void theLastRuleThatMatchesCounts() {
        PlanRequest request = safeBudget(LLAMA, 0.6).withRules(List.of(FormatRule.set("layers\\.[01]\\.=8:32"), FormatRule.keep("layers\\.1\\..*down"), FormatRule.set("v_proj$=5:64")));
        Manifest m = Planner.plan(LLAMA, request);
        assertEquals(Format.affine(8, 32), module(m, "model.layers.0.mlp.up_proj").format());
        assertEquals(Format.DENSE, module(m, "model.layers.1.mlp.down_proj").format());
        assertEquals(Format.affine(5, 64), module(m, "model.layers.0.self_attn.v_proj").format());
        assertEquals(Why.OVERRIDE, module(m, "model.layers.7.self_attn.v_proj").why());
        assertEquals(m, Planner.plan(LLAMA, PlanRequest.of(m)));
        assertTrue(module(m, "model.layers.7.self_attn.v_proj").reason().contains("v_proj$=5:64"));
    }

    @Test
    void refusesRulesThatMakeNoSense() {
        for (FormatRule rule : List.of(FormatRule.keep("nowhere"), FormatRule.set("down_proj=4:128"), FormatRule.set("mlp.gate$=4:64"), FormatRule.set("conv=4:64"), FormatRule.set("q_proj=2:128"))) {
            UsageException e = assertThrows(UsageException.class, () -> Planner.plan(MIXTURE, safeBudget(MIXTURE, 0.5).withRules(List.of(rule))));
            assertTrue(e.getMessage().contains(rule.option()), e.getMessage());
        }
        for (String text : List.of("a", "=4:64", "a=7:64", "a=", "(=4:64")) {
            assertThrows(UsageException.class, () -> FormatRule.set(text));
        }
    }

    @Test
    void bitsPerWeightCountTensorDataOverAllWeights() {
        for (double bpw : new double[] {3.6, 4.5, 6.001}) {
            Manifest m = Planner.plan(LLAMA, PlanRequest.defaults().within(new Limit.BitsPerWeight(bpw)));
            assertTrue(m.sizes().bitsPerWeight() <= bpw && m.sizes().bitsPerWeight() > bpw - 0.01, () -> "" + m.sizes());
            assertTrue(m.solver().proven());
        }
        assertThrows(BudgetException.class, () -> Planner.plan(LLAMA, PlanRequest.defaults().within(new Limit.BitsPerWeight(2.2))));
        assertThrows(UsageException.class, () -> Planner.plan(LLAMA, PlanRequest.defaults()));
    }

    @Test
    void otherModesAreOfferedOnlyOnRequest() {
        PlanRequest request = safeBudget(LLAMA, 0.1);
        assertTrue(Planner.plan(LLAMA, request).modules().stream().allMatch(m -> m.format().mode() == Format.Mode.AFFINE || m.format().isDense()));
        Manifest only = Planner.plan(LLAMA, PlanRequest.ofBudget(request.limit().budget().getAsLong() * 6 / 5).withModes(EnumSet.of(Format.Mode.MXFP4, Format.Mode.MXFP8)));
        Set<Format.Mode> used = only.modules().stream().map(m -> m.format().mode()).collect(Collectors.toSet());
        assertTrue(used.contains(Format.Mode.MXFP4) && !used.contains(Format.Mode.AFFINE));
    }

    @Test
    void everySourceTensorAppearsOnce() {
        Manifest m = Planner.plan(MIXTURE, safeBudget(MIXTURE, 0.4));
        long expected = MIXTURE.modules().stream().mapToLong(x -> x.sources().size()).sum() + MIXTURE.plain().size() + MIXTURE.dropped().size();
        assertEquals(expected, m.tensors().size());
        assertEquals(expected, m.tensors().stream().map(Manifest.SourceTensor::name).distinct().count());
        assertEquals(Manifest.Fate.DROPPED, m.tensors().stream().filter(t -> t.name().contains("inv_freq")).findFirst().orElseThrow().fate());
        assertEquals(List.of("model.layers.3.mlp.switch_mlp.up_proj"),
                m.tensors().stream().filter(t -> t.name().equals("model.layers.3.mlp.experts.5.up_proj.weight")).findFirst().orElseThrow().targets());
    }

    @Test
    void alternativesSurroundTheChoice() {
        Manifest m = Planner.plan(LLAMA, safeBudget(LLAMA, 0.3));
        for (ModulePlan p : m.modules()) {
            p.better().ifPresent(a -> {
                assertTrue(a.bytes() > p.bytes() && a.damage() < p.damage());
                assertTrue(a.price() <= m.solver().price() * 1.5);
            });
            p.cheaper().ifPresent(a -> assertTrue(a.bytes() < p.bytes() && a.price() >= m.solver().price() / 1.5));
        }
        assertFalse(m.modules().stream().allMatch(p -> p.better().isEmpty()));
    }
}
