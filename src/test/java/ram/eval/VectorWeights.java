package ram.eval;

import java.util.Map;
import java.util.Optional;
import ram.layout.ModelConfig;
import ram.tensor.Rows;

/// Weights that are a few vectors, without a configuration.
record VectorWeights(String fingerprint, Map<String, float[]> vectors) implements WeightSource {
    @Override
    public ModelConfig config() {
        throw new UnsupportedOperationException();
    }

    @Override
    public Optional<Rows> matrix(String path) {
        return Optional.empty();
    }

    @Override
    public Optional<float[]> vector(String name) {
        return Optional.ofNullable(vectors.get(name)).map(float[]::clone);
    }
}
