package ram.cli;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.Count;
import ram.UsageException;
import ram.document.JsonDocument;
import ram.eval.EvalDocuments;
import ram.eval.EvalModel;
import ram.eval.EvalOptions;
import ram.eval.EvalReport;
import ram.eval.Evaluator;
import ram.eval.Noise;
import ram.eval.TextTokens;
import ram.eval.TokenSet;
import ram.numeric.Workers;

@Command(name = "eval", sortOptions = false,
        description = "Measures perplexity, and with --reference how far predictions are from the reference's. Runs on the CPU, in float32, one layer at a time.")
final class EvalCommand implements Callable<Integer> {
    @Parameters(paramLabel = "MODEL", arity = "1..*", description = "Model folders: Hugging Face checkpoints or MLX ones, quantized or not.")
    List<Path> models;

    @ArgGroup(multiplicity = "1")
    Input input;

    static final class Input {
        @Option(names = "--text", required = true, paramLabel = "FILE", description = "UTF-8 text, read with the tokenizer.json of the reference, or else of the first model.")
        Path text;

        @Option(names = "--tokens", required = true, paramLabel = "FILE", description = "Token ids: little-endian int32, or .npy of int32 or int64.")
        Path tokens;
    }

    @Option(names = "--reference", paramLabel = "MODEL", description = "The model to compare with, usually the source of the others.")
    Path reference;

    @Option(names = "--seq-len", paramLabel = "N", defaultValue = "" + TokenSet.SEQUENCE_LENGTH, description = "Tokens per window; windows do not overlap (default: ${DEFAULT-VALUE}).")
    int length;

