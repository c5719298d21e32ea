package ram.layout;

import java.nio.file.Path;
import java.util.Objects;
import ram.InputException;
import ram.safetensors.Checkpoint;

/// A model folder, opened and understood: its tensors, its configuration, and how MLX will load it.
public record Model(Checkpoint checkpoint, ModelConfig config, Layout layout) implements AutoCloseable {
    public Model {
        Objects.requireNonNull(checkpoint);
        Objects.requireNonNull(config);
        Objects.requireNonNull(layout);
    }

    /// Reads config.json and all headers; no tensor data.
    ///
    /// @throws ram.InputException when the folder is not a usable model
    public static Model open(Path folder) {
        return open(folder, LayoutOptions.DEFAULT);
    }

    /// Reads config.json and all headers; no tensor data.
    ///
    /// @throws ram.InputException when the folder is not a usable model
    public static Model open(Path folder, LayoutOptions options) {
        Checkpoint checkpoint = Checkpoint.open(folder);
        try {
            ModelConfig config = ModelConfig.read(folder);
            try {
                return new Model(checkpoint, config, Layouts.of(checkpoint, config, options));
            } catch (ArithmeticException e) {
                throw new InputException(config.file() + ": holds a number that is out of range for this model; download it again", e);
            }
        } catch (RuntimeException e) {
            checkpoint.close();
            throw e;
        }
    }

    @Override
    public void close() {
        checkpoint.close();
    }
}
