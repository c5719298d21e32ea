package ram.profile;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import ram.InputException;
import ram.Sha256;
import ram.format.Format;
import ram.journal.Fingerprint;
import ram.journal.Journal;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.metric.NonFinite;
import ram.numeric.Workers;
import ram.safetensors.Shape;
import ram.sensitivity.ModuleWeights;
import ram.sensitivity.Propagation;
import ram.tensor.Rows;

/// Analyses whole checkpoints.
public final class Profiles {
    private final Model model;
    private final SortedSet<String> nonFinite;
    private final AnalysisOptions options;
    private final OutputTypes types;
    private final MatrixJournal finished;
    private final LongConsumer progress;

    private Profiles(Model model, SortedSet<String> nonFinite, AnalysisOptions options, MatrixJournal finished, LongConsumer progress) {
        this.finished = finished;
        this.model = model;
        this.nonFinite = nonFinite;
        this.options = options;
        this.types = OutputTypes.of(model.layout(), model.config(), options.dtype());
        this.progress = progress;
    }

    /// Measures every matrix of a model.
    ///
    /// @param toolVersion stands in the profile
    /// @param progress is told the bytes of source that were measured, from several threads
    /// @throws InputException when a weight is not finite or the source cannot be read
    public static Profile analyze(Model model, AnalysisOptions options, String toolVersion, LongConsumer progress) {
        return analyze(model, options, toolVersion, Optional.empty(), progress);
    }

    /// The same, going on with what the journal says an earlier run measured.
    public static Profile analyze(Model model, AnalysisOptions options, String toolVersion, Optional<Journal> journal, LongConsumer progress) {
        return ProfileParts.join(model.checkpoint().folder(), List.of(analyze(model, PartNumber.WHOLE, options, toolVersion, journal, progress)));
    }

    /// Measures one part of the matrices of a model.
    ///
    /// @param toolVersion stands in the part
    /// @param progress is told the bytes of source that were measured, from several threads
    /// @throws InputException when a weight is not finite or the source cannot be read
    public static ProfilePart analyze(Model model, PartNumber number, AnalysisOptions options, String toolVersion, LongConsumer progress) {
        return analyze(model, number, options, toolVersion, Optional.empty(), progress);
    }

    /// The same, going on with what the journal says an earlier run measured.
    ///
    /// @param journal of the [#fingerprint] of this analysis
    public static ProfilePart analyze(Model model, PartNumber number, AnalysisOptions options, String toolVersion, Optional<Journal> journal, LongConsumer progress) {
        if (!options.keepNonFinite()) {
            return new Profiles(model, new TreeSet<>(), options, new MatrixJournal(journal), progress).run(number, toolVersion);
        }
        NonFiniteTensors kept;
        try (Workers workers = new Workers(options.threads())) {
            kept = NonFiniteTensors.kept(model, workers);
        }
        return new Profiles(kept.model(), kept.names(), options, new MatrixJournal(journal), progress).run(number, toolVersion);
    }

    /// What the results of an analysis depend on, for its journal.
    public static String fingerprint(Model model, AnalysisOptions options, String toolVersion) {
        Fingerprint f = Fingerprint.of("analyze", toolVersion, model);
        new Profiles(model, new TreeSet<>(), options, new MatrixJournal(Optional.empty()), _ -> { }).optionTexts().forEach((key, value) -> f.add(key).add(value));
        return f.line();
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
        if (!Profile.SourceFile.same(profile.files(), sourceFiles(model, false))) {
            throw otherFiles(where, model);
        }
        Map<String, Shape> measured = new HashMap<>();
        profile.modules().forEach(m -> measured.put(m.path(), m.shape()));
        Map<String, Shape> modules = new HashMap<>();
        model.layout().modules().forEach(m -> modules.put(m.path(), m.weight().shape()));
        Map<String, Shape> copied = new HashMap<>();
        profile.plain().forEach(p -> copied.put(p.name(), p.shape()));
        Map<String, Shape> plain = new HashMap<>();
        model.layout().plain().forEach(p -> plain.put(p.name(), p.view().shape()));
        if (!measured.equals(modules) || !copied.equals(plain)) {
            throw InputException.in(where, "does not have the modules and tensors of " + model.checkpoint().folder() + "; analyze this model");
        }
    }

