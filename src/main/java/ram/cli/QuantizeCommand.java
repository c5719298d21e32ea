package ram.cli;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.convert.Converter;
import ram.convert.ModelCard;
import ram.convert.OutputFolder;
import ram.convert.StagedFolder;
import ram.format.Format;
import ram.layout.Model;
import ram.layout.OutputTypes;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.plan.OutputSize;
import ram.plan.PlanRequest;
import ram.plan.Planner;
import ram.plan.SizeBounds;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.profile.Profiles;
import ram.safetensors.DType;
import ram.safetensors.ShardPlan;
import ram.verify.Verifier;

@Command(name = "quantize", sortOptions = false,
        description = "Analyses a model, plans for a budget, writes an MLX folder, verifies it, and only then gives it its name.")
final class QuantizeCommand implements Callable<Integer> {
    @Parameters(paramLabel = "MODEL", description = "Folder with config.json and *.safetensors.")
    Path model;

    @Option(names = {"-o", "--output"}, paramLabel = "OUT", description = "The folder to write. It must not exist, unless --force is given.")
    Path output;

    @Option(names = "--profile", paramLabel = "FILE", description = "Use this analysis of the model instead of a new one.")
    Path profile;

    @Option(names = "--dry-run", description = "Stop before anything is written.")
    boolean dryRun;

    @Option(names = "--force", description = "Replace an existing OUT once the new one is complete.")
    boolean force;

    @Option(names = "--json", description = "Print the manifest instead of the table.")
    boolean json;

    @Mixin
    PlanOptions plan;

    @Mixin
    AnalysisArguments analysis;

    @Mixin
    EvaluationArguments evaluation;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        PlanRequest request = plan.request(spec);
        evaluation.check();
        if (output == null && !dryRun) {
            throw new ParameterException(spec.commandLine(), "Missing required option: '--output=OUT' (or --dry-run)");
        }
        if (!dryRun) {
            StagedFolder.refuseExisting(output, force);
        }
        try (Model m = analysis.open(model)) {
            SizeBounds bounds = SizeBounds.of(m.layout(), OutputTypes.of(m.layout(), m.config(), analysis.dtype()), request);
            request.budget().ifPresent(bounds::require);
            Profile measured = profile == null ? AnalyzeCommand.analyze(m, analysis, PlanOptions.candidates(plan.formats), root.global, spec)
                    : ProfileJson.read(profile);
            Profiles.requireMatch(measured, m, profile);
            analysis.requireSameType(measured);
            Manifest manifest = Planner.plan(measured, request).withQuantizer(analysis.quantizer(measured), AnalysisArguments.measuredWith(measured));
            if (dryRun) {
                print(manifest);
                return ExitCode.DONE;
            }
            return write(m, measured, manifest);
        }
    }

    private int write(Model m, Profile measured, Manifest planned) {
        Map<String, Format> formats = planned.formats();
        ShardPlan shards = OutputSize.of(measured, measured.modules().stream().map(p -> formats.get(p.path())).toList());
        OutputFolder.requireSpace(output, shards.totalBytes());
        SortedMap<String, Format> quantized = new TreeMap<>();
        formats.forEach((path, format) -> {
            if (!format.isDense()) {
                quantized.put(path, format);
            }
        });
        measured.prequantized().forEach(p -> quantized.put(p.path(), p.format()));
        Manifest manifest;
        try (StagedFolder folder = StagedFolder.create(output, force)) {
            OutputTypes types = OutputTypes.of(m.layout(), m.config(), DType.fromTorchName(measured.options().get("dtype")));
            Map<String, Converter.Measured> written;
            try (Progress progress = new Progress(spec.commandLine().getErr(), root.global.progressStyle(), "write", Converter.work(m.layout()))) {
                written = new Converter(analysis.quantizer(measured), root.global.threads())
                        .write(m.layout(), formats, types, shards, folder.path(), progress::advance);
            }
            Map<String, Double> errors = new TreeMap<>();
            written.forEach((path, e) -> errors.put(path, e.relativeError()));
            manifest = planned.withWrittenErrors(errors);
            OutputFolder.writeSideFiles(m, shards, quantized, folder.path());
            if (evaluation.wanted()) {
                manifest = manifest.withEvaluation(evaluation.evaluate(model, folder.path(), root.global, spec));
            }
            OutputFolder.write(folder.path().resolve("README.md"), ModelCard.write(model, manifest));
            OutputFolder.write(folder.path().resolve("manifest.json"), ManifestJson.write(manifest));
            Verifier.Report report = VerifyCommand.verify(folder.path(), Optional.of(m), errors, root.global, spec);
            if (!report.sound()) {
                throw new IllegalStateException("the written folder did not verify: " + String.join("; ", report.problems()));
            }
            folder.publish();
        }
        print(manifest);
        if (!json && !root.global.quiet) {
            spec.commandLine().getOut().println("written   " + output + ", verified against " + model);
        }
        return ExitCode.DONE;
    }

    private void print(Manifest manifest) {
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            out.print(new String(ManifestJson.write(manifest), StandardCharsets.UTF_8));
        } else if (!root.global.quiet) {
            PlanTable.print(manifest, root.global.verbosity() > 0, out);
        }
    }
}
