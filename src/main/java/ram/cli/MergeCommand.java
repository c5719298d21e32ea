package ram.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.Count;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.profile.ProfileParts;

@Command(name = "merge", sortOptions = false, description = "Joins the parts that `ram analyze --part` wrote; the profile is that of a single run, to the byte.")
final class MergeCommand implements Callable<Integer> {
    @Parameters(paramLabel = "PART", arity = "1..*", description = "All parts of one analysis, in any order.")
    List<Path> parts;

    @Option(names = {"-o", "--output"}, paramLabel = "FILE", defaultValue = "profile.json", description = "Where to write the profile (default: ${DEFAULT-VALUE}).")
    Path output;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @Option(names = "--json", description = "Print the profile on stdout instead of writing a file.")
    boolean json;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        if (!json) {
            OutputFiles.refuseExisting(output, force, parts.toArray(Path[]::new));
        }
        Profile profile = ProfileParts.merge(parts);
        if (json) {
            Documents.print(spec, ProfileJson.write(profile));
            return ExitCode.DONE;
        }
        OutputFiles.write(output, ProfileJson.write(profile));
        if (!root.global.quiet) {
            spec.commandLine().getOut().println("wrote " + output + ": " + AnalyzeCommand.count(profile) + ", from " + Count.of(parts.size(), "part"));
        }
        return ExitCode.DONE;
    }
}
