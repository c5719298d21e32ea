package ram.profile;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.LongConsumer;
import ram.InputException;
import ram.format.Format;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.metric.Metric;
import ram.numeric.Workers;
import ram.tensor.Rows;
import ram.tensor.TensorView;

/// Analyses whole checkpoints.
public final class Profiles {
    private final Model model;
    private final AnalysisOptions options;
    private final OutputTypes types;
    private final LongConsumer progress;

    private Profiles(Model model, AnalysisOptions options, LongConsumer progress) {
        this.model = model;
        this.options = options;
        this.types = OutputTypes.of(model.layout(), model.config(), options.dtype());
        this.progress = progress;
    }

    /// One matrix to be measured.
    private record Task(Module module, Module.Part part) {
        @Override
        public boolean equals(Object o) {
            return o instanceof Task t && module == t.module && part == t.part;
        }

        @Override
        public int hashCode() {
            return 31 * System.identityHashCode(module) + System.identityHashCode(part);
        }

        long elements() {
            return Math.multiplyExact(part.rows(), module.weight().shape().columns());
        }
    }

    /// Measures every matrix of a model.
    ///
    /// @param toolVersion stands in the profile
    /// @param progress is told the bytes of source that were measured, from several threads
    /// @throws InputException when a weight is not finite or the source cannot be read
    public static Profile analyze(Model model, AnalysisOptions options, String toolVersion, LongConsumer progress) {
        return new Profiles(model, options, progress).run(toolVersion);
    }

    /// Bytes of source that an analysis reports to its progress.
    public static long work(Layout layout) {
        return layout.modules().stream().mapToLong(m -> m.weight().bytes()).sum();
    }

    private Profile run(String toolVersion) {
        Layout layout = model.layout();
        new Workers(options.threads()).map(layout.plain(), plain -> {
            checkFinite(plain.name(), plain.view());
            return null;
        });
        Map<Task, PartAnalysis.Result> results = measure(layout.modules());
        List<ModuleProfile> modules = layout.modules().stream().map(m -> profile(m, results)).toList();
        int layers = modules.stream().mapToInt(m -> m.layer() + 1).max().orElse(0);
        List<Profile.PlainTensor> plain = layout.plain().stream()
                .map(p -> new Profile.PlainTensor(p.name(), types.of(p), p.view().shape(), p.why(), p.view().sources())).toList();
        return new Profile(toolVersion, sourceFiles(), layout.architecture(), layers, optionTexts(), modules, plain, prequantized(layout), layout.dropped());
    }

    /// The largest first, so that no core is left alone with a large one at the end.
    private Map<Task, PartAnalysis.Result> measure(List<Module> modules) {
        List<Task> tasks = new ArrayList<>();
        modules.forEach(m -> m.parts().forEach(p -> tasks.add(new Task(m, p))));
        tasks.sort(Comparator.comparingLong(Task::elements).reversed().thenComparing(t -> t.module().path()).thenComparing(t -> t.part().firstRow()));
        List<PartAnalysis.Result> results = new Workers(options.threads()).map(tasks, task -> {
            Module module = task.module();
            List<Format> formats = module.possible(options.formats());
            Rows rows = Rows.of(module.weight(), task.part().firstRow(), task.part().rows());
            PartAnalysis.Result result = PartAnalysis.measure(task.part().name(), rows, formats, options.quantizer(), types.of(module), options.exact(), java.util.Optional.empty());
            progress.accept(task.elements() * module.weight().dtype().bytes());
            return result;
        });
        Map<Task, PartAnalysis.Result> byTask = new HashMap<>();
        for (int i = 0; i < tasks.size(); i++) {
            byTask.put(tasks.get(i), results.get(i));
        }
        return byTask;
    }