    private ProfilePart run(PartNumber number, String toolVersion) {
        Layout layout = model.layout();
        int layers = layout.modules().stream().mapToInt(m -> m.layer() + 1).max().orElse(0);
        Map<Module, List<Module.Part>> wanted = number.of(layout);
        Map<Module, List<MatrixAnalysis.Result>> results;
        Map<Module, String> sources = new IdentityHashMap<>();
        double logitPower;
        try (Workers workers = new Workers(options.threads()); Measurement measurement = new Measurement(workers, options, types, finished, progress)) {
            List<Layout.Plain> plain = IntStream.range(0, layout.plain().size()).filter(number::takes).mapToObj(layout.plain()::get).toList();
            workers.map(plain, p -> {
                NonFiniteTensors.refuse(Float.MAX_VALUE, p.name(), Rows.of(p.view()), p.view());
                return p;
            });
            // An embedding alone, at the end, would leave all threads but one or two waiting.
            int together = layersForOutside(layout, layers);
            List<ModuleWeights> held = new ArrayList<>();
            try {
                logitPower = Propagation.walk(layout, workers, (layer, weights) -> {
                    held.addAll(weights);
                    weights.forEach(w -> sources.put(w.module(), w.source().label()));
                    if (layer < together) {
                        measurement.add(held, wanted);
                        held.clear();
                    }
                }).logitPower();
            } catch (InputException e) {
                // With any number of threads it is the first failure that is reported.
                measurement.results();
                throw e;
            }
            results = measurement.results();
        }
        requireFinite(number, logitPower, results);
        List<ProfilePart.Piece> pieces = new ArrayList<>();
        for (Module module : layout.modules()) {
            if (wanted.containsKey(module)) {
                pieces.add(piece(module, wanted.get(module), results.get(module), sources.get(module)));
            }
        }
        List<Profile.PlainTensor> plain = layout.plain().stream()
                .map(p -> new Profile.PlainTensor(p.name(), types.of(p), p.view().shape(), p.why(), p.view().sources())).toList();
        Profile frame = new Profile(toolVersion, sourceFiles(model, options.hash()), layout.architecture(), layers, optionTexts(), List.of(), plain, prequantized(layout), layout.dropped());
        return new ProfilePart(number, logitPower, frame, pieces);
    }

    /// The first of the layers that are measured together with what is outside of all: the last ones, with as many bytes.
    private static int layersForOutside(Layout layout, int layers) {
        long[] bytes = new long[layers + 1];
        layout.modules().forEach(m -> bytes[m.layer() < 0 ? layers : m.layer()] += m.weight().bytes());
        int first = layers;
        for (long beside = 0; first > 0 && beside < bytes[layers]; beside += bytes[first]) {
            first--;
        }
        return first;
    }

    private ProfilePart.Piece piece(Module module, List<Module.Part> parts, List<MatrixAnalysis.Result> results, String source) {
        List<ProfilePart.Tensor> tensors = new ArrayList<>();
        for (int i = 0; i < parts.size(); i++) {
            tensors.add(new ProfilePart.Tensor(parts.get(i).name(), parts.get(i).rows(), module.weight().shape().columns(), results.get(i)));
        }
        return new ProfilePart.Piece(new ModuleProfile(module.path(), module.kind(), module.layer(), module.weight().shape(), types.of(module), module.expert(),
                module.sharedExpert(), module.preset(), module.mustStayDense(), source, List.of(), List.of(), module.weight().sources()), tensors);
    }

    /// A part looks closely at its own matrices only, but a weight of another that is not a number spoils what follows from it.
    private void requireFinite(PartNumber number, double logitPower, Map<Module, List<MatrixAnalysis.Result>> results) {
        boolean finite = Double.isFinite(logitPower) && results.values().stream().flatMap(List::stream)
                .allMatch(r -> r.ingredients().values().stream().allMatch(Double::isFinite) && r.sensitivity().stream().allMatch(s -> Double.isFinite(s.at(logitPower))));
        if (finite || number.equals(PartNumber.WHOLE)) {
            return;
        }
        model.layout().plain().forEach(p -> NonFiniteTensors.refuse(Float.MAX_VALUE, p.name(), Rows.of(p.view()), p.view()));
        for (Module module : model.layout().modules()) {
            for (Module.Part part : module.parts()) {
                NonFiniteTensors.refuse(NonFinite.LARGEST, part.name(), Rows.of(module.weight(), part.firstRow(), part.rows()), module.weight());
            }
        }
    }

    private static List<Profile.PrequantizedModule> prequantized(Layout layout) {
        return layout.prequantized().stream().map(p -> new Profile.PrequantizedModule(p.path(), p.kind(), p.layer(), p.format(), p.shape(), p.scales().dtype(), p.sources())).toList();
    }

    private SortedMap<String, String> optionTexts() {
        SortedMap<String, String> texts = new TreeMap<>();
        texts.put("quantizer", options.quantizer().toString());
        texts.put("formats", String.join(",", options.formats().stream().map(Format::toString).toList()));
        texts.put("exact", String.valueOf(options.exact()));
        if (options.keepNonFinite()) {
            texts.put(AnalysisOptions.KEPT_NON_FINITE, String.join(",", nonFinite));
        }
        if (options.rewrite()) {
            texts.put(AnalysisOptions.REWRITE, AnalysisOptions.POWER_OF_TWO);
        }
        texts.put("dtype", types.main().torchName().orElseThrow());
        return texts;
    }

    private static InputException otherFiles(Path where, Model model) {
        return InputException.in(where, "was measured on other files than those in " + model.checkpoint().folder() + ", or on other weights in them; analyze this model");
    }

    /// @param where the profile came from, for the message; null when it was measured just now
    /// @param sha256 of the content of the model's files, in their order
    /// @throws InputException when the profile knows the content of its files, and it was another one
    public static void requireContent(Profile profile, Model model, Path where, List<String> sha256) {
        for (int i = 0; where != null && i < sha256.size(); i++) {
            String then = profile.files().get(i).sha256();
            if (!then.isEmpty() && !then.equals(sha256.get(i))) {
                throw otherFiles(where, model);
            }
        }
    }

    private static List<Profile.SourceFile> sourceFiles(Model model, boolean hash) {
        return model.checkpoint().shards().stream().map(s -> new Profile.SourceFile(s.file().getFileName().toString(), s.size(), new Sha256().add(s.header().json()).hex(),
                s.startsSha256(), hash ? Sha256.of(s.file()) : "")).toList();
    }
}
