package ram.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.UsageException;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.report.ReportData;
import ram.report.ReportPage;

@Command(name = "report", sortOptions = false, description = "Writes one HTML file that shows a model and its plan: sensitivities, formats, frontier, error curves, experts, metrics. It needs no network.")
final class ReportCommand implements Callable<Integer> {
    @Parameters(paramLabel = "MANIFEST|OUT|PROFILE", description = "manifest.json, an output folder that has one, or what `ram analyze` wrote.")
    Path file;

    @Option(names = "--profile", paramLabel = "PROFILE", description = "The analysis that the plan was made from; without it the report has no sensitivities, curves and frontier.")
    Path profile;

    @Option(names = "--eval", paramLabel = "EVAL", description = "What `ram eval --json` printed (default: the manifest's own evaluation).")
    Path evaluation;

    @Option(names = {"-o", "--output"}, required = true, paramLabel = "FILE", description = "The HTML file to write.")
    Path output;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        Path given = Documents.manifest(file);
        OutputFiles.refuseExisting(output, force, given, profile, evaluation);
        boolean bare = Documents.schema(given).equals(Profile.SCHEMA);
        if (bare && profile != null) {
            throw new UsageException("--profile goes with a manifest; " + given + " is a profile itself");
        }
        Optional<Manifest> manifest = bare ? Optional.empty() : Optional.of(ManifestJson.read(given));
        Optional<Profile> measured = bare ? Optional.of(ProfileJson.read(given)) : Optional.ofNullable(profile).map(ProfileJson::read);
        Optional<JsonNode> evaluated = Optional.ofNullable(evaluation).map(Documents::evaluation);
        byte[] page = ReportPage.of(ReportData.of(manifest, measured, evaluated));
        OutputFiles.write(output, page);
        if (!root.global.quiet) {
            PrintWriter out = spec.commandLine().getOut();
            out.println("written   " + output + ", " + ByteSize.format(page.length) + (measured.isEmpty() ? "; give --profile for sensitivities, curves and frontier" : ""));
        }
        return ExitCode.DONE;
    }
}
