package ram.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import ram.UsageException;
import ram.format.Format;
import ram.format.Quantizer;
import ram.layout.LayoutOptions;
import ram.layout.Model;
import ram.profile.AnalysisOptions;
import ram.profile.Profile;
import ram.rewrite.Rewriting;
import ram.safetensors.DType;

/// Options that influence what is measured and written.
final class AnalysisArguments {
    @Option(names = "--quantizer", paramLabel = "QUANTIZER", description = "mse: scale and bias of a group chosen for the least squared error; rtn: as mlx_lm does, bit for bit (default: mse, or what the profile was measured with).")
    Quantizer quantizer;

    @Option(names = "--dtype", paramLabel = "TYPE", completionCandidates = Completions.Types.class, description = "bfloat16, float16 or float32 for what stays dense and for scales and biases (default: the source's).")
    String dtype;

    @Option(names = "--exact", description = "Measure errors on every row of large tensors too, not on a sample of them.")
    boolean exact;

    @Option(names = "--requantize", description = "Accept a source that is quantized already: decode it and quantize it again, which loses quality twice.")
    boolean requantize;

    @Option(names = "--keep-nonfinite", description = "Keep a tensor with values that are infinite or not a number dense instead of refusing the model.")
    boolean keepNonFinite;

    @Option(names = "--hash", description = "Record the SHA-256 of every source file.")
    boolean hash;

    @Option(names = "--rewrite", description = "First rescale channels by powers of two, which leaves the model's function as it is, wherever that lowers the error.")
    boolean rewrite;

    Optional<DType> dtype() {
        return Optional.ofNullable(dtype).map(name -> DType.fromTorchName(name).orElseThrow(() -> new UsageException("--dtype: '" + name
                + "' is not bfloat16, float16 or float32")));
    }

    AnalysisOptions options(List<Format> formats, int threads) {
        return new AnalysisOptions(quantizer == null ? Quantizer.MSE : quantizer, formats, exact, dtype(), hash, keepNonFinite, rewrite, threads);
    }

    Model open(Path folder) {
        return Model.open(folder, new LayoutOptions(requantize));
    }

    /// The model as it is analysed and written. It shares the checkpoint of `model`.
    Model rewritten(Model model, GlobalOptions global, CommandSpec spec) {
        return rewrite ? rewrite(model, global, spec) : model;
    }

    static Model rewrite(Model model, GlobalOptions global, CommandSpec spec) {
        Rewriting done;
        try (Progress progress = global.progress(spec, "rewrite", Rewriting.work(model))) {
            done = Rewriting.of(model, global.threads(), progress::advance);
        }
        if (global.verbosity() > 0) {
            done.changes().forEach(c -> spec.commandLine().getErr().println(String.format(Locale.ROOT, "rewrite   %s: %d channels, relative error at 3 and 4 bits %.4g, was %.4g",
                    c.path(), c.channels(), c.after(), c.before())));
        }
        return done.model();
    }

    /// @throws UsageException when the profile is of a model that was rewritten and this one is not, or the other way round
    void requireSameRewriting(Profile measured) {
        if (rewrite != measured.options().containsKey(AnalysisOptions.REWRITE)) {
            throw new UsageException(rewrite ? "--rewrite: the profile was measured without it; analyze with --rewrite" : "the profile was measured with --rewrite; give --rewrite here too");
        }
    }

    /// The quantizer to write with.
    Quantizer quantizer(Profile measured) {
        return quantizer == null ? measured.quantizer() : quantizer;
    }

    /// @throws UsageException when every row is to be measured and only a sample was
    void requireExact(Profile measured) {
        if (exact && measured.modules().stream().flatMap(m -> m.curve().stream()).anyMatch(p -> p.samplingError() > 0)) {
            throw new UsageException("--exact: the profile was measured on samples of rows; analyze with --exact");
        }
    }

    /// @throws UsageException when sizes were measured for another type
    void requireSameType(Profile measured) {
        dtype().flatMap(DType::torchName).filter(wanted -> !wanted.equals(measured.options().get("dtype"))).ifPresent(wanted -> {
            throw new UsageException("--dtype " + wanted + ": the profile was measured for " + measured.options().get("dtype") + "; analyze with --dtype " + wanted);
        });
    }
}
