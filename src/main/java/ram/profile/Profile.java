package ram.profile;

import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.IntStream;
import ram.format.Format;
import ram.format.Quantizer;
import ram.layout.Architecture;
import ram.layout.Kind;
import ram.layout.Layout;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// The analysis of a checkpoint; written as `profile.json`. Any number of budgets is solved from one profile.
///
/// @param toolVersion version of the program that measured
/// @param files what was measured
/// @param layers number of decoder layers
/// @param options the settings that influence numbers, by name
/// @param modules in the order of the model
/// @param plain tensors that are written as they are
public record Profile(String toolVersion, List<SourceFile> files, Architecture architecture, int layers, SortedMap<String, String> options,
                      List<ModuleProfile> modules, List<PlainTensor> plain, List<PrequantizedModule> prequantized, List<Layout.Dropped> dropped) {
    /// The `schema` of a profile.
    public static final String SCHEMA = "ram.profile/1";

    /// One source file.
    ///
    /// @param headerSha256 SHA-256 of the header's JSON, in hexadecimal
    /// @param sampleSha256 SHA-256 of the first bytes of every tensor, empty in profiles of versions that did not look at them
    /// @param sha256 SHA-256 of the content, empty when it was not computed
    public record SourceFile(String name, long bytes, String headerSha256, String sampleSha256, String sha256) {
        public SourceFile {
            Objects.requireNonNull(name);
            Objects.requireNonNull(headerSha256);
            Objects.requireNonNull(sampleSha256);
            Objects.requireNonNull(sha256);
            if (bytes < 0) {
                throw new IllegalArgumentException(name + " has " + bytes + " bytes");
            }
        }

        /// Whether two lists are of the same files, as far as both know their content.
        public static boolean same(List<SourceFile> a, List<SourceFile> b) {
            return a.size() == b.size() && IntStream.range(0, a.size()).allMatch(i -> a.get(i).isSame(b.get(i)));
        }

        private boolean isSame(SourceFile other) {
            return name.equals(other.name) && bytes == other.bytes && headerSha256.equals(other.headerSha256) && agree(sampleSha256, other.sampleSha256) && agree(sha256, other.sha256);
        }

        private static boolean agree(String a, String b) {
            return a.isEmpty() || b.isEmpty() || a.equals(b);
        }
    }

    /// A tensor that is written as it is, in the dtype in which it is written.
    ///
    /// @param sources names of the stored tensors that it is read from
    public record PlainTensor(String name, DType dtype, Shape shape, String why, List<String> sources) {
        public PlainTensor {
            Objects.requireNonNull(name);
            Objects.requireNonNull(dtype);
            Objects.requireNonNull(shape);
            Objects.requireNonNull(why);
            sources = List.copyOf(sources);
        }

        /// As written.
        public long bytes() {
            return Math.multiplyExact(shape.elements(), dtype.bytes());
        }
    }

    /// A module that the source stores quantized already and that is passed through.
    ///
    /// @param shape of the weight that it stands for
    /// @param dtype of its scales and biases when affine
    /// @param sources names of the stored tensors that it is read from
    public record PrequantizedModule(String path, Kind kind, int layer, Format format, Shape shape, DType dtype, List<String> sources) {
        public PrequantizedModule {
            Objects.requireNonNull(path);
            Objects.requireNonNull(kind);
            Objects.requireNonNull(format);
            Objects.requireNonNull(shape);
            Objects.requireNonNull(dtype);
            sources = List.copyOf(sources);
        }

        /// As written.
        public long bytes() {
            return format.bytes(shape, dtype);
        }
    }

    public Profile {
        Objects.requireNonNull(toolVersion);
        files = List.copyOf(files);
        Objects.requireNonNull(architecture);
        options = Collections.unmodifiableSortedMap(new TreeMap<>(options));
        modules = List.copyOf(modules);
        plain = List.copyOf(plain);
        prequantized = List.copyOf(prequantized);
        dropped = List.copyOf(dropped);
    }

    /// The one whose errors were measured.
    public Quantizer quantizer() {
        return Quantizer.named(options.get("quantizer"));
    }

    /// The type of what stays dense, and of scales and biases.
    public DType dtype() {
        return DType.fromTorchName(options.get("dtype")).orElseThrow();
    }
}
