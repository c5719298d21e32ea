package ram.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import ram.safetensors.DType;
import ram.safetensors.LittleEndian;
import ram.safetensors.Shape;

/// Another view of a tensor's elements: element (i, j, …) is element `offset + i·strides[0] + j·strides[1] + …` of the base.
/// Slices, halves, every second row, transposes and reshapes of contiguous tensors are all this one thing.
final class Strided implements TensorView {
    private static final int TILE_ROWS = 64;
    private static final int TILE_COLUMNS = 64;

    private final TensorView base;
    private final long offset;
    private final long[] dims;
    private final long[] strides;

    private Strided(TensorView base, long offset, long[] dims, long[] strides) {
        this.base = base;
        this.offset = offset;
        this.dims = dims;
        this.strides = strides;
    }

    /// `view` itself when it is one already, else all of it in its own order.
    static Strided of(TensorView view) {
        if (view instanceof Strided s) {
            return s;
        }
        long[] dims = view.shape().dims().stream().mapToLong(Long::longValue).toArray();
        return new Strided(view, 0, dims, contiguous(dims));
    }

    private static long[] contiguous(long[] dims) {
        long[] strides = new long[dims.length];
        long step = 1;
        for (int i = dims.length - 1; i >= 0; i--) {
            strides[i] = step;
            step = Math.multiplyExact(step, dims[i]);
        }
        return strides;
    }

    private boolean isContiguous() {
        long step = 1;
        for (int i = dims.length - 1; i >= 0; i--) {
            if (dims[i] != 1 && strides[i] != step) {
                return false;
            }
            step *= dims[i];
        }
        return true;
    }

    /// Indices `start`, `start + step`, … of one axis, `count` of them.
    Strided slice(int axis, long start, long count, long step) {
        if (count > 0) {
            Objects.checkIndex(start, dims[axis]);
            Objects.checkIndex(start + (count - 1) * step, dims[axis]);
        }
        long[] newDims = dims.clone();
        long[] newStrides = strides.clone();
        newDims[axis] = count;
        newStrides[axis] = strides[axis] * step;
        return new Strided(base, offset + start * strides[axis], newDims, newStrides);
    }

    /// @param axes for each new axis the old one
    Strided permute(int... axes) {
        return new Strided(base, offset, Arrays.stream(axes).mapToLong(a -> dims[a]).toArray(), Arrays.stream(axes).mapToLong(a -> strides[a]).toArray());
    }

    /// The same elements in the same order with other dimensions.
    TensorView reshape(Shape shape) {
        if (shape.elements() != shape().elements()) {
            throw new IllegalArgumentException(shape() + " cannot be reshaped to " + shape);
        }
        long[] newDims = shape.dims().stream().mapToLong(Long::longValue).toArray();
        return isContiguous() ? new Strided(base, offset, newDims, contiguous(newDims)) : new Strided(this, 0, newDims, contiguous(newDims));
    }

    @Override
    public DType dtype() {
        return base.dtype();
    }

    @Override
    public Shape shape() {
        return Shape.of(dims);
    }

    @Override
    public List<String> sources() {
        return base.sources();
    }

    @Override
    public void read(long first, float[] out, int at, int count) {
        if (isContiguous()) {
            base.read(offset + first, out, at, count);
        } else {
            TensorView.super.read(first, out, at, count);
        }
    }

    @Override
    public Optional<MemorySegment> mapped(long first, long count) {
        return isContiguous() ? base.mapped(offset + first, count) : Optional.empty();
    }

    @Override
    public void read(long first, MemorySegment target) {
        int size = dtype().bytes();
        long count = target.byteSize() / size;
        if (count == 0) {
            return;
        }
        if (isContiguous()) {
            base.read(offset + first, target);
            return;
        }
        int rank = dims.length;
        long columns = dims[rank - 1];
        boolean runs = columns == 1 || strides[rank - 1] == 1;
        long done = 0;
        while (done < count) {
            long row = (first + done) / columns;
            long column = (first + done) % columns;
            if (!runs && column == 0 && rank > 1 && strides[rank - 2] == 1 && count - done >= columns) {
                long inMatrix = dims[rank - 2] - row % dims[rank - 2];
                long rows = Math.min(inMatrix, (count - done) / columns);
                transpose(start(row), rows, columns, target.asSlice(done * size));
                done += rows * columns;
                continue;
            }
            long n = Math.min(columns - column, count - done);
            long from = start(row) + column * strides[rank - 1];
            if (runs) {
                base.read(from, target.asSlice(done * size, n * size));
            } else {
                for (long i = 0; i < n; i++) {
                    base.read(from + i * strides[rank - 1], target.asSlice((done + i) * size, size));
                }
            }
            done += n;
        }
    }

    /// Base index of the first element of a row.
    private long start(long row) {
        long index = offset;
        for (int axis = dims.length - 2; axis >= 0; axis--) {
            index += row % dims[axis] * strides[axis];
            row /= dims[axis];
        }
        return index;
    }

    /// Rows whose elements lie side by side in the base: each column is one run there. By tiles, so that what is written stays in the nearest cache.
    private void transpose(long from, long rows, long columns, MemorySegment target) {
        int size = dtype().bytes();
        long step = strides[dims.length - 1];
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment tile = arena.allocate((long) TILE_ROWS * TILE_COLUMNS * size, 64);
            for (long r = 0; r < rows; r += TILE_ROWS) {
                int high = (int) Math.min(TILE_ROWS, rows - r);
                for (long c = 0; c < columns; c += TILE_COLUMNS) {
                    int wide = (int) Math.min(TILE_COLUMNS, columns - c);
                    for (int i = 0; i < wide; i++) {
                        base.read(from + r + (c + i) * step, tile.asSlice((long) i * high * size, (long) high * size));
                    }
                    scatter(tile, high, wide, target.asSlice((r * columns + c) * size), columns, size);
                }
            }
        }
    }

    /// Writes `wide` columns of `high` elements each, which follow each other in `tile`, as parts of rows.
    private static void scatter(MemorySegment tile, int high, int wide, MemorySegment target, long columns, int size) {
        switch (size) {
            case 1 -> {
                for (int r = 0; r < high; r++) {
                    for (int c = 0; c < wide; c++) {
                        target.set(LittleEndian.BYTE, r * columns + c, tile.get(LittleEndian.BYTE, (long) c * high + r));
                    }
                }
            }
            case 2 -> {
                for (int r = 0; r < high; r++) {
                    for (int c = 0; c < wide; c++) {
                        target.set(LittleEndian.SHORT, 2 * (r * columns + c), tile.get(LittleEndian.SHORT, 2 * ((long) c * high + r)));
                    }
                }
            }
            case 4 -> {
                for (int r = 0; r < high; r++) {
                    for (int c = 0; c < wide; c++) {
                        target.set(LittleEndian.INT, 4 * (r * columns + c), tile.get(LittleEndian.INT, 4 * ((long) c * high + r)));
                    }
                }
            }
            default -> {
                for (int r = 0; r < high; r++) {
                    for (int c = 0; c < wide; c++) {
                        target.set(LittleEndian.LONG, 8 * (r * columns + c), tile.get(LittleEndian.LONG, 8 * ((long) c * high + r)));
                    }
                }
            }
        }
    }
}
