package ram.eval;

import java.nio.file.Path;
import java.util.Objects;
import java.util.Optional;

/// How an evaluation is carried out. None of it changes a result.
///
/// @param memory bytes of working memory to keep to, roughly; decides how many sequences run at a time
/// @param threads 1 or more
/// @param partial a file of finished sequences, one JSON document per line: written as they finish, and read first, so that a stopped run goes on
/// @param progress is told, in the caller's thread, how much of the work is done, from 0 to 1
public record EvalOptions(long memory, int threads, Optional<Path> partial, ProgressListener progress) {
    /// Is told how much of the work is done.
    @FunctionalInterface
    public interface ProgressListener {
        void done(double share);
    }

    public EvalOptions {
        if (memory < 1 || threads < 1) {
            throw new IllegalArgumentException(memory + " bytes and " + threads + " threads");
        }
        Objects.requireNonNull(partial);
        Objects.requireNonNull(progress);
    }

    /// 2 GB and all cores.
    public static EvalOptions defaults() {
        return new EvalOptions(2_000_000_000, Runtime.getRuntime().availableProcessors(), Optional.empty(), _ -> { });
    }
}
