package ram.tensor;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// The ways to see tensors as other tensors. Nothing is computed before it is read. Negative axes count from the end.
public final class Views {
    private Views() {
    }

    private static int axis(TensorView view, int axis) {
        int a = axis < 0 ? view.shape().rank() + axis : axis;
        if (a < 0 || a >= view.shape().rank()) {
            throw new IllegalArgumentException("no axis " + axis + " in " + view.shape());
        }
        return a;
    }

    /// `count` indices of one axis: `start`, `start + step`, …
    public static TensorView slice(TensorView view, int axis, long start, long count, long step) {
        return Strided.of(view).slice(axis(view, axis), start, count, step);
    }

    /// `parts` equal pieces along an axis: neighbouring ones, or every parts-th index when `interleaved`.
    ///
    /// @throws IllegalArgumentException when the axis cannot be divided evenly
    public static List<TensorView> split(TensorView view, int axis, int parts, boolean interleaved) {
        long length = view.shape().dim(axis);
        if (length % parts != 0) {
            throw new IllegalArgumentException("axis " + axis + " of " + view.shape() + " cannot be split in " + parts);
        }
        List<TensorView> out = new ArrayList<>();
        for (int p = 0; p < parts; p++) {
            out.add(interleaved ? slice(view, axis, p, length / parts, parts) : slice(view, axis, p * (length / parts), length / parts, 1));
        }
        return out;
    }

    /// @param a an axis, from the end where negative, as is `b`
    public static TensorView swapAxes(TensorView view, int a, int b) {
        int[] axes = new int[view.shape().rank()];
        for (int i = 0; i < axes.length; i++) {
            axes[i] = i == axis(view, a) ? axis(view, b) : i == axis(view, b) ? axis(view, a) : i;
        }
        return Strided.of(view).permute(axes);
    }

    /// Moves one axis to another place; the others keep their order.
    public static TensorView moveAxis(TensorView view, int from, int to) {
        List<Integer> axes = new ArrayList<>();
        for (int i = 0; i < view.shape().rank(); i++) {
            axes.add(i);
        }
        Integer moved = axes.remove(axis(view, from));
        axes.add(axis(view, to), moved);
        return Strided.of(view).permute(axes.stream().mapToInt(Integer::intValue).toArray());
    }

    /// @param dims one of them may be −1: what is left
    public static TensorView reshape(TensorView view, long... dims) {
        long known = 1;
        int open = -1;
        for (int i = 0; i < dims.length; i++) {
            if (dims[i] < 0) {
                open = i;
            } else {
                known = Math.multiplyExact(known, dims[i]);
            }
        }
        long[] full = dims.clone();
        if (open >= 0) {
            full[open] = known == 0 ? 0 : view.shape().elements() / known;
        }
        Shape shape = Shape.of(full);
        return shape.equals(view.shape()) ? view : Strided.of(view).reshape(shape);
    }

    /// Without the axes of length 1.
    public static TensorView squeeze(TensorView view) {
        return reshape(view, view.shape().dims().stream().mapToLong(Long::longValue).filter(d -> d != 1).toArray());
    }

    /// @throws IllegalArgumentException when shapes or types differ
    public static TensorView stack(List<TensorView> parts) {
        return new Stack(parts);
    }

    /// The tensors that `view` stacks; empty when it is no stack.
    public static List<TensorView> stacked(TensorView view) {
        return view instanceof Stack stack ? stack.parts() : List.of();
    }

    /// Adds a constant in the tensor's own type.
    public static TensorView add(TensorView view, double value) {
        DType t = view.dtype();
        float constant = Decoder.round(t, (float) value);
        return new Computed(view, List.of(), t, (values, at, _, count) -> {
            for (int i = at; i < at + count; i++) {
                values[i] = values[i] + constant;
            }
        });
    }

    /// Multiplies by a constant in the tensor's own type.
    public static TensorView scale(TensorView view, double factor) {
        DType t = view.dtype();
        float constant = Decoder.round(t, (float) factor);
        return new Computed(view, List.of(), t, (values, at, _, count) -> {
            for (int i = at; i < at + count; i++) {
                values[i] = values[i] * constant;
            }
        });
    }

    /// With 0 in place of what is not a number or beyond a magnitude.
    public static TensorView within(float largest, TensorView view) {
        return new Computed(view, List.of(), view.dtype(), (values, at, _, count) -> {
            for (int i = at; i < at + count; i++) {
                values[i] = Math.abs(values[i]) <= largest ? values[i] : 0;
            }
        });
    }

    /// Multiplies each row by a factor of its own that is exact in the tensor's type.
    ///
    /// @param factors one per row, of stacked matrices one after the other; of a vector one per element
    /// @throws IllegalArgumentException when there are more or fewer
    public static TensorView scaleRows(TensorView view, float[] factors) {
        if ((view.shape().rank() < 2 ? view.shape().elements() : view.shape().rows()) != factors.length) {
            throw new IllegalArgumentException("a tensor of shape " + view.shape() + " does not have " + factors.length + " rows");
        }
        long perRow = view.shape().elements() / factors.length;
        return new Computed(view, List.of(), view.dtype(), (values, at, first, count) -> {
            for (int i = 0; i < count; i++) {
                values[at + i] = values[at + i] * factors[(int) ((first + i) / perRow)];
            }
        });
    }

