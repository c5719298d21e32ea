package ram.cli;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.format.Format;
import ram.layout.Model;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.profile.Profiles;

@Command(name = "analyze", sortOptions = false,
        description = "Measures every weight of a model and writes the sensitivity profile, from which any number of budgets is planned.")
final class AnalyzeCommand implements Callable<Integer> {
    @Parameters(paramLabel = "MODEL", description = "Folder with config.json and *.safetensors.")
    Path model;

    @Option(names = {"-o", "--output"}, paramLabel = "FILE", defaultValue = "profile.json", description = "Where to write the profile (default: ${DEFAULT-VALUE}).")
    Path output;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @Option(names = "--formats", paramLabel = "MODE", split = ",", defaultValue = "affine", description = "Formats to measure: affine, mxfp4, nvfp4, mxfp8 (default: ${DEFAULT-VALUE}).")
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
        if (!json) {
            OutputFiles.refuseExisting(output, force);
        }
        try (Model m = analysis.open(model)) {
            Profile profile = analyze(m, analysis, PlanOptions.candidates(formats), root.global, spec);
            if (json) {
                spec.commandLine().getOut().print(new String(ProfileJson.write(profile), StandardCharsets.UTF_8));
                return ExitCode.DONE;
            }
            OutputFiles.write(output, ProfileJson.write(profile));
            if (!root.global.quiet) {
                spec.commandLine().getOut().println("wrote " + output + ": " + profile.modules().size() + " modules, "
                        + profile.modules().stream().mapToInt(p -> p.tensors().size()).sum() + " matrices");
            }
        }
        return ExitCode.DONE;
    }

    static Profile analyze(Model model, AnalysisArguments analysis, List<Format> formats, GlobalOptions global, CommandSpec spec) {
        try (Progress progress = new Progress(spec.commandLine().getErr(), global.progressStyle(), "analyze", Profiles.work(model.layout()))) {
            return Profiles.analyze(model, analysis.options(formats, global.threads()), BuildInfo.read().version(), progress::advance);
        }
    }
}
