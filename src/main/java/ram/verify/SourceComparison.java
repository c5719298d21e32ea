package ram.verify;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.LongConsumer;
import ram.Stage;
import ram.convert.Converter.Measured;
import ram.convert.Converter;
import ram.format.CodedMatrix;
import ram.format.Format;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.Module;
import ram.numeric.Decoder;
import ram.numeric.Workers;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.MappedPages;
import ram.safetensors.Shape;
import ram.safetensors.TensorInfo;
import ram.tensor.RowBlocks;
import ram.tensor.Rows;
import ram.tensor.TensorView;

/// Compares everything in a folder with its source: names, plain tensors byte for byte, quantized ones by their error.
final class SourceComparison {
    private final Checkpoint checkpoint;
    private final Model source;
    private final Optional<DType> mainType;
    private final Workers workers;
    private final LongConsumer progress;
    private final Consumer<String> problem;

    /// @param mainType in which most of the folder is stored
    /// @param progress is told the bytes that were compared, from several threads
    /// @param problem is told each thing that is wrong, in one sentence, always in the same order
    SourceComparison(Checkpoint checkpoint, Model source, Optional<DType> mainType, Workers workers, LongConsumer progress, Consumer<String> problem) {
        this.checkpoint = checkpoint;
        this.source = source;
        this.mainType = mainType;
        this.workers = workers;
        this.progress = progress;
        this.problem = problem;
    }

    /// @param formats of the quantized modules, by path
    /// @param expected relative squared error of each module as the manifest records it; empty when there is no manifest
    /// @return what was found instead, by module path
    SortedMap<String, Double> run(SortedMap<String, Format> formats, Map<String, Double> expected) {
        Layout layout = source.layout();
        Set<String> wanted = new HashSet<>();
        List<Check> checks = new ArrayList<>();
        for (Module module : layout.modules()) {
            Format format = formats.getOrDefault(module.path(), Format.DENSE);
            format.components(module.weight().shape(), DType.BF16).forEach(c -> wanted.add(module.path() + "." + c.suffix()));
            Optional<TensorInfo> weight = checkpoint.tensor(module.path() + ".weight");
            if (weight.isEmpty()) {
                problem.accept("module " + module.path() + " of the source is missing");
            } else if (format.isDense()) {
                checkPlain(checks, module.path() + ".weight", module.weight());
            } else if (!logical(weight.get().shape(), format).equals(module.weight().shape())) {
                problem.accept("module " + module.path() + " stands for a weight of shape " + logical(weight.get().shape(), format) + ", but the source has "
                        + module.weight().shape());
            } else {
                checkCoded(checks, module, format);
            }
        }
        for (Layout.Prequantized p : layout.prequantized()) {
            p.tensors().forEach((name, t) -> checkStored(checks, wanted, name, t));
        }
        for (Layout.Plain plain : layout.plain()) {
            checkStored(checks, wanted, plain.name(), plain.view());
        }
        for (String name : checkpoint.tensors().keySet()) {
            if (!wanted.contains(name)) {
                problem.accept("tensor '" + name + "' has no counterpart in the source; mlx_lm would refuse it as an unknown parameter");
            }
        }
        checkCoverage();
        return run(checks, expected);
    }

    private static Shape logical(Shape stored, Format format) {
        return stored.rank() == 0 ? stored : format.decodedShape(stored);
    }

    /// Every stored tensor of the source is used by something that is written, or dropped for a reason; never both.
    private void checkCoverage() {
        Set<String> used = new HashSet<>();
        source.layout().modules().forEach(m -> used.addAll(m.weight().sources()));
        source.layout().plain().forEach(p -> used.addAll(p.view().sources()));
        source.layout().prequantized().forEach(p -> used.addAll(p.sources()));
        Set<String> dropped = new HashSet<>();
        source.layout().dropped().forEach(d -> dropped.add(d.tensor()));
        for (String name : source.checkpoint().tensors().keySet()) {
            if (used.contains(name) == dropped.contains(name)) {
                problem.accept("tensor '" + name + "' of the source is " + (used.contains(name) ? "both written and dropped" : "neither written nor dropped"));
            }
        }
    }

