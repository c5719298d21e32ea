package ram.journal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.UsageException;

class JournalTest {
    @TempDir
    Path folder;

    private Path file;

    @BeforeEach
    void twoSteps() {
        file = folder.resolve("journal");
        try (Journal journal = Journal.open(file, "a")) {
            assertFalse(journal.startedOver());
            journal.append("one", Set.of());
            journal.append("two", Set.of());
        }
    }

    private List<String> earlier() {
        try (Journal journal = Journal.open(file, "a")) {
            return journal.earlier();
        }
    }

    @Test
    void goesOn() {
        assertEquals(List.of("one", "two"), earlier());
        try (Journal journal = Journal.open(file, "a")) {
            journal.append("three", Set.of());
        }
        assertEquals(List.of("one", "two", "three"), earlier());
    }

    @Test
    void anotherFingerprintStartsOver() {
        try (Journal journal = Journal.open(file, "b")) {
            assertTrue(journal.startedOver());
            assertEquals(List.of(), journal.earlier());
        }
        assertEquals(List.of(), earlier());
    }

    @Test
    void cutAnywhereItKeepsWholeLinesOnly() throws IOException {
        byte[] whole = Files.readAllBytes(file);
        for (int length = 0; length <= whole.length; length++) {
            Files.write(file, Arrays.copyOf(whole, length));
            List<String> expected = List.of("one", "two").subList(0, Math.max(0, (int) new String(whole, 0, length).lines().count() - 1 - (length < whole.length && length > 0 && whole[length - 1] != '\n' ? 1 : 0)));
            assertEquals(expected, earlier(), "cut to " + length + " bytes");
        }
    }

    @Test
    void nothingCountsFromAFlippedBitOn() throws IOException {
        byte[] whole = Files.readAllBytes(file);
        whole[whole.length - 7] ^= 4;
        Files.write(file, whole);
        assertEquals(List.of("one"), earlier());
    }

    @Test
    void aStepMayEndInABlank() {
        try (Journal journal = Journal.open(file, "a")) {
            journal.append("three ", Set.of());
            journal.append("four", Set.of());
        }
        assertEquals(List.of("one", "two", "three ", "four"), earlier());
    }

    @Test
    void whatLooksLikeAJournalAtFirstIsNotTouched() throws IOException {
        byte[] checksums = "d202ef8d model-00001.safetensors\n".getBytes(StandardCharsets.UTF_8);
        Files.write(file, checksums);
        assertTrue(assertThrows(UsageException.class, () -> Journal.open(file, "a")).getMessage().contains("not a resume file"));
        assertThrows(UsageException.class, () -> Journal.remove(file));
        assertArrayEquals(checksums, Files.readAllBytes(file));
        Path missing = folder.resolve("missing");
        Journal.remove(missing);
        assertFalse(Files.exists(missing));
    }

    @Test
    void whatIsTooLargeIsNotRead() throws IOException {
        try (RandomAccessFile large = new RandomAccessFile(file.toFile(), "rw")) {
            large.setLength(3_000_000_000L);
        }
        assertEquals(file + " is too large for a resume file of ram; remove it or give --fresh", assertThrows(UsageException.class, () -> Journal.open(file, "a")).getMessage());
        assertEquals(3_000_000_000L, Files.size(file));
    }

    @Test
    void oneRunAtATime() {
        try (Journal _ = Journal.open(file, "a")) {
            assertTrue(assertThrows(UsageException.class, () -> Journal.open(file, "a")).getMessage().contains("in use by another run"));
        }
    }

    @Test
    void dataThatCannotBeForcedIsNotRecorded() throws IOException {
        Path data = folder.resolve("data");
        Files.write(data, new byte[8], StandardOpenOption.CREATE_NEW);
        try (Journal journal = Journal.open(file, "a")) {
            journal.append("three", Set.of(data));
        }
        try (Journal journal = Journal.open(file, "a")) {
            journal.append("four", Set.of(folder.resolve("gone")));
        }
        assertEquals(List.of("one", "two", "three"), earlier());
    }

    @Test
    void saysWhetherItHoldsSteps() {
        Journal empty = Journal.open(folder.resolve("empty"), "a");
        empty.close();
        assertFalse(empty.holdsSteps(), "it has its first line only");
        Journal unforced = Journal.open(folder.resolve("unforced"), "a");
        unforced.append("one", Set.of(folder.resolve("gone")));
        unforced.close();
        assertFalse(unforced.holdsSteps(), "what it speaks of is not on disk");
        Journal filled = Journal.open(folder.resolve("filled"), "a");
        filled.append("one", Set.of());
        filled.close();
        assertTrue(filled.holdsSteps());
        Journal again = Journal.open(folder.resolve("filled"), "a");
        assertTrue(again.holdsSteps());
        again.delete();
        again.close();
        assertFalse(again.holdsSteps());
        Journal other = Journal.open(file, "b");
        other.close();
        assertFalse(other.holdsSteps(), "the steps were of another run");
    }
}
