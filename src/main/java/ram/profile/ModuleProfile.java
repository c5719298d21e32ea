package ram.profile;

import java.util.List;
import java.util.Objects;
import java.util.Optional;
import ram.format.Format;
import ram.layout.Kind;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// A module as the planner sees it: what it may be stored as, what each costs in error, and how much an error matters.
///
/// @param dtype type of the dense weight in the output, and of affine scales and biases
/// @param sensitivitySource `propagated`, or where the value was borrowed (`layer median`)
/// @param curve relative squared error of the whole module per format that it may have, dense not included; weighted over its tensors by ‖W‖²
/// @param tensors its matrices, one per expert in a stack
/// @param sources names of the stored tensors that it is read from, scales of a quantized source included
public record ModuleProfile(String path, Kind kind, int layer, Shape shape, DType dtype, boolean expert, boolean sharedExpert,
                            Optional<Format> preset, Optional<String> mustStayDense, String sensitivitySource,
                            List<CurvePoint> curve, List<TensorProfile> tensors, List<String> sources) {
    public ModuleProfile {
        Objects.requireNonNull(path);
        Objects.requireNonNull(kind);
        Objects.requireNonNull(shape);
        Objects.requireNonNull(dtype);
        Objects.requireNonNull(preset);
        Objects.requireNonNull(mustStayDense);
        Objects.requireNonNull(sensitivitySource);
        curve = List.copyOf(curve);
        tensors = List.copyOf(tensors);
        sources = List.copyOf(sources);
    }

    /// Weights of all its matrices.
    public long parameters() {
        return shape.elements();
    }

    /// Mean of a metric over its matrices, weighted by their sizes.
    ///
    /// @param metric its name
    /// @throws ram.UsageException when it was not measured on all of them
    public double mean(String metric) {
        double sum = 0;
        double weight = 0;
        for (TensorProfile t : tensors) {
            sum += t.metric(metric) * t.parameters();
            weight += t.parameters();
        }
        return weight == 0 ? 0 : sum / weight;
    }

    /// Sum of the sensitivities of its tensors.
    public double sensitivity() {
        double sum = 0;
        for (TensorProfile t : tensors) {
            sum += t.sensitivity();
        }
        return sum;
    }
}
