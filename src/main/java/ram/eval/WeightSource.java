package ram.eval;

import java.util.List;
import java.util.Optional;
import ram.layout.ModelConfig;
import ram.tensor.Rows;

/// Where a forward pass gets its weights from: names are those of the model as MLX loads it, values are decoded to float32.
/// Implementations may be read by several threads at once.
public interface WeightSource extends AutoCloseable {
    ModelConfig config();

    /// The matrix of a module, (out, in); for a stack of experts (experts · out, in), expert after expert.
    ///
    /// @param path MLX module path, without `.weight`
    /// @return empty when the model has no such module
    Optional<Rows> matrix(String path);

    /// A vector, such as a norm's weight or a module's additive bias. It belongs to the caller, who may change it.
    ///
    /// @param name the full name, such as `model.norm.weight`
    /// @return empty when the model has no such tensor
    Optional<float[]> vector(String name);

    /// What was assumed of the model, or is left out as mlx_lm leaves it out, a sentence each.
    default List<String> notes() {
        return List.of();
    }

    /// A text that differs between sources whose weights differ; partial results are taken up again only where it agrees.
    String fingerprint();

    @Override
    default void close() {
    }
}
