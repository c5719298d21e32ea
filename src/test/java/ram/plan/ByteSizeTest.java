package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ByteSizeTest {
    @ParameterizedTest
    @CsvSource({"16GB,16000000000", "16GiB,17179869184", "1.5 kB,1500", "0.5KiB,512", "12345,12345", "7b,7", "2mib,2097152", "3MB,3000000",
            "0.0000000019GB,1", "9223372036854775807,9223372036854775807", "1TiB,1099511627776"})
    void readsSizes(String text, long bytes) {
        assertEquals(bytes, ByteSize.parse(text));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "GB", "-1GB", "1e9", "16 G B", "16G", "16Gb/s", "0x10", "1,5GB", "1.GB", ".5GB", "9223372036854775808", "99999999TB", "NaN", "٣GB"})
    void refusesAnythingElse(String text) {
        String message = assertThrows(IllegalArgumentException.class, () -> ByteSize.parse(text)).getMessage();
        assertTrue(message.contains("GiB") && message.contains("'" + text + "'"));
    }

    @ParameterizedTest
    @CsvSource({"0,0 B", "999,999 B", "1000,1.000 kB", "1500,1.500 kB", "999999,999.999 kB", "999999499,999.999 MB", "999999500,1.000 GB", "16000000000,16.000 GB",
            "9223372036854775807,9.223 EB"})
    void formatsSizes(long bytes, String text) {
        assertEquals(text, ByteSize.format(bytes));
    }

    @Test
    void refusesNegativeSizes() {
        assertThrows(IllegalArgumentException.class, () -> ByteSize.format(-1));
    }

    @Test
    void exactSizes() {
        assertEquals("1 byte", ByteSize.exact(1));
        assertEquals("812 bytes", ByteSize.exact(812));
        assertEquals("1.000 kB (1000 bytes)", ByteSize.exact(1000));
        assertThrows(IllegalArgumentException.class, () -> ByteSize.exact(-1));
    }
}
