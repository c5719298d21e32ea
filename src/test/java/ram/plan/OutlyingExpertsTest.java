package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import ram.format.Format;
import ram.layout.Architecture;
import ram.layout.Kind;
import ram.profile.CurvePoint;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;
import ram.safetensors.DType;
import ram.safetensors.Shape;

class OutlyingExpertsTest {
    private static Profile stack(double... sensitivities) {
        List<CurvePoint> curve = List.of(new CurvePoint(Format.affine(4, 64), 0.01, 0));
        List<TensorProfile> experts = new ArrayList<>();
        for (int e = 0; e < sensitivities.length; e++) {
            experts.add(new TensorProfile("experts." + e, 64, 64, new TreeMap<>(), sensitivities[e], new TreeMap<>(), curve));
        }
        ModuleProfile module = new ModuleProfile("switch_mlp.down_proj", Kind.DOWN, 0, Shape.of(sensitivities.length, 64, 64), DType.BF16, true, false, Optional.empty(),
                Optional.empty(), "propagated", curve, experts, experts.stream().map(TensorProfile::name).toList());
        return new Profile("test", List.of(), new Architecture("m", "m", true, Architecture.Structure.MIXTURE_OF_EXPERTS, true, List.of()), 1, new TreeMap<>(), List.of(module),
                List.of(), List.of(), List.of());
    }

    @Test
    void namesTheExpertThatStandsOut() {
        assertEquals(List.of("experts.4 stands out: an error of the same format does 9.1 times the damage of the median expert of its stack."),
                OutlyingExperts.of(stack(1, 1.1, 0.9, 1.2, 10, 1, 1.15, 1.1)));
    }

    @Test
    void aWideSpreadIsNoOutlier() {
        assertEquals(List.of(), OutlyingExperts.of(stack(0.1, 0.3, 1, 3, 10, 0.5, 2, 5)));
        assertEquals(List.of(), OutlyingExperts.of(stack(1, 1.1, 0.9, 1.2)));
    }
}
