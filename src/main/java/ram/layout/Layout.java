package ram.layout;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import ram.format.Format;
import ram.safetensors.Shape;
import ram.tensor.TensorView;

/// A checkpoint seen as MLX will load it. Every source tensor is read by a module or a plain tensor, or listed as dropped.
///
/// @param modules what can have a format of its own, in the order of the model
/// @param plain everything else that is written, as it is
/// @param prequantized modules that the source stores quantized already in a form that MLX loads; written unchanged
/// @param dropped source tensors that MLX does not load
/// @param config config.json for the output, without its `quantization` section
public record Layout(Architecture architecture, List<Module> modules, List<Plain> plain, List<Prequantized> prequantized,
                     List<Dropped> dropped, ObjectNode config) {
    /// A tensor that is written as it is.
    ///
    /// @param why the reason why it is not quantized
    /// @param keepDType whether it must not be cast to the model's dtype
    public record Plain(String name, TensorView view, String why, boolean keepDType) {
        public Plain {
            Objects.requireNonNull(name);
            Objects.requireNonNull(view);
            Objects.requireNonNull(why);
        }
    }

    /// A module that is quantized in the source and passed through.
    public record Prequantized(String path, Kind kind, int layer, Format format, TensorView weight, TensorView scales, Optional<TensorView> biases) {
        public Prequantized {
            Objects.requireNonNull(path);
            Objects.requireNonNull(kind);
            Objects.requireNonNull(format);
            Objects.requireNonNull(weight);
            Objects.requireNonNull(scales);
            Objects.requireNonNull(biases);
        }

        /// What the codes stand for.
        public Shape shape() {
            return format.decodedShape(weight.shape());
        }

        /// Its stored tensors by the names that they are written under.
        public SequencedMap<String, TensorView> tensors() {
            SequencedMap<String, TensorView> out = new LinkedHashMap<>();
            out.put(path + ".weight", weight);
            out.put(path + ".scales", scales);
            biases.ifPresent(b -> out.put(path + ".biases", b));
            return out;
        }

        /// As stored.
        public long bytes() {
            return tensors().values().stream().mapToLong(TensorView::bytes).sum();
        }

        /// Names of the source tensors that it is read from.
        public List<String> sources() {
            return tensors().values().stream().flatMap(t -> t.sources().stream()).distinct().toList();
        }
    }

    /// A source tensor that is not written, and why.
    public record Dropped(String tensor, String why) {
        public Dropped {
            Objects.requireNonNull(tensor);
            Objects.requireNonNull(why);
        }
    }

    public Layout {
        Objects.requireNonNull(architecture);
        modules = List.copyOf(modules);
        plain = List.copyOf(plain);
        prequantized = List.copyOf(prequantized);
        dropped = List.copyOf(dropped);
        Objects.requireNonNull(config);
    }
}
