package ram.sensitivity;

import java.util.List;
import java.util.Objects;
import ram.layout.Module;

/// How errors in one module reach the output.
///
/// @param source where the weights come from
/// @param parts per part of the module, in their order: the terms whose sum is its damage; empty when the source is `LAYER_MEDIAN`
public record ModuleWeights(Module module, Source source, List<List<Term>> parts) {
    /// How much the propagation knows about a module.
    public enum Source {
        PROPAGATED("propagated"),
        /// The weight leads to the residual, but what enters it is unknown and taken to be even.
        EVEN_INPUT("even input"),
        /// The propagation does not know the module: its sensitivity per weight is the median of its layer.
        LAYER_MEDIAN("layer median");

        private final String label;

        Source(String label) {
            this.label = label;
        }

        /// The name in documents.
        public String label() {
            return label;
        }
    }

    public ModuleWeights {
        Objects.requireNonNull(module);
        Objects.requireNonNull(source);
        parts = parts.stream().map(List::copyOf).toList();
        if (source != Source.LAYER_MEDIAN && parts.size() != module.parts().size()) {
            throw new IllegalArgumentException(module.path() + " has " + module.parts().size() + " parts, but weights for " + parts.size());
        }
    }

    /// Of a module of one matrix, with the ways in which its errors reach the output.
    static ModuleWeights propagated(Module module, Term... terms) {
        return new ModuleWeights(module, Source.PROPAGATED, List.of(List.of(terms)));
    }
}
