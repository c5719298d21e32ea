package ram.safetensors;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class MappedPagesTest {
    @Test
    void nothingIsReleasedWhereItIsUnknownHowMuchIsResident() {
        assertFalse(MappedPages.isOver(-1, 0, 16 << 20));
    }

    @Test
    void whatTheProgramHadBeforeDoesNotCount() {
        assertFalse(MappedPages.isOver(100 << 20, 90 << 20, 16 << 20));
        assertTrue(MappedPages.isOver(107 << 20, 90 << 20, 16 << 20));
    }
}