    private ModuleProfile profile(Module module, Map<Task, PartAnalysis.Result> results) {
        List<TensorProfile> tensors = new ArrayList<>();
        for (Module.Part part : module.parts()) {
            PartAnalysis.Result r = results.get(new Task(module, part));
            tensors.add(new TensorProfile(part.name(), part.rows(), module.weight().shape().columns(), r.metrics(), 1, new TreeMap<>(), r.curve()));
        }
        return new ModuleProfile(module.path(), module.kind(), module.layer(), module.weight().shape(), types.of(module), module.expert(), module.sharedExpert(),
                module.preset(), module.mustStayDense(), "none", moduleCurve(tensors), tensors, module.weight().sources());
    }

    /// The relative error of a stack: errors and energies of its matrices are added, so that a large matrix counts for more.
    private static List<CurvePoint> moduleCurve(List<TensorProfile> tensors) {
        List<CurvePoint> curve = new ArrayList<>();
        for (int f = 0; f < tensors.getFirst().curve().size(); f++) {
            double energy = 0;
            double error = 0;
            double variance = 0;
            for (TensorProfile t : tensors) {
                double norm = t.metrics().get(Metric.FROBENIUS.label());
                CurvePoint p = t.curve().get(f);
                energy += norm * norm;
                error += p.relativeError() * norm * norm;
                variance += Math.pow(p.samplingError() * p.relativeError() * norm * norm, 2);
            }
            curve.add(new CurvePoint(tensors.getFirst().curve().get(f).format(), energy == 0 ? 0 : error / energy, error == 0 ? 0 : Math.sqrt(variance) / error));
        }
        return curve;
    }

    private static void checkFinite(String name, TensorView view) {
        if (!view.dtype().isFloating() || view.shape().elements() == 0) {
            return;
        }
        Rows rows = Rows.of(view);
        int step = Math.max(1, (1 << 16) / rows.columns());
        float[] values = new float[Math.multiplyExact(step, rows.columns())];
        for (long first = 0; first < rows.rows(); first += step) {
            int count = (int) Math.min(step, rows.rows() - first);
            rows.read(first, count, values);
            for (int i = 0; i < count * rows.columns(); i++) {
                if (!Float.isFinite(values[i])) {
                    throw new InputException("tensor '" + name + "' holds a value that is infinite or not a number at index " + (first * rows.columns() + i)
                            + "; the checkpoint is damaged, get another copy");
                }
            }
        }
    }

    private static List<Profile.PrequantizedModule> prequantized(Layout layout) {
        return layout.prequantized().stream().map(p -> {
            List<String> sources = new ArrayList<>(p.weight().sources());
            sources.addAll(p.scales().sources());
            p.biases().ifPresent(b -> b.sources().stream().filter(s -> !sources.contains(s)).forEach(sources::add));
            return new Profile.PrequantizedModule(p.path(), p.kind(), p.layer(), p.format(),
                    p.weight().shape().withLast(p.weight().shape().columns() * 32 / p.format().bits()), p.scales().dtype(), sources);
        }).toList();
    }

    private SortedMap<String, String> optionTexts() {
        SortedMap<String, String> texts = new TreeMap<>();
        texts.put("quantizer", options.quantizer().name().toLowerCase(java.util.Locale.ROOT));
        texts.put("formats", String.join(",", options.formats().stream().map(Format::toString).toList()));
        texts.put("exact", String.valueOf(options.exact()));
        texts.put("dtype", types.main().torchName().orElseThrow());
        return texts;
    }

    private List<Profile.SourceFile> sourceFiles() {
        return model.checkpoint().shards().stream().map(s -> new Profile.SourceFile(s.file().getFileName().toString(), s.size(), sha256(s.header().json()),
                options.hash() ? sha256(s.file()) : "")).toList();
    }

    private static String sha256(byte[] bytes) {
        return HexFormat.of().formatHex(digest().digest(bytes));
    }

    private static String sha256(Path file) {
        MessageDigest digest = digest();
        byte[] buffer = new byte[1 << 20];
        try (InputStream in = Files.newInputStream(file)) {
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                digest.update(buffer, 0, n);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
        return HexFormat.of().formatHex(digest.digest());
    }

    private static MessageDigest digest() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
