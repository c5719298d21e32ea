package ram.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
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
import ram.convert.Converter;
import ram.convert.ModelCard;
import ram.convert.OutputFolder;
import ram.convert.Receipts;
import ram.convert.StagedFolder;
import ram.format.Format;
import ram.layout.ExpectedTensors;
import ram.layout.Model;
import ram.layout.OutputTypes;
import ram.numeric.Background;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.plan.ModelFamily;
import ram.plan.OutputSize;
import ram.plan.PlanRequest;
import ram.plan.Planner;
import ram.plan.SizeBounds;
import ram.profile.Fingerprint;
import ram.profile.Journal;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.profile.Profiles;
import ram.refine.RefineStore;
import ram.safetensors.ShardPlan;
import ram.verify.Verifier;

@Command(name = "quantize", sortOptions = false,
        description = "Analyses a model, plans for a budget, writes an MLX folder, verifies it, and only then gives it its name. For several budgets OUT holds one folder each and family.json.")
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

    private int reproducedFiles;

    @Override
    public Integer call() {
        List<PlanRequest> requests = plan.requests(spec);
        evaluation.check();
        noteWhatSaysNothing();
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
        if (!dryRun) {
            StagedFolder.refuseInputs(output, Stream.of(Stream.of(model), Stream.ofNullable(profile), evaluation.file().stream(), refine.file().stream()).flatMap(s -> s).toList());
            StagedFolder.refuseExisting(output, force);
        }
        try (Model m = analysis.open(model)) {
            SizeBounds bounds = SizeBounds.of(m.layout(), OutputTypes.of(m.layout(), m.config(), analysis.dtype()), requests.getFirst());
            requests.forEach(r -> bounds.require(r.limit()));
            requireLoadable(m);
            // what would only be used after hours
            if (analysis.quantizer != null) {
                refine.require(analysis.quantizer);
            }
            refine.check(model);
            if (evaluation.wanted()) {
                evaluation.windows(model);
            }
            if (dryRun) {
                Model planned = analysis.rewritten(m, root.global, spec);
                print(plan(planned, measured(planned, requests.getFirst(), Optional.empty()), requests));
            } else {
                if (!StagedFolder.resumable(output)) {
                    OutputFolder.requireSpace(output, model, requests.size(), Math.multiplyExact(bounds.smallest(), requests.size()));
                }
                print(stage(m, requests));
            }
        }
        if (!dryRun && !json && !root.global.quiet) {
            if (reproducibleCheck) {
                int threads = root.global.threads();
                spec.commandLine().getOut().println("reproduced with " + threads + (threads == 1 ? " thread: " : " threads: ") + reproducedFiles + " files are the same, byte for byte");
            }
            spec.commandLine().getOut().println("written   " + output + ", verified against " + model);
        }
        return ExitCode.DONE;
    }

    /// Not refused, as it may stand among the defaults of a file.
    private void noteWhatSaysNothing() {
        PrintWriter err = spec.commandLine().getErr();
        boolean windows = Stream.of("--eval-seq-len", "--eval-samples").anyMatch(spec.commandLine().getParseResult()::hasMatchedOption);
        if (windows && !evaluation.wanted()) {
            err.println("ram: --eval-seq-len and --eval-samples change nothing without --eval-text or --eval-tokens");
        }
        if (dryRun && evaluation.wanted()) {
            err.println("ram: nothing is evaluated with --dry-run");
        }
        if (profile != null && (analysis.hash || analysis.keepNonFinite)) {
            err.println("ram: --hash and --keep-nonfinite are of an analysis, and with --profile there is none");
        }
    }

    @Override
    public boolean resumable() {
        return !dryRun;
    }

    private Profile measured(Model m, PlanRequest request, Optional<Path> journalFile) {
        Profile measured;
        if (profile != null) {
            measured = ProfileJson.read(profile);
        } else {
            List<Format> formats = plan.toMeasure(request);
            try (Journal journal = journalFile.map(f -> open(f, AnalyzeCommand.fingerprint(m, analysis, formats, root.global))).orElse(null)) {
                measured = AnalyzeCommand.analyze(m, analysis, formats, Optional.ofNullable(journal), root.global, spec);
            }
        }
        Profiles.requireMatch(measured, m, profile);
        analysis.requireSameType(measured);
        analysis.requireSameRewriting(measured);
        analysis.requireExact(measured);
        return measured;
    }

    private Journal open(Path file, String fingerprint) {
        return Resumable.open(file, fingerprint, root.global, spec.commandLine().getErr());
    }

    private List<Manifest> plan(Model m, Profile measured, List<PlanRequest> requests) {
        List<Manifest> manifests = requests.stream()
                .map(r -> plan.noted(Planner.plan(measured, plan.resolve(r, measured))).withQuantizer(analysis.quantizer(measured), measured.quantizer())).toList();
        refine.require(analysis.quantizer(measured));
        if (refine.wanted() && !root.global.quiet) {
            spec.commandLine().getErr().println(refine.describe(refine.cost(m, model, manifests.getFirst().formats(), types(m, measured))));
        }
        return manifests;
    }

    /// Everything from the analysis on, in a hidden folder. It stays for the next run when this one is stopped or runs out of something;
    /// after a mistake in the input or in the command nothing stays.
    private List<Manifest> stage(Model source, List<PlanRequest> requests) {
        try (StagedFolder folder = StagedFolder.open(output, force, fresh)) {
            try {
                List<Manifest> finished = fill(folder, source, requests);
                if (reproducibleCheck) {
                    reproduce(folder, source, requests);
                }
                folder.publish();
                return finished;
            } catch (UncheckedIOException | CancellationException e) {
                throw e;
            } catch (RuntimeException e) {
                folder.discard();
                throw e;
            }
        }
    }

    /// Does it again in another hidden folder with another number of threads, and compares every file before anything gets the name of the output.
    private void reproduce(StagedFolder first, Model source, List<PlanRequest> requests) {
        root.global.threads = root.global.threads() == 1 ? 2 : 1;
        try (StagedFolder second = StagedFolder.open(first.beside("again"), true, true)) {
            try {
                fill(second, source, requests);
                SameFiles.Comparison compared = SameFiles.compare(first.path(), second.path());
                if (compared.difference().isPresent()) {
                    first.discard();
                    throw new UncheckedIOException(output.toString(), new IOException("is not reproducible, so it was not kept: " + compared.difference().get()
                            + "; check that MODEL does not change meanwhile, otherwise report this"));
                }
                reproducedFiles = compared.files();
            } finally {
                second.discard();
            }
        }
    }

    /// Analyses, plans, writes and verifies.
    private List<Manifest> fill(StagedFolder folder, Model source, List<PlanRequest> requests) {
        Model m = analysis.rewritten(source, root.global, spec);
        Profile measured = measured(m, requests.getFirst(), Optional.of(folder.beside("analyze.journal")));
        return write(m, measured, plan(m, measured, requests), folder);
    }

    /// Writes one output, or several into folders with the names of their budgets.
    private List<Manifest> write(Model m, Profile measured, List<Manifest> planned, StagedFolder folder) {
        List<ShardPlan> shards = planned.stream().map(p -> OutputSize.of(measured, p.formats())).toList();
        List<RefineStore> stores = new ArrayList<>();
        String inputs = refine.wanted() ? refine.fingerprint(model) : "";
        long total = shards.stream().mapToLong(ShardPlan::totalBytes).reduce(0, Math::addExact);
        if (refine.wanted() && !Files.exists(folder.beside("refine-0"))) {
            long working = planned.stream().mapToLong(p -> refine.cost(m, model, p.formats(), types(m, measured)).files()).reduce(0, Math::addExact);
            OutputFolder.requireSpace(output, model, planned.size(), Math.addExact(total, working));
        }
        try {
            List<Converter.Variant> variants = new ArrayList<>();
            List<Manifest> refined = new ArrayList<>();
            for (int i = 0; i < planned.size(); i++) {
                Path own = planned.size() == 1 ? folder.path() : folder.path().resolve(plan.budgets.get(i).text());
                Manifest manifest = planned.get(i);
                if (refine.wanted()) {
                    RefineStore store = new RefineStore(folder.beside("refine-" + i), refine.fingerprint(inputs, manifest, types(m, measured)));
                    stores.add(store);
                    refined.add(refine.refine(m, model, manifest, types(m, measured), store, root.global, spec));
                    variants.add(new Converter.Variant(manifest.formats(), shards.get(i), own, store::module));
                } else {
                    refined.add(manifest);
                    variants.add(new Converter.Variant(manifest.formats(), shards.get(i), own));
                }
            }
            List<Manifest> finished;
            try (Journal journal = open(folder.beside("write.journal"), fingerprint(m, measured, refined, variants))) {
                folder.keepOnly(journal.earlier().isEmpty() ? Set.of() : files(folder.path(), variants));
                if (variants.size() > 1) {
                    variants.forEach(v -> OutputFolder.create(v.folder()));
                }
                OutputFolder.requireSpace(output, model, planned.size(), Math.max(0, total - Converter.written(journal)));
                finished = write(m, measured, refined, variants, journal);
            }
            if (planned.size() > 1) {
                OutputFolder.write(folder.path().resolve("family.json"), family(finished).json());
            }
            return finished;
        } finally {
            stores.forEach(RefineStore::close);
        }
    }

    private String fingerprint(Model m, Profile measured, List<Manifest> planned, List<Converter.Variant> variants) {
        Fingerprint f = Fingerprint.of("write", BuildInfo.read().toString(), m).add(analysis.quantizer(measured).name()).add(types(m, measured).main().name());
        for (int i = 0; i < variants.size(); i++) {
            f.add(ManifestJson.write(planned.get(i)));
            variants.get(i).plan().shards().forEach(s -> f.add(s.fileName()).add(s.head()));
            f.add(String.valueOf(variants.size() == 1 ? "" : variants.get(i).folder().getFileName()));
        }
        return f.add(refine.wanted() ? "refined" : "").line();
    }

    private static Set<Path> files(Path folder, List<Converter.Variant> variants) {
        Set<Path> out = new HashSet<>();
        variants.forEach(v -> v.plan().shards().forEach(s -> out.add(folder.relativize(v.folder().resolve(s.fileName())))));
        return out;
    }

    private static OutputTypes types(Model m, Profile measured) {
        return OutputTypes.of(m.layout(), m.config(), Optional.of(measured.dtype()));
    }

    private List<Manifest> write(Model m, Profile measured, List<Manifest> planned, List<Converter.Variant> variants, Journal journal) {
        List<Map<String, Converter.Measured>> written;
        Background<List<Manifest.OutputFile>> sources = new Background<>(root.global.threads(), () -> Receipts.of(m, 1));
        try (Progress progress = root.global.progress(spec, "write", Converter.work(m.layout()))) {
            written = new Converter(analysis.quantizer(measured), root.global.threads()).write(m.layout(), types(m, measured), variants, Optional.of(journal), bytes -> {
                // not before the first block is done and the code compiled
                sources.begin();
                progress.advance(bytes);
            });
        }
        List<Manifest> finished = new ArrayList<>();
        for (int i = 0; i < variants.size(); i++) {
            finished.add(finish(m, measured, planned.get(i), variants.get(i), written.get(i), sources));
        }
        return finished;
    }

    /// Adds what belongs beside the tensors, and verifies.
    private Manifest finish(Model m, Profile measured, Manifest planned, Converter.Variant variant, Map<String, Converter.Measured> written,
                            Background<List<Manifest.OutputFile>> sources) {
        Path folder = variant.folder();
        Manifest manifest = OutputFolder.writeSideFiles(m, measured, planned, variant, written);
        if (evaluation.wanted()) {
            manifest = manifest.withEvaluation(evaluation.evaluate(model, folder, root.global, spec));
        }
        OutputFolder.write(folder.resolve("README.md"), ModelCard.write(model, manifest));
        Background<List<Manifest.OutputFile>> files = new Background<>(root.global.threads(), () -> Receipts.of(folder, root.global.threads()));
        files.begin();
        Verifier.Report report = VerifyCommand.verify(folder, Optional.of(m), manifest.writtenErrors(), manifest.nonFinite(), root.global, spec);
        if (!report.sound()) {
            m.checkpoint().requireUnchanged();
        }
        requireSound(report.problems());
        Profiles.requireContent(measured, m, profile, sources.get().stream().map(Manifest.OutputFile::sha256).toList());
        manifest = manifest.withFiles(sources.get(), files.get());
        OutputFolder.write(folder.resolve("manifest.json"), ManifestJson.write(manifest));
        return manifest;
    }

    /// What `inspect` finds in the headers, before an analysis.
    private void requireLoadable(Model m) {
        List<String> problems = ExpectedTensors.problems(m.layout(), m.config());
        if (!problems.isEmpty()) {
            throw InputException.in(model, problems.getFirst() + (problems.size() > 1 ? " (and " + (problems.size() - 1) + " more, which `ram inspect` lists)" : "")
                    + "; config.json does not fit the tensors, download both again");
        }
    }

    private void requireSound(List<String> problems) {
        if (!problems.isEmpty()) {
            throw InputException.in(model, "does not give a sound output: " + problems.getFirst() + (problems.size() > 1 ? " (and " + (problems.size() - 1) + " more)" : "")
                    + "; its config.json may not fit its tensors, otherwise report this");
        }
    }

    private ModelFamily family(List<Manifest> manifests) {
        List<ModelFamily.Member> members = new ArrayList<>();
        for (int i = 0; i < manifests.size(); i++) {
            members.add(ModelFamily.Member.of(plan.budgets.get(i).text(), manifests.get(i)));
        }
        return new ModelFamily(manifests.getFirst().toolVersion(), members);
    }

    private void print(List<Manifest> manifests) {
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Documents.print(spec, manifests.size() == 1 ? ManifestJson.write(manifests.getFirst()) : family(manifests).json());
        } else if (root.global.quiet && !dryRun) {
            return;
        } else if (manifests.size() == 1) {
            PlanTable.print(manifests.getFirst(), root.global.verbosity() > 0, out);
        } else {
            printFamily(manifests, out);
        }
    }

    private void printFamily(List<Manifest> manifests, PrintWriter out) {
        boolean measured = manifests.stream().anyMatch(m -> m.evaluation().isPresent());
        Table table = new Table("folder", ">size", ">bits/weight", ">predicted damage", measured ? ">measured KL" : "", ">for memory of", "");
        List<ModelFamily.Member> members = family(manifests).members();
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
