package ram.numeric;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class DecoderTest {
    @Test
    void bfloat16RoundsToNearestEven() {
        assertEquals((short) 0x3f80, Decoder.toBf16(1.0f));
        assertEquals((short) 0x3f80, Decoder.toBf16(Float.intBitsToFloat(0x3f808000)));
        assertEquals((short) 0x3f82, Decoder.toBf16(Float.intBitsToFloat(0x3f818000)));
        assertEquals((short) 0x3f81, Decoder.toBf16(Float.intBitsToFloat(0x3f808001)));
    }
}