    /// Multiplies each column of each matrix by a factor of its own that is exact in the tensor's type.
    ///
    /// @param factors one per column of each matrix, matrix after matrix; of length a multiple of the columns that divides the tensor evenly
    public static TensorView scaleColumns(TensorView view, float[] factors) {
        long columns = view.shape().columns();
        long perMatrix = columns == 0 || factors.length == 0 ? 0 : view.shape().elements() / (factors.length / columns);
        return new Computed(view, List.of(), view.dtype(), (values, at, first, count) -> {
            for (int i = 0; i < count;) {
                long element = first + i;
                int factor = Math.toIntExact(element / perMatrix * columns + element % columns);
                int end = (int) Math.min(count, i + columns - element % columns);
                for (; i < end; i++) {
                    values[at + i] = values[at + i] * factors[factor++];
                }
            }
        });
    }

    /// 8-bit floats with float scales: decoded, multiplied in float32, rounded. Along each of the last two axes there may be one scale for all, one per
    /// index, or one per block, partial blocks at the edges included; a tensor of three axes has scales for each of its matrices, or one.
    ///
    /// @param scales (…, rows, columns) of scales, (rows), or one alone
    /// @throws IllegalArgumentException when the scales do not cover the codes
    public static TensorView dequantize(TensorView codes, TensorView scales, int blockRows, int blockColumns, DType out) {
        long rows = codes.shape().dim(-2);
        long columns = codes.shape().columns();
        long matrices = codes.shape().rows() / Math.max(1, rows);
        long count = scales.shape().elements();
        boolean grid = scales.shape().rank() >= 2 && scales.shape().rank() == codes.shape().rank();
        long scaleRows = grid ? scales.shape().dim(-2) : count == matrices * rows && count != matrices ? rows : 1;
        long scaleColumns = grid ? scales.shape().columns() : 1;
        long rowsPerScale = scaleRows == 1 ? rows : scaleRows == rows ? 1 : blockRows;
        long columnsPerScale = scaleColumns == 1 ? columns : scaleColumns == columns ? 1 : blockColumns;
        boolean single = count == 1;
        if (!single && (count != matrices * scaleRows * scaleColumns || scaleRows != Math.ceilDiv(rows, rowsPerScale) || scaleColumns != Math.ceilDiv(columns, columnsPerScale))) {
            throw new IllegalArgumentException("scales of shape " + scales.shape() + " do not cover " + codes.shape() + " in blocks of " + blockRows + "×" + blockColumns);
        }
        return new Computed(codes, List.of(scales), out, (values, at, first, n) -> {
            float[] line = new float[Math.toIntExact(scaleColumns)];
            long held = -1;
            for (int i = 0; i < n;) {
                long row = (first + i) / columns;
                long column = (first + i) % columns;
                long needed = single ? 0 : row / rows * scaleRows + row % rows / rowsPerScale;
                if (needed != held) {
                    held = needed;
                    scales.read(held * scaleColumns, line, 0, line.length);
                }
                int end = (int) Math.min(n, i + Math.min(columns - column, columnsPerScale - column % columnsPerScale));
                float factor = line[(int) (column / columnsPerScale)];
                for (; i < end; i++) {
                    values[at + i] = values[at + i] * factor;
                }
            }
        });
    }

    /// Divides each row, or each column, by its Euclidean norm plus `epsilon`, in float32.
    public static TensorView normalize(TensorView view, boolean byRow, float epsilon) {
        return new Normalized(view, byRow, epsilon).view();
    }

    /// The same bytes as elements of another type and shape.
    ///
    /// @throws IllegalArgumentException when the sizes differ
    public static TensorView reinterpret(TensorView view, DType dtype, Shape shape) {
        return new Reinterpreted(view, dtype, shape);
    }

    /// The same bytes under another name.
    private record Reinterpreted(TensorView base, DType dtype, Shape shape) implements TensorView {
        private Reinterpreted {
            if (shape.elements() * dtype.bytes() != base.bytes()) {
                throw new IllegalArgumentException(base.dtype() + "" + base.shape() + " cannot be read as " + dtype + shape);
            }
        }

        @Override
        public void read(long first, MemorySegment target) {
            base.read(first * dtype.bytes() / base.dtype().bytes(), target);
        }

        @Override
        public List<String> sources() {
            return base.sources();
        }

        @Override
        public Optional<MemorySegment> mapped(long first, long count) {
            return base.mapped(first * dtype.bytes() / base.dtype().bytes(), count * dtype.bytes() / base.dtype().bytes());
        }
    }

    /// Holds the norms, which are computed at the first read.
    private static final class Normalized {
        private final TensorView base;
        private final boolean byRow;
        private final float epsilon;
        private float[] divisors;

        Normalized(TensorView base, boolean byRow, float epsilon) {
            this.base = base;
            this.byRow = byRow;
            this.epsilon = epsilon;
        }

        TensorView view() {
            long columns = base.shape().columns();
            return new Computed(base, List.of(), base.dtype(), (values, at, first, count) -> {
                float[] d = divisors();
                for (int i = 0; i < count; i++) {
                    values[at + i] = values[at + i] / d[(int) (byRow ? (first + i) / columns : (first + i) % columns)];
                }
            });
        }

        private synchronized float[] divisors() {
            if (divisors == null) {
                int rows = Math.toIntExact(base.shape().rows());
                int columns = Math.toIntExact(base.shape().columns());
                float[] sums = new float[byRow ? rows : columns];
                float[] row = new float[columns];
                for (int r = 0; r < rows; r++) {
                    base.read((long) r * columns, row, 0, columns);
                    for (int c = 0; c < columns; c++) {
                        sums[byRow ? r : c] += row[c] * row[c];
                    }
                }
                for (int i = 0; i < sums.length; i++) {
                    sums[i] = (float) Math.sqrt(sums[i]) + epsilon;
                }
                divisors = sums;
            }
            return divisors;
        }
    }
}
