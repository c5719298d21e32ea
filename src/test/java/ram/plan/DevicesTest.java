package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class DevicesTest {
    private static final double GIB = 1L << 30;

    @Test
    void whatTheRuleLeaves() {
        assertEquals(8 * 2 / 3.0 - 1, Devices.weightBytes(8) / GIB, 1e-6);
        assertEquals(16 * 2 / 3.0 * 0.9, Devices.weightBytes(16) / GIB, 1e-6);
        assertEquals(48 * 0.75 * 0.9, Devices.weightBytes(48) / GIB, 1e-6);
        assertEquals(3, Devices.phoneWeightBytes(8) / GIB, 1e-6);
        assertEquals(0, Devices.weightBytes(1));
        for (int gib = 1; gib < 600; gib++) {
            assertTrue(Devices.weightBytes(gib) <= Devices.weightBytes(gib + 1));
        }
    }

    @Test
    void theSmallestMachine() {
        assertEquals(OptionalInt.of(48), Devices.smallestFor(Devices.weightBytes(48)));
        assertEquals(OptionalInt.of(64), Devices.smallestFor(Devices.weightBytes(48) + 1));
        assertEquals(OptionalInt.empty(), Devices.smallestFor(1L << 40));
    }
}
