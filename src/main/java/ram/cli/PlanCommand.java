package ram.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.document.JsonDocument;
import ram.layout.Model;
import ram.layout.OutputTypes;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.plan.PlanRequest;
import ram.plan.Policy;
import ram.plan.SizeBounds;
import ram.profile.Profile;
import ram.profile.ProfileJson;

@Command(name = "plan", sortOptions = false, description = "Chooses a format for every module of an analysed model, for a budget, and writes the manifest.")
final class PlanCommand implements Callable<Integer> {
    @Parameters(paramLabel = "PROFILE", description = "What `ram analyze` wrote; with --dry-run also a model folder.")
    Path profile;

    @Option(names = {"-o", "--output"}, paramLabel = "FILE", description = "Where to write the manifest (default: nowhere).")
    Path output;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @Option(names = "--dry-run", description = "Write nothing; of a model folder, print the smallest and the largest possible output, from headers alone.")
    boolean dryRun;

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
        if (dryRun && Files.isDirectory(profile)) {
            return printBounds();
        }
        PlanRequest request = plan.request(spec);
        if (output != null) {
            OutputFiles.refuseExisting(output, force, profile);
        }
        Profile read = ProfileJson.read(profile);
        Manifest manifest = plan.plan(0, request, read);
        if (json) {
            Documents.print(spec, ManifestJson.write(manifest));
        } else {
            PlanTable.print(manifest, root.global.verbosity() > 0, spec.commandLine().getOut());
        }
        if (output != null && !dryRun) {
            OutputFiles.write(output, ManifestJson.write(manifest));
            if (!json && !root.global.quiet) {
                spec.commandLine().getOut().println("written   " + output);
            }
        }
        return ExitCode.DONE;
    }

    private int printBounds() {
        PlanRequest request = plan.anyRequest(spec);
        if (output != null || !plan.targets.isEmpty() || plan.maxDivergence != null || request.policy() != Policy.BUDGET) {
            GlobalOptions.noteWithoutEffect(spec, "without a profile --dry-run tells what sizes are possible; --policy, --max-kl, --target and -o change nothing about that");
        }
        try (Model model = Model.open(profile)) {
            SizeBounds bounds = SizeBounds.of(model.layout(), OutputTypes.of(model.layout(), model.config(), Optional.empty()), request);
            if (json) {
                ObjectNode document = JsonDocument.object().put("schema", "ram.bounds/1").put("parameters", bounds.parameters()).put("smallest_bytes", bounds.smallest())
                        .put("smallest_bits_per_weight", bits(bounds.smallestData(), bounds)).put("largest_bytes", bounds.largest()).put("largest_bits_per_weight", bits(bounds.largestData(), bounds));
                Documents.print(spec, JsonDocument.bytes(document));
            } else {
                spec.commandLine().getOut().printf(Locale.ROOT, "%s parameters%nsmallest  %s, %.3f bits per weight, unless its errors turn out too large%nlargest   %s, %.3f bits per weight%n",
                        InspectCommand.count(bounds.parameters()), ByteSize.exact(bounds.smallest()), bits(bounds.smallestData(), bounds),
                        ByteSize.exact(bounds.largest()), bits(bounds.largestData(), bounds));
            }
            bounds.require(request.limit());
        }
        return ExitCode.DONE;
    }

    private static double bits(long dataBytes, SizeBounds bounds) {
        return 8.0 * dataBytes / Math.max(1, bounds.parameters());
    }
}
