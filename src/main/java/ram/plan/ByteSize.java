package ram.plan;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ram.Count;

/// Sizes in bytes as people write them. Decimal units are powers of 1000, binary ones (`GiB`) of 1024.
public final class ByteSize {
    private static final Pattern SIZE = Pattern.compile("(\\d{1,19}(?:\\.\\d{1,18})?)\\s*([a-z]*)");
    private static final Map<String, Long> UNITS = Map.of("", 1L, "b", 1L, "kb", 1_000L, "mb", 1_000_000L, "gb", 1_000_000_000L, "tb", 1_000_000_000_000L,
            "kib", 1L << 10, "mib", 1L << 20, "gib", 1L << 30, "tib", 1L << 40);
    private static final String[] DECIMAL = {"kB", "MB", "GB", "TB", "PB", "EB"};

    private ByteSize() {
    }

    /// Reads `16GB`, `15.5 GiB`, `800MB` or plain bytes; units in any case, a fraction of a byte is cut off.
    ///
    /// @throws IllegalArgumentException for anything else; the message says what is allowed
    public static long parse(String text) {
        Matcher m = SIZE.matcher(text.strip().toLowerCase(Locale.ROOT));
        if (m.matches() && UNITS.containsKey(m.group(2))) {
            BigDecimal bytes = new BigDecimal(m.group(1)).multiply(BigDecimal.valueOf(UNITS.get(m.group(2)))).setScale(0, RoundingMode.DOWN);
            if (bytes.compareTo(BigDecimal.valueOf(Long.MAX_VALUE)) <= 0) {
                return bytes.longValueExact();
            }
        }
        throw new IllegalArgumentException("'" + text + "' is not a size; write a number of bytes, or a number with kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024), such as 16GB or 15.5GiB");
    }

    /// To be read and to the byte, such as `16.000 GB (16000000000 bytes)` or `812 bytes`.
    ///
    /// @throws IllegalArgumentException when negative
    public static String exact(long bytes) {
        return bytes >= 0 && bytes < 1000 ? Count.of(bytes, "byte") : format(bytes) + " (" + bytes + " bytes)";
    }

    /// In decimal units with three decimals or fewer, such as `16.000 GB`, `812 B`; half rounds up. The unit is chosen after
    /// rounding, so that 999,999,999 bytes are `1.000 GB` and not `1000.000 MB`.
    ///
    /// @throws IllegalArgumentException when negative
    public static String format(long bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException("negative size " + bytes);
        }
        if (bytes < 1000) {
            return bytes + " B";
        }
        BigDecimal value = BigDecimal.valueOf(bytes);
        for (String unit : DECIMAL) {
            value = value.movePointLeft(3);
            BigDecimal rounded = value.setScale(3, RoundingMode.HALF_UP);
            if (rounded.compareTo(BigDecimal.valueOf(1000)) < 0) {
                return rounded + " " + unit;
            }
        }
        throw new AssertionError("a long has less than 10 EB");
    }
}