    /// One step of the comparison.
    private sealed interface Check {
        long bytes();
    }

    private record Same(String name, TensorView source, DType storedType, MemorySegment stored, long first, int count) implements Check {
        @Override
        public long bytes() {
            return (long) count * source.dtype().bytes();
        }
    }

    private record Coded(Module module, Converter.RowRange range, Format format, DType scaleType, MemorySegment codes, MemorySegment scales, MemorySegment biases) implements Check {
        @Override
        public long bytes() {
            return range.count() * module.weight().shape().columns() * module.weight().dtype().bytes();
        }
    }

    /// What a step found.
    private record Outcome(Optional<String> problem, Measured measured) {
        static final Measured NOTHING = new Measured(0, 0);
    }

    private void checkStored(List<Check> checks, Set<String> wanted, String name, TensorView view) {
        wanted.add(name);
        checkPlain(checks, name, view);
    }

    private void checkPlain(List<Check> checks, String name, TensorView view) {
        Optional<TensorInfo> stored = checkpoint.tensor(name);
        if (stored.isEmpty()) {
            problem.accept("tensor '" + name + "' of the source is missing");
        } else if (!stored.get().shape().equals(view.shape())) {
            problem.accept("tensor '" + name + "' has the shape " + stored.get().shape() + ", but should have " + view.shape());
        } else {
            DType type = stored.get().dtype();
            mainType.filter(main -> type.isMlxFloat() && type != main && type != view.dtype()).ifPresent(main -> problem.accept("tensor '" + name + "' is " + type + " in a model of " + main
                    + ", which it is not in the source; mlx_lm would load it and silently compute in float32"));
            long elements = view.shape().elements();
            for (long first = 0; first < elements; first += Converter.BLOCK) {
                checks.add(new Same(name, view, stored.get().dtype(), checkpoint.data(name), first, (int) Math.min(Converter.BLOCK, elements - first)));
            }
        }
    }

    private void checkCoded(List<Check> checks, Module module, Format format) {
        String path = module.path();
        MemorySegment biases = checkpoint.tensor(path + ".biases").isPresent() ? checkpoint.data(path + ".biases") : null;
        DType scaleType = checkpoint.tensor(path + ".scales").orElseThrow().dtype();
        for (Converter.RowRange range : Converter.ranges(module)) {
            checks.add(new Coded(module, range, format, format.mode() == Format.Mode.AFFINE ? scaleType : DType.BF16, checkpoint.data(path + ".weight"),
                    checkpoint.data(path + ".scales"), biases));
        }
    }

    private SortedMap<String, Double> run(List<Check> checks, Map<String, Double> expected) {
        List<Outcome> outcomes = new ArrayList<>();
        workers.forEachAfterFirst(checks, check -> {
            try (Stage _ = Stage.of("verify", switch (check) {
                case Same same -> same.name();
                case Coded coded -> coded.module().path();
            })) {
                Outcome outcome = switch (check) {
                    case Same same -> compare(same);
                    case Coded coded -> compare(coded);
                };
                progress.accept(check.bytes());
                return outcome;
            }
        }, outcomes::add);
        SortedMap<String, Measured> sums = new TreeMap<>();
        Map<Module.Part, Measured> parts = new IdentityHashMap<>();
        List<Coded> owners = new ArrayList<>();
        Set<String> reported = new HashSet<>();
        for (int i = 0; i < checks.size(); i++) {
            Outcome outcome = outcomes.get(i);
            outcome.problem().filter(reported::add).ifPresent(problem);
            if (checks.get(i) instanceof Coded coded) {
                sums.merge(coded.module().path(), outcome.measured(), Measured::plus);
                if (parts.merge(coded.range().part(), outcome.measured(), Measured::plus) == outcome.measured()) {
                    owners.add(coded);
                }
            }
        }
        owners.forEach(coded -> checkPlausible(coded, parts.get(coded.range().part()).relativeError(), expected.getOrDefault(coded.module().path(), 0.0)));
        SortedMap<String, Double> errors = new TreeMap<>();
        sums.forEach((path, sum) -> {
            double error = sum.relativeError();
            errors.put(path, error);
            Double promised = expected.get(path);
            if (promised != null && !(Math.abs(promised - error) <= 1e-9 * Math.max(promised, error))) {
                problem.accept("module " + path + " has a relative squared error of " + error + ", but the manifest says " + promised + "; its bytes are not those that were written");
            }
        });
        return errors;
    }

