package ram.format;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import ram.Jvm;
import ram.numeric.Kernels;
import ram.numeric.VectorSupport;
import ram.safetensors.DType;

/// JVMs with vectors of every width, with plain Java, and without the Vector API module compute the same bits.
class WidthTest {
    /// Prints the width in use and a digest of many results.
    static final class Main {
        private Main() {
        }

        public static void main(String[] args) {
            System.out.println(VectorSupport.bits() + " " + digest());
        }
    }

    static String digest() {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            Random random = new Random(9);
            float[] values = new float[4 * 384];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian();
            }
            byte[][] stores = {new byte[values.length], new byte[values.length], new byte[values.length]};
            for (Format format : List.of(Format.affine(2, 32), Format.affine(3, 64), Format.affine(4, 128), Format.affine(5, 32), Format.affine(8, 64))) {
                for (DType stored : List.of(DType.F16, DType.BF16)) {
                    new BlockCoder(format, Quantizer.MSE, stored).encode(values, 4, 384, null,
                            MemorySegment.ofArray(stores[0]), MemorySegment.ofArray(stores[1]), MemorySegment.ofArray(stores[2]));
                    for (byte[] store : stores) {
                        digest.update(store);
                    }
                }
            }
            double[] sums = new double[3];
            Kernels.centralSums(values, 1, 1500, 0.1f, 1, sums);
            float[] product = new float[30 * 30];
            Kernels.multiplyAdd(30, 30, 50, values, values, product);
            double all = Kernels.squaredRanges(values, 1, 1501) + Kernels.sum(values, 1, 1501) + Kernels.dot(values, 0, values, 3, 1500) + Kernels.sum(product, 0, 900);
            digest.update((all + " " + sums[0] + " " + sums[1] + " " + sums[2]).getBytes(StandardCharsets.US_ASCII));
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    private static String start(List<String> options) throws IOException, InterruptedException {
        List<String> all = new ArrayList<>(List.of("-Xshare:auto", "-XX:TieredStopAtLevel=1"));
        all.addAll(options);
        Process process = new ProcessBuilder(Jvm.command(all, Main.class)).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), out);
        return out.lines().reduce((first, last) -> last).orElse("");
    }

    @Test
    void sameBitsAtEveryWidth() throws IOException, InterruptedException {
        String here = digest();
        assertEquals("0 " + here, start(List.of()));
        assertEquals("0 " + here, start(Jvm.withVectors("-Dram.vector=0")));
        for (String bits : List.of("128", "256", "512")) {
            assertEquals(bits + " " + here, start(Jvm.withVectors("-Dram.vector=" + bits)));
        }
    }
}
