package ram.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import ram.InputException;
import ram.UsageException;
import ram.eval.EvalDocuments;
import ram.eval.EvalModel;
import ram.eval.EvalOptions;
import ram.eval.Evaluator;
import ram.eval.TextTokens;
import ram.eval.TokenSet;

/// Options of an evaluation that `quantize` makes of what it wrote, against the source.
final class EvaluationArguments {
    @Option(names = "--eval-text", paramLabel = "FILE", description = "Evaluate the result against the source on this text; the figures go into manifest and model card.")
    Path text;

    @Option(names = "--eval-tokens", paramLabel = "FILE", description = "The same on token ids: little-endian int32, or .npy.")
    Path tokens;

    @Option(names = "--eval-seq-len", paramLabel = "N", defaultValue = "" + TokenSet.SEQUENCE_LENGTH, description = "Tokens per window (default: ${DEFAULT-VALUE}).")
    int length;

    @Option(names = "--eval-samples", paramLabel = "N", defaultValue = "" + TokenSet.SAMPLES, description = "Windows to evaluate at most (default: ${DEFAULT-VALUE}).")
    int samples;

    private TokenSet windows;

    boolean wanted() {
        return file().isPresent();
    }

    /// What is evaluated on.
    Optional<Path> file() {
        return Optional.ofNullable(text == null ? tokens : text);
    }

    /// @throws UsageException when the options make no sense
    /// @throws InputException when they name a file that is not there
    void check() {
        if (text != null && tokens != null) {
            throw new UsageException("--eval-text and --eval-tokens exclude each other; give one of them");
        }
        if (length < 2 || samples < 1) {
            throw new UsageException("--eval-seq-len must be 2 or more and --eval-samples 1 or more");
        }
        if (file().filter(f -> !Files.isReadable(f)).isPresent()) {
            throw new InputException((text == null ? "--eval-tokens: " + tokens : "--eval-text: " + text) + " cannot be read; give an existing file");
        }
    }

    /// The windows to evaluate on, read once for all outputs.
    ///
    /// @throws InputException when they cannot be read, or the model cannot be evaluated on them
    TokenSet windows(Path source) {
        if (windows != null) {
            return windows;
        }
        Path file = file().orElseThrow();
        int[] ids = text == null ? TokenSet.read(file) : TextTokens.read(source, file);
        windows = TokenSet.windows(file.getFileName().toString(), ids, length, samples, TokenSet.SEED);
        try (EvalModel model = EvalModel.open(source)) {
            model.requireKnown(windows);
        }
        return windows;
    }

    /// Measures `quantized` against `source`; the document is the one that `ram eval --json` prints.
    ObjectNode evaluate(Path source, Path quantized, GlobalOptions global, CommandSpec spec) {
        TokenSet tokens = windows(source);
        long total = Math.multiplyExact(tokens.predictions(), 2L);
        try (EvalModel reference = EvalModel.open(source); EvalModel written = EvalModel.open(quantized);
                Progress progress = global.tokenProgress(spec, "evaluate", total)) {
            EvalOptions options = new EvalOptions(global.memory.bytes(), global.threads(), Optional.empty(), progress::reach);
            var report = Evaluator.evaluate(List.of(new EvalModel("quantized", written.weights())), Optional.of(new EvalModel("source", reference.weights())), tokens, options);
            return EvalDocuments.json(report, BuildInfo.read().version());
        }
    }
}
