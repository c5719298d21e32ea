package ram.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.InputException;
import ram.convert.OutputFolder;
import ram.convert.StagedFolder;
import ram.format.Format;
import ram.layout.ExpectedTensors;
import ram.layout.Model;
import ram.layout.OutputTypes;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.plan.ModelFamily;
import ram.plan.PlanRequest;
import ram.plan.SizeBounds;

@Command(name = "quantize", sortOptions = false,
        description = "Analyses a model, plans for a budget, writes an MLX folder, verifies it, and only then gives it its name. For several budgets or targets OUT holds one folder each and family.json.")
final class QuantizeCommand implements Callable<Integer>, Resumable {
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

    @Option(names = "--fresh", description = "Start over instead of going on where an earlier run of the same command was stopped.")
    boolean fresh;

    @Option(names = "--reproducible-check", description = "Do everything twice, the second time with another number of threads, and keep the output only if every byte is the same.")
    boolean reproducibleCheck;

    @Option(names = "--json", description = "Print the manifest instead of the table.")
    boolean json;

    @Mixin
    PlanOptions plan;

    @Mixin
    AnalysisArguments analysis;

    @Mixin
    EvaluationArguments evaluation;

    @Mixin
    RefineArguments refine;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        List<PlanRequest> requests = plan.requests(spec);
        evaluation.check();
        noteWhatSaysNothing();
        refuseContradictions();
        if (!dryRun) {
            StagedFolder.refuseInputs(output, Stream.of(Stream.of(model), Stream.ofNullable(profile), evaluation.file().stream(), refine.file().stream()).flatMap(s -> s).toList());
            StagedFolder.refuseExisting(output, force);
        }
        QuantizeRun run = new QuantizeRun(model, profile, new QuantizeRun.Target(output, force, fresh, reproducibleCheck), plan, analysis, evaluation, refine, root.global, spec);
        try (Model m = analysis.open(model)) {
            requirePossible(m, requests);
            if (dryRun) {
                print(run.plans(m, requests));
            } else {
                QuantizeRun.Written written = run.write(m, requests);
                print(written.manifests());
                written.reproduced().ifPresent(this::print);
            }
        }
        if (!dryRun && !json && !root.global.quiet) {
            if (!OutputFolder.hasTokenizer(model)) {
                spec.commandLine().getOut().println("note      " + model + " has no tokenizer, without which mlx_lm does not load a folder; add its files to " + output);
            }
            spec.commandLine().getOut().println("written   " + output + ", verified against " + model);
        }
        return ExitCode.DONE;
    }

    private void refuseContradictions() {
        if (output == null && !dryRun) {
            throw new ParameterException(spec.commandLine(), "Missing required option: '--output=OUT' (or --dry-run)");
        }
        if (analysis.rewrite && refine.wanted()) {
            throw new ParameterException(spec.commandLine(), "--rewrite changes the inputs of modules that --refine learns from, so it excludes --refine");
        }
        if (dryRun && reproducibleCheck) {
            throw new ParameterException(spec.commandLine(), "--reproducible-check compares what is written, so it excludes --dry-run");
        }
        if (reproducibleCheck && root.global.threadsAllowed() < 2) {
            throw new ParameterException(spec.commandLine(), "--reproducible-check compares two numbers of threads, and --memory " + root.global.memory.text() + " allows only one; raise it to 96MB or more");
        }
    }

    /// What would otherwise be found out only after an analysis, or after hours.
    private void requirePossible(Model m, List<PlanRequest> requests) {
        SizeBounds bounds = SizeBounds.of(m.layout(), OutputTypes.of(m.layout(), m.config(), analysis.dtype()), requests.getFirst());
        requests.forEach(r -> bounds.require(r.limit()));
        requireLoadable(m);
        if (analysis.quantizer != null) {
            refine.require(analysis.quantizer);
        }
        refine.check(model);
        if (evaluation.wanted()) {
            evaluation.windows(model);
        }
        if (!dryRun && !StagedFolder.resumable(output)) {
            OutputFolder.requireSpace(output, model, requests.size(), Math.multiplyExact(bounds.smallest(), requests.size()));
        }
    }

    private void noteWhatSaysNothing() {
        boolean windows = Stream.of("--eval-seq-len", "--eval-samples").anyMatch(spec.commandLine().getParseResult()::hasMatchedOption);
        if (windows && !evaluation.wanted()) {
            GlobalOptions.noteWithoutEffect(spec, "--eval-seq-len and --eval-samples change nothing without --eval-text or --eval-tokens");
        }
        if (dryRun && evaluation.wanted()) {
            GlobalOptions.noteWithoutEffect(spec, "nothing is evaluated with --dry-run");
        }
        if (profile != null && (analysis.hash || analysis.keepNonFinite)) {
            GlobalOptions.noteWithoutEffect(spec, "--hash and --keep-nonfinite are of an analysis, and with --profile there is none");
        }
    }

    @Override
    public boolean resumable() {
        return !dryRun;
    }

    /// What `inspect` finds in the headers.
    private void requireLoadable(Model m) {
        List<String> problems = ExpectedTensors.problems(m.layout(), m.config());
        if (!problems.isEmpty()) {
            throw InputException.in(model, InputException.firstOf(problems, ", which `ram inspect` lists") + "; correct config.json, or download both again");
        }
    }

    private void print(List<Manifest> manifests) {
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Documents.print(spec, manifests.size() == 1 ? ManifestJson.write(manifests.getFirst()) : plan.family(manifests).json());
        } else if (root.global.quiet && !dryRun) {
            return;
        } else if (manifests.size() == 1) {
            PlanTable.print(manifests.getFirst(), root.global.verbosity() > 0, out);
        } else {
            printFamily(manifests, out);
        }
    }

    private void print(QuantizeRun.Reproduced reproduced) {
        if (!json && !root.global.quiet) {
            spec.commandLine().getOut().println("reproduced with " + reproduced.threads() + (reproduced.threads() == 1 ? " thread: " : " threads: ") + reproduced.files()
                    + " files are the same, byte for byte");
        }
    }

    private void printFamily(List<Manifest> manifests, PrintWriter out) {
        boolean measured = manifests.stream().anyMatch(m -> m.evaluation().isPresent());
        Table table = new Table("folder", ">size", ">bits/weight", ">predicted damage", measured ? ">measured KL" : "", ">for memory of", "");
        List<ModelFamily.Member> members = plan.family(manifests).members();
        for (int i = 0; i < members.size(); i++) {
            ModelFamily.Member member = members.get(i);
            Map<String, Format> formats = manifests.get(i).formats();
            String twin = IntStream.range(0, i).filter(j -> manifests.get(j).formats().equals(formats)).mapToObj(j -> "same plan as " + members.get(j).folder()).findFirst().orElse("");
            table.row(member.folder(), ByteSize.format(member.bytes()), String.format(Locale.ROOT, "%.3f", member.bitsPerWeight()), String.format(Locale.ROOT, "%.4g", member.damage()),
                    measured ? PlanTable.measuredDivergence(manifests.get(i)) : "", member.memoryGiB().isPresent() ? member.memoryGiB().getAsInt() + " GiB" : "-", twin);
        }
        table.print(out);
        out.println();
    }
}
