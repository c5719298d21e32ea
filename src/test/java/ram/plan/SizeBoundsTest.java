package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.api.Test;
import ram.UsageException;
import ram.format.Format;
import ram.layout.Architecture;
import ram.layout.Kind;
import ram.layout.Layout;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.profile.Profile;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.tensor.TensorView;

class SizeBoundsTest {
    /// A tensor that must not be read.
    private record Unread(DType dtype, Shape shape) implements TensorView {
        @Override
        public void read(long first, MemorySegment target) {
            throw new AssertionError("weights were read");
        }

        @Override
        public List<String> sources() {
            return List.of();
        }
    }

    private static Layout layout(Profile p) {
        return new Layout(p.architecture(), p.modules().stream().map(m -> new Module(m.path(), m.kind(), m.layer(), new Unread(m.dtype(), m.shape()),
                List.of(new Module.Part(m.path(), 0, m.shape().rows())), m.preset(), m.mustStayDense(), m.expert(), m.sharedExpert())).toList(),
                p.plain().stream().map(t -> new Layout.Plain(t.name(), new Unread(t.dtype(), t.shape()), t.why(), false)).toList(), List.of(), p.dropped(), new ObjectMapper().createObjectNode());
    }

    @Test
    void headersAloneGiveTheSizesThatThePlannerFinds() {
        for (Profile p : List.of(Profiles.llama(4, 128, false, 1), Profiles.mixture(2, 128, 4, 2))) {
            PlanRequest request = PlanRequest.defaults().withRules(List.of(FormatRule.keep("q_proj")));
            SizeBounds bounds = SizeBounds.of(layout(p), new OutputTypes(DType.BF16), request);
            Manifest.Sizes sizes = Planner.plan(p, request.withBudget(bounds.largest())).sizes();
            assertEquals(sizes.smallestUnsafe(), bounds.smallest());
            assertEquals(sizes.dense(), bounds.largest());
            assertEquals(sizes.parameters(), bounds.parameters());
            assertTrue(SizeBounds.of(layout(p), new OutputTypes(DType.F32), request).largest() > 1.9 * bounds.largest());
            bounds.require(new Limit.Budget(bounds.smallest()));
            assertEquals(bounds.smallest(), assertThrows(BudgetException.class, () -> bounds.require(new Limit.Budget(bounds.smallest() - 1))).smallestUnsafe());
        }
    }

    @Test
    void bitsPerWeightBelowTheSmallestSizeAreRefused() {
        SizeBounds bounds = SizeBounds.of(layout(Profiles.llama(4, 128, false, 1)), new OutputTypes(DType.BF16), PlanRequest.defaults());
        double smallest = 8.0 * bounds.smallestData() / bounds.parameters();
        bounds.require(new Limit.BitsPerWeight(smallest));
        bounds.require(Limit.NONE);
        assertTrue(assertThrows(BudgetException.class, () -> bounds.require(new Limit.BitsPerWeight(smallest * 0.99))).getMessage().contains(" bits per weight are below the smallest possible "));
    }

    @Test
    void rulesAreCheckedBeforeWeightsAreRead() {
        Layout layout = layout(Profiles.mixture(2, 128, 4, 2));
        for (FormatRule rule : List.of(FormatRule.keep("nowhere"), FormatRule.set("mlp.gate$=4:64"))) {
            assertThrows(UsageException.class, () -> SizeBounds.of(layout, new OutputTypes(DType.BF16), PlanRequest.defaults().withRules(List.of(rule))));
        }
        assertThrows(IllegalArgumentException.class, () -> Format.affine(7, 64));
    }

    @Test
    void largeModelsAreCutIntoFilesWithinTheBudget() {
        Profiles builder = new Profiles(7);
        for (int i = 0; i < 12; i++) {
            builder.module("model.layers." + i + ".mlp.up_proj", Kind.UP, i, 60_000, 16384).module("model.layers." + i + ".mlp.down_proj", Kind.DOWN, i, 16384, 32768);
        }
        Profile p = builder.build(Architecture.Structure.DENSE, 12);
        Frontier f = Frontier.solve(p, PlanRequest.defaults(), 40);
        for (Frontier.Point point : f.points()) {
            Manifest m = Planner.plan(p, PlanRequest.ofBudget(point.budget()));
            assertTrue(m.sizes().files() <= point.budget());
            assertEquals(m.sizes().files(), point.bytes());
            assertEquals(m.solver().objective(), point.damage());
        }
        assertTrue(Planner.plan(p, PlanRequest.ofBudget(f.points().getLast().budget())).sizes().fileCount() > 5);
    }
}
