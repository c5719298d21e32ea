package ram.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.Count;
import ram.InputException;
import ram.convert.Receipts;
import ram.layout.LayoutOptions;
import ram.layout.Model;
import ram.layout.ModelClass;
import ram.layout.ModelConfig;
import ram.numeric.Background;
import ram.numeric.Workers;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.profile.AnalysisOptions;
import ram.verify.ManifestCheck;
import ram.verify.Verifier;

@Command(name = "verify", sortOptions = false, description = "Proves an MLX folder, whoever made it: that mlx_lm loads it and, with --source, that every number is right.")
final class VerifyCommand implements Callable<Integer> {
    private static final int PROBLEMS_SHOWN = 20;

    @Parameters(paramLabel = "OUT", description = "The folder to verify.")
    Path folder;

    @Option(names = "--source", paramLabel = "MODEL", description = "The model that it was made from.")
    Path source;

    @Option(names = "--requantize", description = "The source was quantized already and OUT was made with --requantize.")
    boolean requantize;

    @Option(names = "--json", description = "Print one JSON document.")
    boolean json;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        if (!Files.exists(folder)) {
            throw InputException.in(folder, "does not exist; give a folder that quantize or mlx_lm wrote");
        }
        Optional<Manifest> manifest = Optional.of(folder.resolve("manifest.json")).filter(Files::exists).map(ManifestJson::read);
        Map<String, Double> expected = manifest.<Map<String, Double>>map(Manifest::writtenErrors).orElse(Map.of());
        Set<String> nonFinite = manifest.map(Manifest::nonFinite).orElse(Set.of());
        Background<List<String>> receipts = new Background<>(root.global.threads(), () -> manifest.map(this::receipts).orElse(List.of()));
        receipts.begin();
        if (requantize && source == null) {
            GlobalOptions.noteWithoutEffect(spec, "--requantize says how the source was read, and changes nothing without --source");
        }
        if (source == null) {
            return report(verify(folder, Optional.empty(), expected, nonFinite, root.global, spec).with(receipts.get()));
        }
        try (Model model = Model.open(source, new LayoutOptions(requantize))) {
            return report(verify(folder, Optional.of(as(model, manifest)), expected, nonFinite, root.global, spec).with(receipts.get()));
        }
    }

    /// The source as it was when the folder was made from it.
    private Model as(Model model, Optional<Manifest> manifest) {
        Optional<String> how = manifest.flatMap(Manifest::rewrite);
        how.filter(h -> !h.equals(AnalysisOptions.POWER_OF_TWO)).ifPresent(h -> {
            throw InputException.in(folder.resolve("manifest.json"), "says that the source was rewritten by '" + h + "', which this version does not know; verify with the version that made it");
        });
        return how.isPresent() ? AnalysisArguments.rewrite(model, root.global, spec) : model;
    }

    /// What differs from the files that the manifest lists.
    private List<String> receipts(Manifest manifest) {
        List<Receipts.Listed> files = new ArrayList<>();
        List<String> problems = new ArrayList<>(ManifestCheck.problems(folder, manifest));
        manifest.files().forEach(f -> files.add(new Receipts.Listed(folder, f, "make the folder again")));
        if (source != null) {
            manifest.sourceReceipts().forEach(f -> files.add(new Receipts.Listed(source, f, "this is not the source that the folder was made from")));
        }
        try (Workers workers = new Workers(root.global.threads())) {
            problems.addAll(Receipts.problems(files, workers));
            return problems;
        }
    }

    static Verifier.Report verify(Path folder, Optional<Model> source, Map<String, Double> expected, Set<String> nonFinite, GlobalOptions global, CommandSpec spec) {
        try (Progress progress = global.progress(spec, "verify", Verifier.work(folder, source))) {
            return Verifier.verify(folder, source, expected, nonFinite, global.threads(), progress::advance);
        }
    }

    private int report(Verifier.Report report) {
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Documents.print(spec, report.json(source != null));
            return report.sound() ? ExitCode.DONE : ExitCode.INPUT;
        }
        report.problems().stream().limit(PROBLEMS_SHOWN).forEach(out::println);
        if (report.problems().size() > PROBLEMS_SHOWN) {
            out.println("and " + (report.problems().size() - PROBLEMS_SHOWN) + " more, which --json lists");
        }
        if (!report.sound()) {
            out.println(folder + ": " + Count.of(report.problems().size(), "problem"));
            return ExitCode.INPUT;
        }
        if (!ModelClass.isKnown(ModelConfig.read(folder))) {
            out.println("note: the model_type of config.json is none that mlx_lm is known to load, so this shows only that the numbers are right");
        }
        if (!root.global.quiet) {
            out.println(folder + ": sound; " + report.tensors() + " tensors, " + report.quantized() + " quantized modules"
                    + (source == null ? "; give --source to compare it with its source" : ", equal to what the source should give"));
        }
        return ExitCode.DONE;
    }
}