    /// A matrix that was coded at all well cannot be further from its source than this. Weights beyond the largest number of a float format are not coded well;
    /// then the manifest says so.
    private void checkPlausible(Coded coded, double error, double promised) {
        double worst = switch (coded.format().bits()) {
            case 2 -> 0.75;
            case 3 -> 0.3;
            default -> 0.1;
        };
        if (error > worst && promised <= worst) {
            problem.accept(String.format(Locale.ROOT, "module %s has a relative squared error of %.3g against '%s', far more than %s can cause; "
                    + "its codes, scales, biases or order of experts are wrong", coded.module().path(), error, coded.range().part().name(), coded.format()));
        }
    }

    private static Outcome compare(Same same) {
        TensorView view = same.source();
        int n = same.count();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment source = arena.allocate((long) n * view.dtype().bytes(), 8);
            view.read(same.first(), source);
            MappedPages.touched((long) n * same.storedType().bytes());
            MemorySegment stored = same.stored().asSlice(same.first() * same.storedType().bytes(), (long) n * same.storedType().bytes());
            if (same.storedType() != view.dtype()) {
                if (!same.storedType().isMlxFloat() || !view.dtype().isFloating()) {
                    return new Outcome(Optional.of("tensor '" + same.name() + "' is stored as " + same.storedType() + ", but should be " + view.dtype()), Outcome.NOTHING);
                }
                float[] values = new float[n];
                Decoder.decode(view.dtype(), source, 0, values, 0, n);
                MemorySegment cast = arena.allocate((long) n * same.storedType().bytes(), 8);
                Decoder.encode(same.storedType(), values, 0, n, cast, 0);
                source = cast;
            }
            // a copy, because a file that is cut while vector instructions read it ends the virtual machine
            MemorySegment copy = arena.allocate(stored.byteSize(), 8);
            try {
                copy.copyFrom(stored);
            } catch (InternalError e) {
                throw MappedPages.unreadable(e, stored);
            }
            long at = source.mismatch(copy);
            return new Outcome(at < 0 ? Optional.empty() : Optional.of("tensor '" + same.name() + "' differs from its source"), Outcome.NOTHING);
        }
    }

    private static Outcome compare(Coded coded) {
        int columns = Math.toIntExact(coded.module().weight().shape().columns());
        int rows = coded.range().count();
        RowBlocks blocks = RowBlocks.of(Rows.of(coded.module().weight(), coded.range().first(), rows));
        float[] decoded = blocks.room();
        long total = coded.module().weight().shape().rows();
        CodedMatrix stored = new CodedMatrix(coded.format(), coded.scaleType(), rows, columns, slice(coded, coded.codes(), total), slice(coded, coded.scales(), total),
                coded.biases() == null ? null : slice(coded, coded.biases(), total));
        Measured sum = Outcome.NOTHING;
        boolean representable = true;
        for (RowBlocks.Block read : blocks) {
            try {
                stored.read(read.firstRow(), read.rows(), decoded);
            } catch (InternalError e) {
                throw MappedPages.unreadable(e, stored.codes(), stored.scales(), stored.biases());
            }
            representable &= Converter.isRepresentable(coded.scaleType(), decoded, read.rows() * columns);
            sum = sum.plus(Measured.between(read.values(), decoded, read.rows() * columns));
        }
        return new Outcome(representable ? Optional.empty() : Optional.of("module " + coded.module().path() + " decodes to values beyond the largest of " + coded.scaleType()
                + ", which MLX would make infinite"), sum);
    }

    private static MemorySegment slice(Coded coded, MemorySegment all, long totalRows) {
        long rowBytes = all.byteSize() / totalRows;
        MappedPages.touched(coded.range().count() * rowBytes);
        return all.asSlice(coded.range().first() * rowBytes, coded.range().count() * rowBytes);
    }
}
