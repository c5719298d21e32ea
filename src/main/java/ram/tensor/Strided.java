package ram.tensor;

import static ram.safetensors.LittleEndian.BYTE;
import static ram.safetensors.LittleEndian.INT;
import static ram.safetensors.LittleEndian.LONG;
import static ram.safetensors.LittleEndian.SHORT;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import ram.safetensors.DType;
import ram.safetensors.MappedPages;
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
    /// So many elements lie side by side in the base as they do here, from each multiple of it on.
    private final long run;

    private Strided(TensorView base, long offset, long[] dims, long[] strides) {
        this.base = base;
        this.offset = offset;
        this.dims = dims;
        this.strides = strides;
        run = run(dims, strides);
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

    private static long run(long[] dims, long[] strides) {
        long step = 1;
        for (int i = dims.length - 1; i >= 0 && (dims[i] == 1 || strides[i] == step); i--) {
            step *= dims[i];
        }
        return step;
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
        return run == shape.elements() ? new Strided(base, offset, newDims, contiguous(newDims)) : new Strided(this, 0, newDims, contiguous(newDims));
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
        if (run < columns()) {
            TensorView.super.read(first, out, at, count);
            return;
        }
        int n;
        for (int done = 0; done < count; done += n) {
            n = (int) Math.min(count - done, run - (first + done) % run);
            base.read(index(first + done), out, at + done, n);
        }
    }

    @Override
    public Optional<MemorySegment> mapped(long first, long count) {
        return count > 0 && first % run + count <= run ? base.mapped(index(first), count) : Optional.empty();
    }

    private long columns() {
        return dims.length == 0 ? 1 : dims[dims.length - 1];
    }

    @Override
    public void read(long first, MemorySegment target) {
        int size = dtype().bytes();
        long count = target.byteSize() / size;
        long columns = columns();
        long n;
        for (long done = 0; done < count; done += n) {
            long at = first + done;
            long left = count - done;
            MemorySegment rest = target.asSlice(done * size);
            if (run >= columns) {
                n = Math.min(left, run - at % run);
                base.read(index(at), rest.asSlice(0, n * size));
            } else if (at % columns == 0 && left >= columns && dims.length > 1 && strides[dims.length - 2] == 1) {
                long height = dims[dims.length - 2];
                long rows = Math.min(height - at / columns % height, left / columns);
                n = rows * columns;
                transpose(index(at), rows, columns, rest);
            } else {
                n = Math.min(left, columns - at % columns);
                long from = index(at);
                for (long i = 0; i < n; i++) {
                    base.read(from + i * strides[dims.length - 1], rest.asSlice(i * size, size));
                }
            }
        }
    }

    /// Where an element is in the base.
    private long index(long element) {
        long index = offset;
        for (int axis = dims.length - 1; axis >= 0; axis--) {
            index += element % dims[axis] * strides[axis];
            element /= dims[axis];
        }
        return index;
    }

    /// Rows whose elements lie side by side in the base: each column is one run there. By tiles, so that what is written stays in the nearest cache.
    private void transpose(long from, long rows, long columns, MemorySegment target) {
        int size = dtype().bytes();
        long step = strides[dims.length - 1];
        long span = (columns - 1) * step + rows;
        Optional<MemorySegment> mapped = base.mapped(from, span);
        mapped.ifPresent(_ -> MappedPages.touched(span * size));
        try {
            transpose(mapped, from, rows, columns, target);
        } catch (InternalError e) {
            throw MappedPages.unreadable(e, mapped.orElse(null));
        }
    }

    /// @param mapped the base from `from` on, if it can be read where it lies
    private void transpose(Optional<MemorySegment> mapped, long from, long rows, long columns, MemorySegment target) {
        int size = dtype().bytes();
        long step = strides[dims.length - 1];
        MemorySegment tile = switch (size) {
            case 1 -> MemorySegment.ofArray(new byte[TILE_ROWS * TILE_COLUMNS]);
            case 2 -> MemorySegment.ofArray(new short[TILE_ROWS * TILE_COLUMNS]);
            case 4 -> MemorySegment.ofArray(new int[TILE_ROWS * TILE_COLUMNS]);
            default -> MemorySegment.ofArray(new long[TILE_ROWS * TILE_COLUMNS]);
        };
        for (long r = 0; r < rows; r += TILE_ROWS) {
            int high = (int) Math.min(TILE_ROWS, rows - r);
            for (long c = 0; c < columns; c += TILE_COLUMNS) {
                int wide = (int) Math.min(TILE_COLUMNS, columns - c);
                for (int i = 0; i < wide; i++) {
                    long at = r + (c + i) * step;
                    MemorySegment column = tile.asSlice((long) i * TILE_ROWS * size, (long) high * size);
                    if (mapped.isPresent()) {
                        MemorySegment.copy(mapped.get(), at * size, column, 0, column.byteSize());
                    } else {
                        base.read(from + at, column);
                    }
                }
                scatter(tile, high, wide, target.asSlice((r * columns + c) * size), columns);
            }
        }
    }

    /// Writes `wide` columns of `high` elements each, every one at the beginning of a column of a tile, as parts of rows. From the array behind it, whose accesses the compiler need not check one by one.
    private static void scatter(MemorySegment tile, int high, int wide, MemorySegment target, long columns) {
        switch (tile.heapBase().orElseThrow()) {
            case byte[] in -> {
                byte[] row = new byte[TILE_COLUMNS];
                for (int r = 0; r < high; r++) {
                    for (int c = 0; c < wide; c++) {
                        row[c] = in[c * TILE_ROWS + r];
                    }
                    MemorySegment.copy(row, 0, target, BYTE, r * columns, wide);
                }
            }
            case short[] in -> {
                short[] row = new short[TILE_COLUMNS];
                for (int r = 0; r < high; r++) {
                    for (int c = 0; c < wide; c++) {
                        row[c] = in[c * TILE_ROWS + r];
                    }
                    MemorySegment.copy(row, 0, target, SHORT, 2 * r * columns, wide);
                }
            }
            case int[] in -> {
                int[] row = new int[TILE_COLUMNS];
                for (int r = 0; r < high; r++) {
                    for (int c = 0; c < wide; c++) {
                        row[c] = in[c * TILE_ROWS + r];
                    }
                    MemorySegment.copy(row, 0, target, INT, 4 * r * columns, wide);
                }
            }
            case long[] in -> {
                long[] row = new long[TILE_COLUMNS];
                for (int r = 0; r < high; r++) {
                    for (int c = 0; c < wide; c++) {
                        row[c] = in[c * TILE_ROWS + r];
                    }
                    MemorySegment.copy(row, 0, target, LONG, 8 * r * columns, wide);
                }
            }
            default -> throw new IllegalArgumentException();
        }
    }
}
