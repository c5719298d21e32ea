package ram.refine;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import ram.format.CodedMatrix;
import ram.format.Quantizer;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// Codes modules with the inputs that they get, or, where there are none to go by, as `mse` does; and keeps what that gained and how long it took.
final class ModuleCoding {
    private final Workers workers;
    private final CompensatedCoder coder;
    private final double drift;
    private final SortedMap<String, Gain> gains = new TreeMap<>();
    private final Map<Refiner.Part, Long> nanos = new EnumMap<>(Refiner.Part.class);

    /// @param drift part of the drift of inputs that is made up for, 0 to 1
    ModuleCoding(Workers workers, double drift) {
        this.workers = workers;
        this.coder = new CompensatedCoder(workers);
        this.drift = drift;
    }

    /// Rows of a module: all of a matrix, or those of one expert of a stack.
    ///
    /// @param first row of the module; the module has rows `first … first + rows`
    /// @param out takes the codes of all of the module's rows
    record Slice(String path, Rows module, long first, long rows, Refiner.Target target, CodedMatrix out) {
        /// All of a module.
        static Slice of(String path, Rows module, Refiner.Target target, CodedMatrix out) {
            return new Slice(path, module, 0, module.rows(), target, out);
        }

        BiConsumer<Long, CodedMatrix> sink() {
            return (row, part) -> out.put(first + row, part);
        }
    }

    /// What was gained, by module; those that are not compensated are left out.
    SortedMap<String, Gain> gains() {
        return gains;
    }

    /// Inputs of a piece of the text, as the coded modules and, where it is followed, the model itself have them.
    ///
    /// @param exact null where the piece is not followed
    void add(Inputs inputs, float[] coded, float[] exact) {
        timed(Refiner.Part.STATISTICS, () -> {
            inputs.add(coded, exact);
            return inputs;
        });
    }

    /// Codes modules that have the same inputs.
    ///
    /// @param inputs null where too few tokens pass for their moments to say anything
    /// @param tokens that pass
    /// @param damping least that is added to the diagonal of the moments, in units of its mean
    void code(List<Slice> slices, Inputs inputs, long tokens, double damping) {
        Factor factor = null;
        // the factor takes the place of the moments
        int dead = inputs == null ? 0 : inputs.deadColumns();
        for (Slice s : slices) {
            if (inputs == null || !s.target.refinable()) {
                plain(s);
                if (s.target.refinable()) {
                    gains.merge(s.path, gain(s.path, CompensatedCoder.Outcome.NONE, tokens, 1, 0, 0), Gain::plus);
                }
                continue;
            }
            if (factor == null) {
                factor = timed(Refiner.Part.FACTORISATION, () -> inputs.factor(damping(damping, inputs)));
            }
            Factor known = factor;
            CompensatedCoder.Outcome outcome = timed(Refiner.Part.CODING, () -> coder.code(s.module, s.first, s.rows, s.target, inputs, known, drift, s.sink()));
            gains.merge(s.path, gain(s.path, outcome, tokens, 0, dead, factor.lifted()), Gain::plus);
        }
    }

    /// The fewer tokens there are for each column, the less their moments say about other text.
    private static double damping(double least, Inputs inputs) {
        return Math.max(least, (double) inputs.columns() / Math.max(1, inputs.tokens()));
    }

    private static Gain gain(String path, CompensatedCoder.Outcome outcome, long tokens, int plainExperts, int dead, int lifted) {
        return new Gain(path, outcome.error(), outcome.plainError(), outcome.rows(), outcome.compensated(), tokens, plainExperts, dead, lifted);
    }

    private void plain(Slice s) {
        int columns = s.module.columns();
        int step = Math.max(1, (1 << 20) / columns);
        List<Long> starts = new ArrayList<>();
        for (long r = 0; r < s.rows; r += step) {
            starts.add(r);
        }
        workers.forEach(starts, r -> {
            int count = (int) Math.min(step, s.rows - r);
            float[] values = new float[Math.multiplyExact(count, columns)];
            s.module.read(s.first + r, count, values);
            CodedMatrix part = CodedMatrix.allocate(s.target.format(), s.target.stored(), count, columns);
            part.encode(Quantizer.MSE, values);
            s.sink().accept(r, part);
            return r;
        }, _ -> { });
    }

    private <T> T timed(Refiner.Part part, Supplier<T> work) {
        long start = System.nanoTime();
        T out = work.get();
        nanos.merge(part, System.nanoTime() - start, Long::sum);
        return out;
    }

    /// Seconds spent on each part, of which going through the layers takes what the others leave.
    ///
    /// @param all nanoseconds
    Map<Refiner.Part, Double> seconds(long all) {
        Map<Refiner.Part, Double> out = new EnumMap<>(Refiner.Part.class);
        out.put(Refiner.Part.FORWARD, (all - nanos.values().stream().mapToLong(Long::longValue).sum()) / 1e9);
        nanos.forEach((part, n) -> out.put(part, n / 1e9));
        return out;
    }
}
