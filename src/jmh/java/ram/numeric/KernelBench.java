package ram.numeric;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import ram.safetensors.DType;

/// Nanoseconds per element of conversions and reductions, and per multiply-add of the matrix product.
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@OperationsPerInvocation(KernelBench.COUNT)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 3, time = 1)
@Fork(value = 1, jvmArgsAppend = {"--add-modules", "jdk.incubator.vector"})
public class KernelBench {
    static final int COUNT = 1 << 16;
    private static final int SIDE = 256;

    private final float[] values = new float[COUNT];
    private final float[] out = new float[COUNT];
    private final double[] sums = new double[3];
    private final MemorySegment stored = Arena.ofAuto().allocate(2L * COUNT, 64);

    @Setup
    public void fill() {
        Random random = new Random(1);
        for (int i = 0; i < COUNT; i++) {
            values[i] = (float) (0.02 * random.nextGaussian());
        }
        Decoder.encode(DType.BF16, values, 0, COUNT, stored, 0);
    }

    @Benchmark
    public float[] bf16Decode() {
        Decoder.decode(DType.BF16, stored, 0, out, 0, COUNT);
        return out;
    }

    @Benchmark
    public float[] f16Decode() {
        Decoder.decode(DType.F16, stored, 0, out, 0, COUNT);
        return out;
    }

    @Benchmark
    public MemorySegment bf16Encode() {
        Decoder.encode(DType.BF16, values, 0, COUNT, stored, 0);
        return stored;
    }

    @Benchmark
    public double sumOfSquares() {
        return Kernels.sumOfSquares(values, 0, COUNT);
    }

    @Benchmark
    public double squaredRanges() {
        return Kernels.squaredRanges(values, 0, COUNT);
    }

    @Benchmark
    public double[] centralSums() {
        Kernels.centralSums(values, 0, COUNT, 0, 50, sums);
        return sums;
    }

    @Benchmark
    @OperationsPerInvocation(SIDE * SIDE * SIDE)
    public float[] multiplyAdd() {
        Kernels.multiplyAdd(SIDE, SIDE, SIDE, values, values, out);
        return out;
    }
}
