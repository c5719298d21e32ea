package ram.eval;

import java.util.Objects;
import java.util.Optional;
import java.util.function.BiFunction;
import ram.Sha256;
import ram.layout.ModelConfig;
import ram.tensor.Rows;

/// The weights of another source with some matrices changed while they are read, such as quantized and decoded again.
/// Closing it leaves the other source open.
///
///     new ReplacedWeights(source, "3 bits everywhere", (path, rows) -> coded(rows))
///
/// @param change says what changes, and makes fingerprints differ
/// @param replace the rows to use for a module instead of its own; may return these. Called for each access, so it should be cheap
public record ReplacedWeights(WeightSource inner, String change, BiFunction<String, Rows, Rows> replace) implements WeightSource {
    public ReplacedWeights {
        Objects.requireNonNull(inner);
        Objects.requireNonNull(change);
        Objects.requireNonNull(replace);
    }

    @Override
    public ModelConfig config() {
        return inner.config();
    }

    @Override
    public Optional<Rows> matrix(String path) {
        return inner.matrix(path).map(rows -> replace.apply(path, rows));
    }

    @Override
    public Optional<float[]> vector(String name) {
        return inner.vector(name);
    }

    @Override
    public String fingerprint() {
        return new Sha256().add(change + "\n" + inner.fingerprint()).hex();
    }
}
