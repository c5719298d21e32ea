package ram.layout;

import java.util.List;
import java.util.Objects;

/// What was found out about a checkpoint's architecture.
///
/// @param modelType `model_type` of config.json as it stands there
/// @param family the mlx_lm model class that loads it
/// @param known whether rules for this family exist; otherwise the checkpoint is treated as a plain model
/// @param tied whether the output head shares the embedding's weight
/// @param assumptions sentences about what was assumed, empty for a known family in its usual form
public record Architecture(String modelType, String family, boolean known, Structure structure, boolean tied, List<String> assumptions) {
    /// Coarse type of a network.
    public enum Structure {
        DENSE("dense"), MIXTURE_OF_EXPERTS("mixture of experts"), HYBRID("hybrid");

        private final String label;

        Structure(String label) {
            this.label = label;
        }

        /// The name in tables and documents.
        public String label() {
            return label;
        }
    }

    /// What the assumption about a source that is stored quantized ends in.
    static final String REQUANTIZED = "decoded and quantized again, which loses quality twice";

    public Architecture {
        Objects.requireNonNull(modelType);
        Objects.requireNonNull(family);
        Objects.requireNonNull(structure);
        assumptions = List.copyOf(assumptions);
    }

    /// Whether the source is stored quantized and was decoded.
    public boolean requantized() {
        return assumptions.stream().anyMatch(a -> a.endsWith(REQUANTIZED));
    }
}
