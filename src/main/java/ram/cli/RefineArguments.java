package ram.cli;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import ram.UsageException;
import ram.eval.EvalModel;
import ram.eval.SelfText;
import ram.eval.TokenSet;
import ram.format.Format;
import ram.format.Quantizer;
import ram.layout.Model;
import ram.layout.OutputTypes;
import ram.numeric.Workers;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.refine.Gain;
import ram.refine.RefineCost;
import ram.refine.RefineDocument;
import ram.refine.RefineStore;
import ram.refine.Refinement;
import ram.refine.Refiner;

/// Refinement of a quantization with text.
final class RefineArguments {
    @Option(names = "--refine", paramLabel = "TEXT", description = {
        "Code with second-order error compensation, with the inputs that modules get from a text: 'self' lets the model sample it, 'tokens:FILE' reads token ids.",
        "Settings follow: self:sequences=64,length=256,passes=2,seed=42,drift=0.5."})
    String text;

    boolean wanted() {
        return text != null;
    }

    Refinement refinement() {
        return Refinement.parse(text);
    }

    /// The tokens that are given.
    Optional<Path> file() {
        return wanted() ? refinement().file().map(Path::of) : Optional.empty();
    }

    /// @throws ram.InputException when the model cannot be refined, or run on such a text, or the tokens that are given cannot be read or are not the model's
    void check(Path folder) {
        if (wanted()) {
            try (EvalModel source = EvalModel.open(folder)) {
                Refiner.requireKnown(source.weights());
                source.requireReach(refinement().text().length());
                file().ifPresent(f -> source.requireKnown(windows(refinement(), f)));
            }
        }
    }

    private static TokenSet windows(Refinement how, Path file) {
        SelfText text = how.text();
        int[] ids = TokenSet.read(file);
        return TokenSet.windows(file.getFileName().toString(), ids, text.length(), text.sequences(), text.seed());
    }

    void require(Quantizer quantizer) {
        if (wanted() && quantizer != Quantizer.MSE) {
            throw new UsageException("--refine starts from the quantizer mse; leave out --quantizer " + quantizer);
        }
    }

    private static Map<String, Refiner.Target> targets(Model model, Map<String, Format> formats, OutputTypes types) {
        Map<String, Refiner.Target> out = new HashMap<>();
        model.layout().modules().forEach(m -> {
            Format format = formats.get(m.path());
            if (!format.isDense()) {
                out.put(m.path(), new Refiner.Target(format, types.of(m)));
            }
        });
        return out;
    }

    /// What it will take.
    RefineCost cost(Model model, Path folder, Map<String, Format> formats, OutputTypes types) {
        try (EvalModel source = EvalModel.open(folder)) {
            return RefineCost.of(source.weights(), targets(model, formats, types), refinement());
        }
    }

    /// One line about that.
    String describe(RefineCost cost) {
        return "refine    " + refinement() + ": " + cost.work() + ", " + ByteSize.format(cost.statistics()) + " of statistics beside --memory, "
                + ByteSize.format(cost.files()) + " of working files";
    }

    /// Refines into the store, which the caller closes; it is removed with the folder that it lies in.
    ///
    /// @param store receives the refined modules
    /// @return what the manifest says about it
    Manifest refine(Model model, Path folder, Manifest planned, OutputTypes types, RefineStore store, GlobalOptions global, CommandSpec spec) {
        Refinement how = refinement();
        try (EvalModel source = EvalModel.open(folder); Workers workers = new Workers(global.threads())) {
            if (store.startedOver()) {
                spec.commandLine().getErr().println("refinement starts over: what an earlier run left belongs to another source, plan or version");
            }
            Refiner refiner = new Refiner(source.weights(), targets(model, planned.formats(), types), workers, global.memory.bytes(), how.drift(), store);
            SortedMap<String, Gain> gains;
            try (Progress progress = global.tokenProgress(spec, "refine", how.text().tokens())) {
                gains = refiner.run(() -> {
                    List<int[]> text = text(how, source, workers, refiner.chunkTokens(), global, spec);
                    progress.begin();
                    return text;
                }, progress::reach);
            }
            if (global.verbosity() > 0) {
                spec.commandLine().getErr().println("refine    " + refiner.seconds().entrySet().stream()
                        .map(e -> String.format(Locale.ROOT, "%s %.1f s", e.getKey().name().toLowerCase(Locale.ROOT), e.getValue())).collect(Collectors.joining(", ")));
            }
            return planned.withRefinement(RefineDocument.of(how, gains));
        }
    }

    private static List<int[]> text(Refinement how, EvalModel source, Workers workers, int chunkTokens, GlobalOptions global, CommandSpec spec) {
        SelfText text = how.text();
        if (how.file().isPresent()) {
            return windows(how, Path.of(how.file().get())).sequences();
        }
        try (Progress progress = global.tokenProgress(spec, "sample text", text.passes() * text.tokens())) {
            return text.sample(source.weights(), workers, chunkTokens, progress::reach);
        }
    }

    /// Of the weights and tokens that are read: every byte of them, so once for all plans.
    String fingerprint(Path folder) {
        try (EvalModel source = EvalModel.open(folder)) {
            return source.weights().fingerprint() + " " + file().map(f -> new TokenSet("", List.of(TokenSet.read(f))).fingerprint()).orElse("");
        }
    }

    /// Of all that the refined bytes depend on.
    ///
    /// @param inputs what [#fingerprint(Path)] gave
    String fingerprint(String inputs, Manifest planned, OutputTypes types) {
        return String.join(" ", BuildInfo.read().toString(), inputs, refinement().toString(), types.main().toString(), new TreeMap<>(planned.formats()).toString());
    }
}
