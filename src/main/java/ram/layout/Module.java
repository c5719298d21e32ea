package ram.layout;

import java.util.List;
import java.util.Objects;
import java.util.Optional;
import ram.format.Format;
import ram.tensor.TensorView;

/// What MLX loads as one unit and what can have a format of its own.
///
/// @param path MLX module path, without `.weight`
/// @param layer index of the decoder layer, -1 outside the layers
/// @param weight the dense weight: (out, in), or (experts, out, in) for a stack
/// @param parts the matrices that the weight consists of, in row order: one, or one per expert
/// @param preset what the architecture's own rules in mlx_lm ask for (routers at 8 bits), empty when it has no wish
/// @param mustStayDense why this module can have no quantized format, empty when it can
/// @param expert whether it belongs to a routed expert stack
/// @param sharedExpert whether it belongs to an expert that every token passes
public record Module(String path, Kind kind, int layer, TensorView weight, List<Part> parts, Optional<Format> preset,
                     Optional<String> mustStayDense, boolean expert, boolean sharedExpert) {
    /// One matrix of a module: a source tensor, or a slice of one.
    ///
    /// @param name the source tensor, with `[e]` appended when it is one slice of several
    /// @param firstRow first row in the module's weight, all outer axes folded
    public record Part(String name, long firstRow, long rows) {
        public Part {
            Objects.requireNonNull(name);
            if (firstRow < 0 || rows < 0) {
                throw new IllegalArgumentException("negative row range in " + name);
            }
        }
    }

    public Module {
        Objects.requireNonNull(path);
        Objects.requireNonNull(kind);
        Objects.requireNonNull(weight);
        parts = List.copyOf(parts);
        Objects.requireNonNull(preset);
        Objects.requireNonNull(mustStayDense);
        long rows = 0;
        for (Part part : parts) {
            if (part.firstRow() != rows) {
                throw new IllegalArgumentException("parts of " + path + " do not follow each other");
            }
            rows = Math.addExact(rows, part.rows());
        }
        if (rows != weight.shape().rows()) {
            throw new IllegalArgumentException("parts of " + path + " cover " + rows + " of " + weight.shape().rows() + " rows");
        }
    }

    /// @param view of the same shape and parts
    public Module withWeight(TensorView view) {
        return new Module(path, kind, layer, view, parts, preset, mustStayDense, expert, sharedExpert);
    }

    /// The formats that this module can have, dense included.
    public List<Format> possible(List<Format> offered) {
        return offered.stream().filter(f -> f.isDense() || mustStayDense.isEmpty() && f.fits(weight.shape())).toList();
    }
}
