package ram.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.Count;
import ram.InputException;
import ram.format.Format;
import ram.journal.Journal;
import ram.layout.Model;
import ram.profile.PartJson;
import ram.profile.PartNumber;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.profile.ProfilePart;
import ram.profile.Profiles;

@Command(name = "analyze", sortOptions = false,
        description = "Measures every weight of a model and writes the sensitivity profile, from which any number of budgets is planned.")
final class AnalyzeCommand implements Callable<Integer>, Resumable {
    @Parameters(paramLabel = "MODEL", description = "Folder with config.json and *.safetensors.")
    Path model;

    @Option(names = {"-o", "--output"}, paramLabel = "FILE", description = "Where to write the profile (default: profile.json; with --part I/N part-I.json).")
    Path output;

    @Option(names = "--part", paramLabel = "I/N", description = "Measure the I-th of N equal shares and write it as a part; `ram merge` joins the N parts.")
    PartNumber part;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @Option(names = "--fresh", description = "Start over instead of going on where an earlier run of the same command was stopped.")
    boolean fresh;

    @Option(names = "--formats", paramLabel = "MODE", completionCandidates = Completions.Modes.class, split = ",", defaultValue = "affine", description = "Formats to measure: affine, mxfp4, nvfp4, mxfp8 (default: ${DEFAULT-VALUE}).")
    List<String> formats;

    @Option(names = "--json", description = "Print the profile on stdout instead of writing a file.")
    boolean json;

    @Mixin
    AnalysisArguments analysis;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        Path file = output != null ? output : Path.of(part == null ? "profile.json" : "part-" + part.index() + ".json");
        if (json && output != null) {
            GlobalOptions.noteWithoutEffect(spec, "--json prints the profile, so nothing is written to " + output);
        }
        if (!json) {
            OutputFiles.refuseExisting(file, force);
        }
        try (Model source = analysis.open(model)) {
            Model m = analysis.rewritten(source, root.global, spec);
            if (json) {
                measure(m, file, Optional.empty());
                return ExitCode.DONE;
            }
            Path partial = OutputFiles.journal(file);
            if (fresh) {
                Journal.remove(partial);
            }
            try (Journal journal = Resumable.open(partial, fingerprint(m, analysis, ChoiceOptions.candidates(formats), root.global), root.global, spec.commandLine().getErr())) {
                try {
                    measure(m, file, Optional.of(journal));
                    journal.delete();
                } catch (InputException e) {
                    journal.delete();
                    throw e;
                }
            }
        }
        return ExitCode.DONE;
    }

    @Override
    public boolean resumable() {
        return !json;
    }

    private void measure(Model m, Path file, Optional<Journal> journal) {
        if (part != null) {
            ProfilePart measured = analyzePart(m, journal);
            write(file, PartJson.write(measured), "part " + part + ", " + matrices(measured.matrices()));
        } else {
            Profile profile = analyze(m, analysis, ChoiceOptions.candidates(formats), journal, root.global, spec);
            write(file, ProfileJson.write(profile), count(profile));
        }
    }

    private void write(Path file, byte[] document, String summary) {
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Documents.print(spec, document);
            return;
        }
        OutputFiles.write(file, document);
        if (!root.global.quiet) {
            out.println("wrote " + file + ": " + summary);
        }
    }

    static String count(Profile profile) {
        return Count.of(profile.modules().size(), "module") + ", " + matrices(profile.modules().stream().mapToInt(p -> p.tensors().size()).sum());
    }

    private static String matrices(int n) {
        return n + (n == 1 ? " matrix" : " matrices");
    }

    private ProfilePart analyzePart(Model m, Optional<Journal> journal) {
        try (Progress progress = root.global.progress(spec, "analyze", part.work(m.layout()))) {
            return Profiles.analyze(m, part, analysis.options(ChoiceOptions.candidates(formats), root.global.threads()), BuildInfo.read().version(), journal, progress::advance);
        }
    }

    /// What the results depend on.
    static String fingerprint(Model model, AnalysisArguments analysis, List<Format> formats, GlobalOptions global) {
        return Profiles.fingerprint(model, analysis.options(formats, global.threads()), BuildInfo.read().toString());
    }

    static Profile analyze(Model model, AnalysisArguments analysis, List<Format> formats, GlobalOptions global, CommandSpec spec) {
        return analyze(model, analysis, formats, Optional.empty(), global, spec);
    }

    static Profile analyze(Model model, AnalysisArguments analysis, List<Format> formats, Optional<Journal> journal, GlobalOptions global, CommandSpec spec) {
        try (Progress progress = global.progress(spec, "analyze", Profiles.work(model.layout()))) {
            return Profiles.analyze(model, analysis.options(formats, global.threads()), BuildInfo.read().version(), journal, progress::advance);
        }
    }
}
