package ram.eval;

import java.nio.file.Path;
import java.util.Objects;
import ram.InputException;

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

    /// @throws ram.InputException when a token is not one of the model's vocabulary, or a sequence is longer than the model can be run on
    public void requireKnown(TokenSet tokens) {
        NetworkShape shape = NetworkShape.of(weights.config());
        tokens.requireBelow(shape.vocabulary());
        requireReach(shape, tokens.sequences().stream().mapToInt(s -> s.length - 1).max().orElse(0));
    }

    /// @throws ram.InputException when sequences of so many tokens are longer than the model can be run on
    public void requireReach(int tokens) {
        requireReach(NetworkShape.of(weights.config()), tokens);
    }

    private void requireReach(NetworkShape shape, int tokens) {
        shape.latent().filter(latent -> tokens > latent.reach()).ifPresent(latent -> {
            throw InputException.in(weights.config().file(), "describes a model that chooses what it sees of more than " + latent.reach()
                    + " tokens, which the evaluation does not know; take shorter windows of text");
        });
    }

    @Override
    public void close() {
        weights.close();
    }
}
