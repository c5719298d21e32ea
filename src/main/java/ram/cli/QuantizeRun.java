package ram.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import picocli.CommandLine.Model.CommandSpec;
import ram.InputException;
import ram.convert.Converter;
import ram.convert.ModelCard;
import ram.convert.OutputFolder;
import ram.convert.Receipts;
import ram.convert.StagedFolder;
import ram.format.Format;
import ram.format.Quantizer;
import ram.journal.Fingerprint;
import ram.journal.Journal;
import ram.layout.Model;
import ram.layout.OutputTypes;
import ram.numeric.Background;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.plan.OutputSize;
import ram.plan.PlanRequest;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.profile.Profiles;
import ram.refine.RefineCost;
import ram.refine.RefineStore;
import ram.safetensors.ShardPlan;
import ram.verify.Verifier;

/// What `quantize` does once its options are checked: everything is made in a hidden folder, and only what was verified gets the name of the output.
///
/// @param model its folder
/// @param profile an analysis to use instead of a new one; null for none
record QuantizeRun(Path model, Path profile, Target target, PlanOptions plan, AnalysisArguments analysis, EvaluationArguments evaluation, RefineArguments refine,
                   GlobalOptions global, CommandSpec spec) {
    /// Where the output goes and how.
    ///
    /// @param output null when only plans are asked for
    /// @param force whether an existing output is replaced
    /// @param fresh whether what an earlier run left is thrown away
    /// @param twice whether everything is done again with another number of threads, to compare
    record Target(Path output, boolean force, boolean fresh, boolean twice) {
    }

    /// @param manifests one for each request
    /// @param reproduced empty when nothing was done twice
    record Written(List<Manifest> manifests, Optional<Reproduced> reproduced) {
    }

    /// A second run that gave the same bytes.
    ///
    /// @param threads with which it ran
    /// @param files that were compared
    record Reproduced(int threads, int files) {
    }

    /// The model as it is written, and what was measured of it.
    private record Source(Model model, Profile measured) {
        OutputTypes types() {
            return OutputTypes.of(model.layout(), model.config(), Optional.of(measured.dtype()));
        }
    }

    /// An output that is to be written.
    private record Output(Manifest manifest, Converter.Variant variant) {
        Path folder() {
            return variant.folder();
        }

        List<ShardPlan.ShardFile> shards() {
            return variant.plan().shards();
        }
    }

    /// The plans, of which nothing is written.
    List<Manifest> plans(Model opened, List<PlanRequest> requests) {
        return planned(source(opened, requests, Optional.empty()), requests);
    }

    /// Everything from the analysis on, in a hidden folder. It stays for the next run when this one is stopped or runs out of something;
    /// after a mistake in the input or in the command nothing stays.
    Written write(Model opened, List<PlanRequest> requests) {
        try (StagedFolder staged = StagedFolder.open(target.output(), target.force(), target.fresh())) {
            try {
                List<Manifest> finished = fill(staged, opened, requests);
                Optional<Reproduced> reproduced = target.twice() ? Optional.of(reproduce(staged, opened, requests)) : Optional.empty();
                staged.publish();
                return new Written(finished, reproduced);
            } catch (UncheckedIOException | CancellationException e) {
                throw e;
            } catch (RuntimeException e) {
                staged.discard();
                throw e;
            }
        }
    }

    /// Does it again in another hidden folder with another number of threads, and compares every file before anything gets the name of the output.
    private Reproduced reproduce(StagedFolder first, Model opened, List<PlanRequest> requests) {
        global.threads = global.threads() == 1 ? 2 : 1;
        try (StagedFolder second = StagedFolder.open(first.beside("again"), true, true)) {
            try {
                fill(second, opened, requests);
                SameFiles.Comparison compared = SameFiles.compare(first.path(), second.path());
                if (compared.difference().isPresent()) {
                    first.discard();
                    throw new UncheckedIOException(target.output().toString(), new IOException("is not reproducible, so it was not kept: " + compared.difference().get()
                            + "; check that MODEL does not change meanwhile, otherwise report this"));
                }
                return new Reproduced(global.threads(), compared.files());
            } finally {
                second.discard();
            }
        }
    }

    /// Analyses, plans, writes and verifies.
    private List<Manifest> fill(StagedFolder staged, Model opened, List<PlanRequest> requests) {
        Source source = source(opened, requests, Optional.of(staged.beside("analyze.journal")));
        return refineAndWrite(source, planned(source, requests), staged);
    }

    private Source source(Model opened, List<PlanRequest> requests, Optional<Path> journalFile) {
        Model m = analysis.rewritten(opened, global, spec);
        Profile measured = profile == null ? analyzed(m, plan.toMeasure(requests.getFirst()), journalFile) : ProfileJson.read(profile);
        Profiles.requireMatch(measured, m, profile);
        analysis.requireSameType(measured);
        analysis.requireSameRewriting(measured);
        analysis.requireExact(measured);
        return new Source(m, measured);
    }

    private Profile analyzed(Model m, List<Format> formats, Optional<Path> journalFile) {
        try (Journal journal = journalFile.map(f -> open(f, AnalyzeCommand.fingerprint(m, analysis, formats, global))).orElse(null)) {
            return AnalyzeCommand.analyze(m, analysis, formats, Optional.ofNullable(journal), global, spec);
        }
    }

    private Journal open(Path file, String fingerprint) {
        return Resumable.open(file, fingerprint, global, spec.commandLine().getErr());
    }

    private Quantizer quantizer(Source source) {
        return analysis.quantizer(source.measured());
    }

    private List<Manifest> planned(Source source, List<PlanRequest> requests) {
        Profile measured = source.measured();
        List<Manifest> manifests = IntStream.range(0, requests.size())
                .mapToObj(i -> plan.plan(i, requests.get(i), measured).withQuantizer(quantizer(source), measured.quantizer())).toList();
        refine.require(quantizer(source));
        if (refine.wanted() && !global.quiet) {
            spec.commandLine().getErr().println(refine.describe(cost(source, manifests.getFirst())));
        }
        return manifests;
    }

    private RefineCost cost(Source source, Manifest planned) {
        return refine.cost(source.model(), model, planned.formats(), source.types());
    }

    /// Makes one output, or several in folders with the names of their budgets or targets.
    private List<Manifest> refineAndWrite(Source source, List<Manifest> planned, StagedFolder staged) {
        List<ShardPlan> shards = planned.stream().map(p -> OutputSize.of(source.measured(), p.formats())).toList();
        long total = shards.stream().mapToLong(ShardPlan::totalBytes).reduce(0, Math::addExact);
        List<RefineStore> stores = new ArrayList<>();
        String inputs = refine.wanted() ? refine.fingerprint(model) : "";
        if (refine.wanted() && !Files.exists(staged.beside("refine-0"))) {
            long working = planned.stream().mapToLong(p -> cost(source, p).files()).reduce(0, Math::addExact);
            requireSpace(planned.size(), Math.addExact(total, working));
        }
        try {
            List<Output> outputs = new ArrayList<>();
            for (int i = 0; i < planned.size(); i++) {
                Path folder = planned.size() == 1 ? staged.path() : staged.path().resolve(plan.folder(i));
                Manifest manifest = planned.get(i);
                if (refine.wanted()) {
                    RefineStore store = new RefineStore(staged.beside("refine-" + i), refine.fingerprint(inputs, manifest, source.types()));
                    stores.add(store);
                    Manifest refined = refine.refine(source.model(), model, manifest, source.types(), store, global, spec);
                    outputs.add(new Output(refined, new Converter.Variant(manifest.formats(), shards.get(i), folder, store::module)));
                } else {
                    outputs.add(new Output(manifest, new Converter.Variant(manifest.formats(), shards.get(i), folder)));
                }
            }
            return writeAndFinish(source, outputs, total, staged);
        } finally {
            stores.forEach(RefineStore::close);
        }
    }

    /// Goes on where an earlier run was stopped, if that was to write the same.
    ///
    /// @param total bytes of all tensors
    private List<Manifest> writeAndFinish(Source source, List<Output> outputs, long total, StagedFolder staged) {
        List<Manifest> finished;
        try (Journal journal = open(staged.beside("write.journal"), fingerprint(source, outputs))) {
            staged.keepOnly(journal.earlier().isEmpty() ? Set.of() : files(staged.path(), outputs));
            if (outputs.size() > 1) {
                outputs.forEach(o -> OutputFolder.create(o.folder()));
            }
            requireSpace(outputs.size(), Math.max(0, total - Converter.written(journal)));
            finished = writeAndFinish(source, outputs, journal);
        }
        if (outputs.size() > 1) {
            OutputFolder.write(staged.path().resolve("family.json"), plan.family(finished).json());
        }
        return finished;
    }

    private void requireSpace(int outputs, long bytes) {
        OutputFolder.requireSpace(target.output(), model, outputs, bytes);
    }

    private String fingerprint(Source source, List<Output> outputs) {
        Fingerprint f = Fingerprint.of("write", BuildInfo.read().toString(), source.model()).add(quantizer(source).name()).add(source.types().main().name());
        outputs.forEach(o -> {
            f.add(ManifestJson.write(o.manifest()));
            o.shards().forEach(s -> f.add(s.fileName()).add(s.head()));
            f.add(String.valueOf(outputs.size() == 1 ? "" : o.folder().getFileName()));
        });
        return f.add(refine.wanted() ? "refined" : "").line();
    }

    private static Set<Path> files(Path folder, List<Output> outputs) {
        return outputs.stream().flatMap(o -> o.shards().stream().map(s -> folder.relativize(o.folder().resolve(s.fileName())))).collect(Collectors.toSet());
    }

    private List<Manifest> writeAndFinish(Source source, List<Output> outputs, Journal journal) {
        List<Map<String, Converter.Measured>> written;
        Model m = source.model();
        Background<List<Manifest.OutputFile>> receipts = new Background<>(global.threads(), () -> Receipts.of(m, 1));
        try (Progress progress = global.progress(spec, "write", Converter.work(m.layout()))) {
            List<Converter.Variant> variants = outputs.stream().map(Output::variant).toList();
            written = new Converter(quantizer(source), global.threads()).write(m.layout(), source.types(), variants, Optional.of(journal), bytes -> {
                // not before the first block is done and the code compiled
                receipts.begin();
                progress.advance(bytes);
            });
        }
        return IntStream.range(0, outputs.size()).mapToObj(i -> finish(source, outputs.get(i), written.get(i), receipts)).toList();
    }

    /// Adds what belongs beside the tensors, and verifies.
    ///
    /// @param receipts of the source
    private Manifest finish(Source source, Output output, Map<String, Converter.Measured> written, Background<List<Manifest.OutputFile>> receipts) {
        Path folder = output.folder();
        Manifest manifest = OutputFolder.writeSideFiles(source.model(), source.measured(), output.manifest(), output.variant(), written);
        if (evaluation.wanted()) {
            manifest = manifest.withEvaluation(evaluation.evaluate(model, folder, global, spec));
        }
        OutputFolder.write(folder.resolve("README.md"), ModelCard.write(model, manifest));
        Background<List<Manifest.OutputFile>> files = new Background<>(global.threads(), () -> Receipts.of(folder, global.threads()));
        files.begin();
        Verifier.Report report = VerifyCommand.verify(folder, Optional.of(source.model()), manifest.writtenErrors(), manifest.nonFinite(), global, spec);
        if (!report.sound()) {
            source.model().checkpoint().requireUnchanged();
        }
        requireSound(report.problems());
        Profiles.requireContent(source.measured(), source.model(), profile, receipts.get().stream().map(Manifest.OutputFile::sha256).toList());
        manifest = manifest.withFiles(receipts.get(), files.get());
        OutputFolder.write(folder.resolve("manifest.json"), ManifestJson.write(manifest));
        return manifest;
    }

    private void requireSound(List<String> problems) {
        if (!problems.isEmpty()) {
            throw InputException.in(model, "does not give a sound output: " + InputException.firstOf(problems, "") + "; its config.json may not fit its tensors, otherwise report this");
        }
    }
}
