package ram.format;

import java.lang.foreign.MemorySegment;
import java.util.Random;
import ram.numeric.Decoder;
import ram.numeric.Kernels;
import ram.numeric.VectorSupport;
import ram.safetensors.DType;

/// Run by hand: nanoseconds per weight on one thread, best of several rounds.
final class CoderBenchmark {
    private static final int ROWS = 128;
    private static final int COLUMNS = 4096;

    private CoderBenchmark() {
    }

    public static void main(String[] args) {
        System.out.println(VectorSupport.bits() + " bits");
        Random random = new Random(1);
        float[] values = new float[ROWS * COLUMNS];
        for (int i = 0; i < values.length; i++) {
            values[i] = Decoder.round(DType.BF16, (float) (0.02 * random.nextGaussian()));
        }
        byte[] codes = new byte[values.length];
        byte[] scales = new byte[values.length / 8];
        byte[] biases = new byte[values.length / 8];
        float[] out = new float[values.length];
        double[] sums = new double[ROWS];
        MemorySegment c = MemorySegment.ofArray(codes);
        MemorySegment s = MemorySegment.ofArray(scales);
        MemorySegment b = MemorySegment.ofArray(biases);
        for (String name : args.length > 0 ? args : new String[] {"4:64", "2:32", "3:64", "8:128", "mxfp4"}) {
            Format format = Format.parse(name);
            for (Quantizer quantizer : Quantizer.values()) {
                BlockCoder coder = new BlockCoder(format, quantizer, DType.BF16);
                time(name + " " + quantizer + " encode", values.length, () -> coder.encode(values, ROWS, COLUMNS, null, c, s, b));
                time(name + " " + quantizer + " errors", values.length, () -> coder.errors(values, ROWS, COLUMNS, null, sums, null));
            }
            BlockCoder coder = new BlockCoder(format, Quantizer.RTN, DType.BF16);
            time(name + " decode", values.length, () -> coder.decode(c, s, b, ROWS, COLUMNS, out));
        }
        Batch batch = new Batch(64);
        time("load", values.length, () -> {
            for (int i = 0; i < values.length; i += 32 * 64) {
                batch.load(values, i, 32);
            }
        });
        MemorySegment wide = java.lang.foreign.Arena.ofAuto().allocate(values.length * 2L);
        time("bf16 encode", values.length, () -> Decoder.encode(DType.BF16, values, 0, values.length, wide, 0));
        time("bf16 decode", values.length, () -> Decoder.decode(DType.BF16, wide, 0, out, 0, values.length));
        time("f16 decode", values.length, () -> Decoder.decode(DType.F16, wide, 0, out, 0, values.length));
        time("sum of squares", values.length, () -> sums[0] += Kernels.sumOfSquares(values, 0, values.length));
        int n = 512;
        float[] product = new float[n * n];
        time("matmul, per multiply-add", (long) n * n * 1024, () -> Kernels.multiplyAdd(n, n, 1024, values, values, product));
    }

    private static void time(String what, long units, Runnable work) {
        double best = Double.POSITIVE_INFINITY;
        long start = System.nanoTime();
        while (System.nanoTime() - start < 1_500_000_000L) {
            long t = System.nanoTime();
            work.run();
            best = Math.min(best, (System.nanoTime() - t) / (double) units);
        }
        System.out.printf("%-26s %7.3f ns%n", what, best);
    }
}
