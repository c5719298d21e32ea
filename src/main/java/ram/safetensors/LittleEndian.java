package ram.safetensors;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/// The layouts in which checkpoint data is read and written. Unaligned, because safetensors promises no alignment.
public final class LittleEndian {
    /// One byte.
    public static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
    /// Two bytes, anywhere.
    public static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /// Four bytes, anywhere.
    public static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /// Eight bytes, anywhere.
    public static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /// IEEE 754 binary32, anywhere.
    public static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    /// IEEE 754 binary64, anywhere.
    public static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private LittleEndian() {
    }
}