    @Option(names = "--samples", paramLabel = "N", defaultValue = "" + TokenSet.SAMPLES, description = "Windows to evaluate at most (default: ${DEFAULT-VALUE}).")
    int samples;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "" + TokenSet.SEED, description = "Chooses the windows, and the noise of --noise-control (default: ${DEFAULT-VALUE}).")
    long seed;

    @Option(names = "--noise-control", description = "Also evaluate the reference with Gaussian noise of the same relative error as each model, module by module.")
    boolean noiseControl;

    @Option(names = "--partial", paramLabel = "FILE", description = "Keep finished windows in this file and go on from it after a stop.")
    Path partial;

    @Option(names = "--json", description = "Print one JSON document.")
    boolean json;

    @Option(names = "--csv", paramLabel = "FILE", description = "Also write a table with one line per model.")
    Path csv;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        check();
        List<EvalModel> opened = new ArrayList<>();
        try {
            Optional<EvalModel> base = Optional.ofNullable(reference).map(EvalModel::open);
            base.ifPresent(opened::add);
            List<EvalModel> evaluated = new ArrayList<>();
            List<String> names = names(models);
            for (int i = 0; i < names.size(); i++) {
                EvalModel model = new EvalModel(EvalDocuments.named(names.get(i)), EvalModel.open(models.get(i)).weights());
                opened.add(model);
                evaluated.add(model);
                if (noiseControl) {
                    evaluated.add(control(base.orElseThrow(), model));
                }
            }
            report(evaluate(evaluated, base, tokens()));
        } finally {
            opened.forEach(EvalModel::close);
        }
        return ExitCode.DONE;
    }

    /// The names of the folders, as far up as it takes to tell them apart.
    private static List<String> names(List<Path> folders) {
        List<Path> whole = folders.stream().map(f -> f.toAbsolutePath().normalize()).toList();
        int deepest = whole.stream().mapToInt(Path::getNameCount).max().orElse(1);
        for (int parts = 1; parts < deepest; parts++) {
            int last = parts;
            List<String> names = whole.stream().map(f -> (f.getNameCount() <= last ? f : f.subpath(f.getNameCount() - last, f.getNameCount())).toString()).toList();
            if (Set.copyOf(whole).size() == Set.copyOf(names).size()) {
                return names;
            }
        }
        return whole.stream().map(Path::toString).toList();
    }

    private void check() {
        if (length < 2 || samples < 1) {
            throw new UsageException("--seq-len must be 2 or more and --samples 1 or more");
        }
        if (noiseControl && reference == null) {
            throw new UsageException("--noise-control needs the model that the noise is added to; give it with --reference");
        }
        if (csv != null) {
            OutputFiles.refuseExisting(csv, force, input.text, input.tokens, partial);
            if (partial != null && csv.toAbsolutePath().normalize().equals(partial.toAbsolutePath().normalize())) {
                throw new UsageException("--csv and --partial both name " + csv + "; give them names of their own");
            }
        }
    }

    private TokenSet tokens() {
        Path file = input.text == null ? input.tokens : input.text;
        int[] ids = input.text == null ? TokenSet.read(file) : TextTokens.read(reference == null ? models.getFirst() : reference, file);
        return TokenSet.windows(file.getFileName().toString(), ids, length, samples, seed);
    }

    private EvalModel control(EvalModel base, EvalModel model) {
        try (Workers workers = new Workers(root.global.threads())) {
            return new EvalModel(model.name() + EvalDocuments.CONTROL, Noise.of(base.weights(),
                    Noise.relativeErrors(base.weights(), model.weights(), Noise.modules(base.weights()), workers), seed));
        }
    }

    private EvalReport evaluate(List<EvalModel> evaluated, Optional<EvalModel> base, TokenSet tokens) {
        long total = Math.multiplyExact(tokens.predictions(), evaluated.size() + base.map(_ -> 1).orElse(0));
        try (Progress progress = root.global.tokenProgress(spec, "evaluate", total)) {
            return Evaluator.evaluate(evaluated, base, tokens, new EvalOptions(root.global.memory.bytes(), root.global.threads(), Optional.ofNullable(partial), progress::reach));
        }
    }

    private void report(EvalReport report) {
        if (csv != null) {
            OutputFiles.write(csv, EvalDocuments.csv(report).getBytes(StandardCharsets.UTF_8));
        }
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Documents.print(spec, JsonDocument.bytes(EvalDocuments.json(report, BuildInfo.read().version())));
            return;
        }
        out.println(Count.of(report.sequences(), "window") + " of " + report.tokens() + ", " + Count.of(report.predictions(), "prediction") + "; mean, median and trimmed mean are of the windows' perplexities");
        out.println();
        Table table = new Table("model", ">perplexity", ">± nats", ">mean", ">median", ">trimmed 10%", "worst windows");
        for (EvalReport.ModelScores m : report.models()) {
            EvalReport.Spread s = m.sequencePerplexity();
            table.row(m.name(), number(m.perplexity()), number(m.nllError()), number(s.mean()), number(s.median()), number(s.trimmed10()),
                    m.worst().stream().limit(3).map(i -> i + " (" + number(Math.exp(m.sequenceNll().get(i))) + ")").collect(Collectors.joining(", ")));
        }
        table.print(out);
        report.reference().ifPresent(r -> {
            out.println();
            out.println("KL divergence from " + r + ", in nats per token:");
            divergences(report).print(out);
            out.println("Δp: change of the probability of the token that follows; Δ nats: change of its negative log-likelihood, with the interval of its mean");
        });
        report.warnings().forEach(w -> out.println("warning: " + w));
        EvalReport.Speed speed = report.speed();
        if (speed.tokens() > 0 && root.global.verbosity() > 0) {
            spec.commandLine().getErr().println(String.format(Locale.ROOT, "%.0f tokens/s; %.1f GFLOP/s in matrix products", speed.tokensPerSecond(), speed.gflops()));
        }
    }

    private static Table divergences(EvalReport report) {
        Table table = new Table("model", ">mean", ">median", ">p90", ">p99", ">max", ">same top", ">Δp rms", ">Δ nats", "95 % interval");
        for (EvalReport.ModelScores m : report.models()) {
            m.divergence().ifPresent(d -> table.row(m.name(), number(d.mean()), number(d.median()), number(d.p90()), number(d.p99()), number(d.max()),
                    String.format(Locale.ROOT, "%.2f %%", 100 * d.sameTop()), number(d.deltaP().rms()), number(d.nllDifference()),
                    Double.isFinite(d.differenceLow()) ? number(d.differenceLow()) + " … " + number(d.differenceHigh()) : "-"));
        }
        return table;
    }

    /// Four significant digits, without an exponent where that is readable.
    private static String number(double v) {
        if (Double.isNaN(v)) {
            // such as the standard error of a single window
            return "-";
        }
        double size = Math.abs(v);
        if (size != 0 && size < 1e-4 || size >= 1e6) {
            return String.format(Locale.ROOT, "%.2e", v);
        }
        int decimals = size == 0 ? 0 : Math.clamp(3 - (int) Math.floor(Math.log10(size)), 0, 6);
        return String.format(Locale.ROOT, "%." + decimals + "f", v);
    }
}
