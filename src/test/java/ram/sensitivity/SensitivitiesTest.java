package ram.sensitivity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

class SensitivitiesTest {
    private static Sensitivities.Entry known(int layer, long parameters, double s) {
        return new Sensitivities.Entry(layer, false, parameters, OptionalDouble.of(s));
    }

    private static Sensitivities.Entry unknown(int layer, long parameters) {
        return new Sensitivities.Entry(layer, false, parameters, OptionalDouble.empty());
    }

    @Test
    void unknownOnesBorrowPerWeightFromTheirLayerThenFromTheModel() {
        assertArrayEquals(new double[] {10, 40, 90, 60, 5, 5 * 2.5}, Sensitivities.complete(
                List.of(known(0, 10, 10), known(0, 20, 40), known(0, 30, 90), unknown(0, 30), known(1, 1, 5), unknown(2, 5))), 1e-12);
    }

    @Test
    void withoutAnyKnownOneEveryWeightCountsTheSame() {
        assertArrayEquals(new double[] {7, 9}, Sensitivities.complete(List.of(unknown(0, 7), unknown(3, 9))), 0);
    }

    @Test
    void expertsAndMatricesThatSeeEveryTokenDoNotSpeakForEachOther() {
        Sensitivities.Entry expert = new Sensitivities.Entry(0, true, 10, OptionalDouble.of(1));
        Sensitivities.Entry unknownExpert = new Sensitivities.Entry(0, true, 30, OptionalDouble.empty());
        assertArrayEquals(new double[] {1, 1, 3, 40, 80},
                Sensitivities.complete(List.of(expert, expert, unknownExpert, known(1, 10, 40), unknown(0, 20))), 1e-12);
        assertArrayEquals(new double[] {1, 2}, Sensitivities.complete(List.of(expert, unknown(0, 20))), 1e-12);
    }
}
