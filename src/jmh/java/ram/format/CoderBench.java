package ram.format;

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
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import ram.numeric.Decoder;
import ram.safetensors.DType;

/// Nanoseconds per weight to quantize, to measure the error of quantizing, and to decode.
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@OperationsPerInvocation(CoderBench.ROWS * CoderBench.COLUMNS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 3, time = 1)
@Fork(value = 1, jvmArgsAppend = {"--add-modules", "jdk.incubator.vector"})
public class CoderBench {
    static final int ROWS = 32;
    static final int COLUMNS = 4096;

    @Param({"4:64", "2:32", "3:64", "8:128", "mxfp4"})
    String format;

    @Param({"RTN", "MSE"})
    Quantizer quantizer;

    private final float[] values = new float[ROWS * COLUMNS];
    private final MemorySegment codes = MemorySegment.ofArray(new byte[values.length]);
    private final MemorySegment scales = MemorySegment.ofArray(new byte[values.length / 8]);
    private final MemorySegment biases = MemorySegment.ofArray(new byte[values.length / 8]);
    private final float[] decoded = new float[values.length];
    private BlockCoder coder;

    @Setup
    public void fill() {
        Random random = new Random(1);
        for (int i = 0; i < values.length; i++) {
            values[i] = Decoder.round(DType.BF16, (float) (0.02 * random.nextGaussian()));
        }
        coder = new BlockCoder(Format.parse(format), quantizer, DType.BF16);
        encode();
    }

    @Benchmark
    public MemorySegment encode() {
        coder.encode(values, ROWS, COLUMNS, null, codes, scales, biases);
        return codes;
    }

    @Benchmark
    public double[] errors() {
        double[] sums = new double[ROWS];
        coder.errors(values, ROWS, COLUMNS, null, sums, null);
        return sums;
    }

    @Benchmark
    public float[] decode() {
        coder.decode(codes, scales, biases, ROWS, COLUMNS, decoded);
        return decoded;
    }
}
