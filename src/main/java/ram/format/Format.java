package ram.format;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// How the weight of one module is stored.
///
/// @param bits width of a code; 0 for [Mode#DENSE]
/// @param groupSize consecutive elements of a row that share a scale; 0 for [Mode#DENSE]
public record Format(Mode mode, int bits, int groupSize) {
    /// Not quantized: the type of the model.
    public static final Format DENSE = new Format(Mode.DENSE, 0, 0);
    /// E2M1 elements, one power of two per 32 (OCP Microscaling Formats 1.0).
    public static final Format MXFP4 = new Format(Mode.MXFP4, 4, 32);
    /// E2M1 elements, one scale in E4M3 per 16.
    public static final Format NVFP4 = new Format(Mode.NVFP4, 4, 16);
    /// E4M3 elements, one power of two per 32 (OCP Microscaling Formats 1.0).
    public static final Format MXFP8 = new Format(Mode.MXFP8, 8, 32);
    /// Widths of affine codes that MLX knows, ascending.
    public static final List<Integer> AFFINE_BITS = List.of(2, 3, 4, 5, 6, 8);
    /// Weights that may share a scale and a bias, ascending.
    public static final List<Integer> AFFINE_GROUP_SIZES = List.of(32, 64, 128);

    /// MLX's quantization modes, and no quantization.
    public enum Mode {
        AFFINE, MXFP4, NVFP4, MXFP8, DENSE;

        /// The name in `config.json`.
        public String mlxName() {
            return name().toLowerCase(Locale.ROOT);
        }

        /// @throws IllegalArgumentException when MLX has no such mode
        public static Mode named(String mlxName) {
            for (Mode m : values()) {
                if (m != DENSE && m.mlxName().equals(mlxName)) {
                    return m;
                }
            }
            throw new IllegalArgumentException("MLX has no mode '" + mlxName + "'");
        }
    }

    public Format {
        Objects.requireNonNull(mode);
        boolean valid = switch (mode) {
            case AFFINE -> AFFINE_BITS.contains(bits) && AFFINE_GROUP_SIZES.contains(groupSize);
            case MXFP4 -> bits == 4 && groupSize == 32;
            case NVFP4 -> bits == 4 && groupSize == 16;
            case MXFP8 -> bits == 8 && groupSize == 32;
            case DENSE -> bits == 0 && groupSize == 0;
        };
        if (!valid) {
            throw new IllegalArgumentException("MLX has no " + mode.mlxName() + " format of " + bits + " bits in groups of " + groupSize);
        }
    }

    /// @throws IllegalArgumentException when MLX has no such format
    public static Format affine(int bits, int groupSize) {
        return new Format(Mode.AFFINE, bits, groupSize);
    }

    /// All 18 affine formats, by bits, then by falling group size.
    public static List<Format> allAffine() {
        List<Format> out = new ArrayList<>();
        for (int bits : AFFINE_BITS) {
            for (int groupSize : AFFINE_GROUP_SIZES.reversed()) {
                out.add(affine(bits, groupSize));
            }
        }
        return List.copyOf(out);
    }

    /// Whether weights are stored as they are.
    public boolean isDense() {
        return mode == Mode.DENSE;
    }

    /// Whether a weight of this shape can be stored so: at least two axes and a last one that the group size divides.
    public boolean fits(Shape shape) {
        return isDense() || shape.rank() >= 2 && shape.columns() > 0 && shape.columns() % groupSize == 0;
    }

    /// One tensor of a stored module.
    ///
    /// @param suffix `weight`, `scales` or `biases`, appended to the module's path after a dot
    public record Component(String suffix, DType dtype, Shape shape) {
        /// As stored, without the header entry.
        public long bytes() {
            return Math.multiplyExact(shape.elements(), dtype.bytes());
        }
    }

    /// Every format of some modes, the dense one excluded.
    public static List<Format> ofModes(Set<Mode> modes) {
        List<Format> out = new ArrayList<>(allAffine());
        out.addAll(List.of(MXFP4, NVFP4, MXFP8));
        out.removeIf(f -> !modes.contains(f.mode()));
        return List.copyOf(out);
    }

    /// The tensors that MLX stores for a weight of this shape.
    ///
    /// @param dtype type of the weight when dense, and of affine scales and biases
    /// @throws IllegalArgumentException when the format does not fit the shape
    public List<Component> components(Shape shape, DType dtype) {
        if (isDense()) {
            return List.of(new Component("weight", dtype, shape));
        }
        if (!fits(shape)) {
            throw new IllegalArgumentException("group size " + groupSize + " does not divide the last dimension of " + shape);
        }
        Shape codes = shape.withLast(Math.multiplyExact(shape.columns(), bits) / 32);
        Shape groups = shape.withLast(shape.columns() / groupSize);
        Component weight = new Component("weight", DType.U32, codes);
        return mode == Mode.AFFINE
                ? List.of(weight, new Component("scales", dtype, groups), new Component("biases", dtype, groups))
                : List.of(weight, new Component("scales", DType.U8, groups));
    }

    /// The shape of the weight whose codes have this one; what [#components] does, undone.
    ///
    /// @param codes of at least one dimension
    public Shape decodedShape(Shape codes) {
        return codes.withLast(Math.multiplyExact(codes.columns(), 32) / bits);
    }

    /// Size of the stored tensors in bytes, without their header entries.
    public long bytes(Shape shape, DType dtype) {
        long sum = 0;
        for (Component c : components(shape, dtype)) {
            sum = Math.addExact(sum, c.bytes());
        }
        return sum;
    }

    /// `4:64` for affine, the mode's name otherwise; [#parse] reads it back.
    @Override
    public String toString() {
        return mode == Mode.AFFINE ? bits + ":" + groupSize : mode.mlxName();
    }

    /// Reads `BITS:GROUP`, `dense`, `mxfp4`, `nvfp4` or `mxfp8`.
    ///
    /// @throws IllegalArgumentException for anything else; the message says what is allowed
    public static Format parse(String text) {
        String t = text.strip().toLowerCase(Locale.ROOT);
        for (Format f : List.of(DENSE, MXFP4, NVFP4, MXFP8)) {
            if (f.toString().equals(t)) {
                return f;
            }
        }
        if (t.matches("\\d{1,3}:\\d{1,4}")) {
            String[] parts = t.split(":");
            return affine(Integer.parseInt(parts[0]), Integer.parseInt(parts[1]));
        }
        throw new IllegalArgumentException("'" + text + "' is not a format; write BITS:GROUP with bits 2, 3, 4, 5, 6 or 8 and group 32, 64 or 128, or dense, mxfp4, nvfp4, mxfp8");
    }
}
