package ram.eval;

import java.nio.file.Path;
import java.util.Objects;

/// A model to be evaluated.
///
/// @param name as it is called in reports, where a question mark stands for each control character
public record EvalModel(String name, WeightSource weights) implements AutoCloseable {
    public EvalModel {
        name = name.replaceAll("\\p{Cntrl}", "?");
        Objects.requireNonNull(weights);
    }

    /// Opens a model folder: a Hugging Face checkpoint or an MLX one, quantized or not. It is called by the folder's name.
    ///
    /// @throws ram.InputException when the folder is not a usable model
    public static EvalModel open(Path folder) {
        Path name = folder.toAbsolutePath().normalize().getFileName();
        return new EvalModel(name == null ? "model" : name.toString(), FolderWeights.open(folder));
    }

    /// @throws ram.InputException when a token is not one of the model's vocabulary
    public void requireKnown(TokenSet tokens) {
        tokens.requireBelow(NetworkShape.of(weights.config()).vocabulary());
    }

    @Override
    public void close() {
        weights.close();
    }
}
