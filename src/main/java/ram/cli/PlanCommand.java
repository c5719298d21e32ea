package ram.cli;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.plan.PlanRequest;
import ram.plan.Planner;
import ram.profile.Profile;
import ram.profile.ProfileJson;

@Command(name = "plan", sortOptions = false, description = "Chooses a format for every module of an analysed model, for a budget, and writes the manifest.")
final class PlanCommand implements Callable<Integer> {
    @Parameters(paramLabel = "PROFILE", description = "What `ram analyze` wrote.")
    Path profile;

    @Option(names = {"-o", "--output"}, paramLabel = "FILE", description = "Where to write the manifest (default: nowhere).")
    Path output;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @Option(names = "--json", description = "Print the manifest instead of the table.")
    boolean json;

    @Mixin
    PlanOptions plan;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        PlanRequest request = plan.request(spec);
        if (output != null) {
            OutputFiles.refuseExisting(output, force);
        }
        Profile read = ProfileJson.read(profile);
        Manifest manifest = Planner.plan(read, request);
        if (json) {
            spec.commandLine().getOut().print(new String(ManifestJson.write(manifest), StandardCharsets.UTF_8));
        } else {
            PlanTable.print(manifest, root.global.verbosity() > 0, spec.commandLine().getOut());
        }
        if (output != null) {
            OutputFiles.write(output, ManifestJson.write(manifest));
        }
        return ExitCode.DONE;
    }
}
