package ram.numeric;

import jdk.incubator.vector.VectorShape;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/// Decides once whether the Vector API is used and how wide. The width changes speed only, never a bit of a result.
///
/// The system property `ram.vector` forces 128, 256 or 512 bits, or with 0 plain Java.
public final class VectorSupport {
    private static final Logger LOG = LoggerFactory.getLogger(VectorSupport.class);
    private static final String PROPERTY = "ram.vector";
    private static final int BITS = decide();

    private VectorSupport() {
    }

    /// Width of the vectors in bits; 0 when kernels are to run in plain Java.
    public static int bits() {
        return BITS;
    }

    private static int decide() {
        String forced = System.getProperty(PROPERTY, "");
        boolean present = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
        String reason;
        switch (forced) {
            case "0" -> reason = "-D" + PROPERTY + "=0 asks for it";
            case "", "128", "256", "512" -> {
                if (!present) {
                    reason = "the JVM was started without --add-modules jdk.incubator.vector";
                } else if (!forced.isEmpty()) {
                    return Integer.parseInt(forced);
                } else {
                    int bits = Math.min(Preferred.bits(), 512);
                    // 128 bits on x86 means that AVX is missing or off, where the Vector API is slower than plain Java
                    String arch = System.getProperty("os.arch", "");
                    boolean x86 = arch.equals("amd64") || arch.equals("x86_64");
                    if (bits >= (x86 ? 256 : 128)) {
                        return bits;
                    }
                    reason = "the processor's vectors have only " + bits + " bits";
                }
            }
            default -> throw new IllegalArgumentException("-D" + PROPERTY + "=" + forced + " is none of 0, 128, 256, 512");
        }
        LOG.atLevel(forced.isEmpty() ? Level.WARN : Level.INFO).log("Computing in plain Java, which is several times slower: {}.", reason);
        return 0;
    }

    /// Apart, so that it is loaded only when the module is there.
    private static final class Preferred {
        static int bits() {
            return VectorShape.preferredShape().vectorBitSize();
        }
    }
}
