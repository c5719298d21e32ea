package ram.profile;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import ram.InputException;
import ram.format.Format;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.metric.Metric;
import ram.metric.MetricReport;
import ram.numeric.Workers;
import ram.sensitivity.ModuleWeights;
import ram.sensitivity.Propagation;
import ram.sensitivity.Sensitivities;
import ram.sensitivity.Term;
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

    /// One matrix to be measured, and what an error in it costs by its place.
    private record Task(Module module, Module.Part part, List<Term> terms) {
        long elements() {
            return Math.multiplyExact(part.rows(), module.weight().shape().columns());
        }

        Rows rows() {
            return Rows.of(module.weight(), part.firstRow(), part.rows());
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

    /// @param where the profile came from, for the message; null when it was measured just now
    /// @throws InputException when the profile was measured on other files than these
    public static void requireMatch(Profile profile, Model model, Path where) {
        if (where == null) {
            return;
        }
        List<String> now = model.checkpoint().shards().stream().map(s -> s.file().getFileName() + " " + s.size() + " " + sha256(s.header().json())).toList();
        List<String> then = profile.files().stream().map(f -> f.name() + " " + f.bytes() + " " + f.headerSha256()).toList();
        if (!now.equals(then)) {
            throw InputException.in(where, "was measured on other files than those in " + model.checkpoint().folder() + "; analyze this model");
        }
    }

    private Profile run(String toolVersion) {
        Layout layout = model.layout();
        Map<Module, List<PartAnalysis.Result>> results = new IdentityHashMap<>();
        Map<Module, String> sources = new IdentityHashMap<>();
        double logitPower;
        try (Workers workers = new Workers(options.threads())) {
            workers.map(layout.plain(), plain -> {
                checkFinite(plain.name(), plain.view());
                return plain;
            });
            logitPower = Propagation.walk(layout, options.threads(), (_, weights) -> {
                results.putAll(measure(workers, weights));
                weights.forEach(w -> sources.put(w.module(), w.source().label()));
            }).logitPower();
        }
        double[] sensitivities = sensitivities(layout, results, logitPower);
        List<ModuleProfile> modules = new ArrayList<>();
        int next = 0;
        for (Module module : layout.modules()) {
            double[] own = Arrays.copyOfRange(sensitivities, next, next + module.parts().size());
            next += own.length;
            modules.add(profile(module, results.get(module), sources.get(module), own));
        }
        int layers = modules.stream().mapToInt(m -> m.layer() + 1).max().orElse(0);
        List<Profile.PlainTensor> plain = layout.plain().stream()
                .map(p -> new Profile.PlainTensor(p.name(), types.of(p), p.view().shape(), p.why(), p.view().sources())).toList();
        return new Profile(toolVersion, sourceFiles(), layout.architecture(), layers, optionTexts(), modules, plain, prequantized(layout), layout.dropped());
    }

    /// Metrics and errors of a matrix are separate steps, and the largest matrices come first, so that no core is left alone with a large one.
    private Map<Module, List<PartAnalysis.Result>> measure(Workers workers, List<ModuleWeights> weights) {
        List<Task> tasks = new ArrayList<>();
        for (ModuleWeights w : weights) {
            for (int p = 0; p < w.module().parts().size(); p++) {
                tasks.add(new Task(w.module(), w.module().parts().get(p), w.parts().isEmpty() ? List.of() : w.parts().get(p)));
            }
        }
        List<Step> steps = new ArrayList<>();
        IntStream.range(0, tasks.size()).boxed().sorted(Comparator.comparingLong((Integer i) -> tasks.get(i).elements()).reversed()).forEach(i -> {
            steps.add(new Step(i, true));
            steps.add(new Step(i, false));
        });
        MetricReport[] metrics = new MetricReport[tasks.size()];
        PartAnalysis.Errors[] errors = new PartAnalysis.Errors[tasks.size()];
        workers.forEach(steps, step -> step.metrics() ? metrics(tasks.get(step.task())) : errors(tasks.get(step.task())), new Consumer<Object>() {
            private int next;

            @Override
            public void accept(Object result) {
                Step step = steps.get(next++);
                switch (result) {
                    case MetricReport m -> metrics[step.task()] = m;
                    case PartAnalysis.Errors e -> errors[step.task()] = e;
                    default -> throw new IllegalStateException();
                }
            }
        });
        Map<Module, List<PartAnalysis.Result>> byModule = new IdentityHashMap<>();
        for (int i = 0; i < tasks.size(); i++) {
            byModule.computeIfAbsent(tasks.get(i).module(), _ -> new ArrayList<>()).add(PartAnalysis.combine(metrics[i], errors[i], tasks.get(i).terms()));
        }
        return byModule;
    }

    /// One half of the measurement of a matrix.
    private record Step(int task, boolean metrics) {
    }

    private MetricReport metrics(Task task) {
        MetricReport report = PartAnalysis.metrics(task.part().name(), task.rows());
        progress.accept(task.elements() * task.module().weight().dtype().bytes());
        return report;
    }

    private PartAnalysis.Errors errors(Task task) {
        Module module = task.module();
        return PartAnalysis.errors(task.rows(), module.possible(options.formats()), options.quantizer(), types.of(module), options.exact(), task.terms());
    }

    private static double[] sensitivities(Layout layout, Map<Module, List<PartAnalysis.Result>> results, double logitPower) {
        List<Sensitivities.Entry> entries = new ArrayList<>();
        for (Module module : layout.modules()) {
            for (int p = 0; p < module.parts().size(); p++) {
                Optional<PartAnalysis.PartSensitivity> s = results.get(module).get(p).sensitivity();
                long parameters = Math.multiplyExact(module.parts().get(p).rows(), module.weight().shape().columns());
                entries.add(new Sensitivities.Entry(module.layer(), module.expert(), parameters, s.isPresent() ? OptionalDouble.of(s.get().at(logitPower)) : OptionalDouble.empty()));
            }
        }
        return Sensitivities.complete(entries);
    }

    private ModuleProfile profile(Module module, List<PartAnalysis.Result> results, String source, double[] sensitivities) {
        List<TensorProfile> tensors = new ArrayList<>();
        for (int p = 0; p < results.size(); p++) {
            Module.Part part = module.parts().get(p);
            PartAnalysis.Result r = results.get(p);
            tensors.add(new TensorProfile(part.name(), part.rows(), module.weight().shape().columns(), r.metrics(), sensitivities[p], r.ingredients(), r.curve()));
        }
        return new ModuleProfile(module.path(), module.kind(), module.layer(), module.weight().shape(), types.of(module), module.expert(), module.sharedExpert(),
                module.preset(), module.mustStayDense(), source, moduleCurve(tensors), tensors, module.weight().sources());
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
        texts.put("quantizer", options.quantizer().name().toLowerCase(Locale.ROOT));
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
