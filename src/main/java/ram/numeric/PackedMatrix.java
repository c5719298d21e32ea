package ram.numeric;

import java.util.Arrays;

/// The second factor B of matrix products in the order in which the inner loops read it: blocks of 256 rows, in each strips of 64 columns, in each row after row.
/// Worth it for a matrix that several products have in common.
public final class PackedMatrix {
    /// Columns of a strip: the widest tile of the inner loops.
    static final int STRIP = 64;
    /// Products deep that a tile goes before it moves on: what it reads of both factors stays in the nearer caches.
    private static final int DEPTH = 256;
    /// Ranges of columns begin at multiples of it: the widest of the narrower tiles.
    private static final int ALIGNMENT = 32;
    /// Columns that are turned together: more of them at a power-of-two distance push each other out of the first cache.
    private static final int TURNED = 8;
    private static final ThreadLocal<float[]> PANEL = ThreadLocal.withInitial(() -> new float[DEPTH * STRIP]);

    private final int rows;
    private final int columns;
    private final int padded;
    private final float[] values;

    /// Arrays for one matrix after the other: a matrix is to be used no more when the next one is made with the same buffers.
    public static final class Buffers {
        private float[] packed = {};
        private float[] unpacked = {};

        private float[] packed(int length) {
            packed = packed.length < length ? new float[length] : packed;
            return packed;
        }

        private float[] unpacked(int length) {
            unpacked = unpacked.length < length ? new float[length] : unpacked;
            return unpacked;
        }
    }

    private PackedMatrix(int rows, int columns, Buffers buffers) {
        this.rows = rows;
        this.columns = columns;
        this.padded = Math.ceilDiv(columns, STRIP) * STRIP;
        this.values = buffers.packed(Math.multiplyExact(rows, padded));
    }

    /// The matrix whose element `(p, j)` is at `from + p · stride + j`.
    public static PackedMatrix ofRows(int rows, int columns, float[] b, int from, int stride) {
        return ofRows(rows, columns, new Buffers(), b, from, stride);
    }

    /// The same, with buffers of earlier matrices.
    public static PackedMatrix ofRows(int rows, int columns, Buffers buffers, float[] b, int from, int stride) {
        PackedMatrix out = new PackedMatrix(rows, columns, buffers);
        out.fill(0, columns, b, from, 1, stride);
        return out;
    }

    /// The matrix whose columns `source` gives, a strip of them at a time.
    public static PackedMatrix ofColumns(int rows, int columns, Buffers buffers, Source source) {
        PackedMatrix out = new PackedMatrix(rows, columns, buffers);
        float[] some = buffers.unpacked(Math.multiplyExact(rows, Math.min(columns, STRIP)));
        for (int j = 0; j < columns; j += STRIP) {
            int count = Math.min(STRIP, columns - j);
            source.read(j, count, some);
            out.fill(j, count, some, 0, rows, 1);
        }
        return out;
    }

    /// What a matrix is made of.
    public interface Source {
        /// @param out receives `count` columns from `first` on, one after the other
        void read(int first, int count, float[] out);
    }

    /// Rows of the matrix that was packed.
    public int rows() {
        return rows;
    }

    /// Columns of the matrix that was packed.
    public int columns() {
        return columns;
    }

    /// Element `(p, j)`.
    public float get(int p, int j) {
        int block = p / DEPTH * DEPTH;
        return values[strip(block, j / STRIP) + (p - block) * STRIP + j % STRIP];
    }

    /// The values row after row.
    public float[] rowMajor() {
        float[] out = new float[Math.multiplyExact(rows, columns)];
        for (int p = 0; p < rows; p++) {
            int block = p / DEPTH * DEPTH;
            for (int j = 0; j < columns; j += STRIP) {
                System.arraycopy(values, strip(block, j / STRIP) + (p - block) * STRIP, out, p * columns + j, Math.min(STRIP, columns - j));
            }
        }
        return out;
    }

    /// The values column after column, in an array that may be longer and is used again for the next matrix that is unpacked with the same buffers.
    public float[] columnMajor(Buffers buffers) {
        float[] out = buffers.unpacked(Math.multiplyExact(rows, columns));
        for (int p = 0; p < rows; p += DEPTH) {
            int depth = Math.min(DEPTH, rows - p);
            for (int j = 0; j < columns; j += STRIP) {
                unpack(values, strip(p, j / STRIP), Math.min(STRIP, columns - j), depth, out, j * rows + p, rows);
            }
        }
        return out;
    }

    /// Where a strip of the block that begins with a row begins.
    private int strip(int block, int strip) {
        return block * padded + strip * STRIP * Math.min(DEPTH, rows - block);
    }

    /// @param first a multiple of a strip
    private void fill(int first, int count, float[] b, int from, int across, int down) {
        for (int p = 0; p < rows; p += DEPTH) {
            int depth = Math.min(DEPTH, rows - p);
            for (int j = 0; j < count; j += STRIP) {
                pack(b, from + j * across + p * down, across, down, Math.min(STRIP, count - j), depth, values, strip(p, (first + j) / STRIP));
            }
        }
    }

    /// C += A · B for some rows and columns of B.
    ///
    /// @param first column of B; a multiple of 32
    void multiplyAdd(KernelOps ops, int m, float[] a, int aFrom, int aStride, int firstRow, int rowCount, int first, int count, float[] c, int cFrom, int cStride) {
        if (first % ALIGNMENT != 0) {
            throw new IllegalArgumentException("no product begins at column " + first);
        }
        for (int p = firstRow; p < firstRow + rowCount;) {
            int block = p / DEPTH * DEPTH;
            int depth = Math.min(Math.min(DEPTH, rows - block) - (p - block), firstRow + rowCount - p);
            for (int j = first; j < first + count;) {
                int inStrip = j % STRIP;
                int width = Math.min(STRIP - inStrip, first + count - j);
                ops.multiplyStrip(m, width, depth, a, aFrom + p - firstRow, aStride, values, strip(block, j / STRIP) + (p - block) * STRIP + inStrip, c, cFrom + j - first, cStride);
                j += width;
            }
            p += depth;
        }
    }

    /// C += A · B for a matrix that is used once; element `(p, j)` of B is at `bFrom + j · across + p · down`, one of the two being 1.
    static void product(KernelOps ops, int m, int n, int k, float[] a, int aFrom, int aStride, float[] b, int bFrom, int across, int down, float[] c, int cFrom, int cStride) {
        float[] panel = PANEL.get();
        for (int p = 0; p < k; p += DEPTH) {
            int depth = Math.min(DEPTH, k - p);
            for (int j = 0; j < n; j += STRIP) {
                int width = Math.min(STRIP, n - j);
                pack(b, bFrom + j * across + p * down, across, down, width, depth, panel, 0);
                ops.multiplyStrip(m, width, depth, a, aFrom + p, aStride, panel, 0, c, cFrom + j, cStride);
            }
        }
    }

    private static void pack(float[] b, int from, int across, int down, int width, int depth, float[] out, int at) {
        if (width < STRIP) {
            Arrays.fill(out, at, at + depth * STRIP, 0);
        }
        if (across == 1) {
            for (int p = 0; p < depth; p++) {
                System.arraycopy(b, from + p * down, out, at + p * STRIP, width);
            }
            return;
        }
        int j = 0;
        for (; j <= width - TURNED; j += TURNED) {
            int row = from + j * across;
            for (int p = 0, to = at + j; p < depth; p++, to += STRIP, row++) {
                out[to] = b[row];
                out[to + 1] = b[row + across];
                out[to + 2] = b[row + 2 * across];
                out[to + 3] = b[row + 3 * across];
                out[to + 4] = b[row + 4 * across];
                out[to + 5] = b[row + 5 * across];
                out[to + 6] = b[row + 6 * across];
                out[to + 7] = b[row + 7 * across];
            }
        }
        for (; j < width; j++) {
            int row = from + j * across;
            for (int p = 0; p < depth; p++) {
                out[at + p * STRIP + j] = b[row + p];
            }
        }
    }

    private static void unpack(float[] strip, int at, int width, int depth, float[] out, int to, int across) {
        int j = 0;
        for (; j <= width - TURNED; j += TURNED) {
            int column = to + j * across;
            for (int p = 0, from = at + j; p < depth; p++, from += STRIP, column++) {
                out[column] = strip[from];
                out[column + across] = strip[from + 1];
                out[column + 2 * across] = strip[from + 2];
                out[column + 3 * across] = strip[from + 3];
                out[column + 4 * across] = strip[from + 4];
                out[column + 5 * across] = strip[from + 5];
                out[column + 6 * across] = strip[from + 6];
                out[column + 7 * across] = strip[from + 7];
            }
        }
        for (; j < width; j++) {
            for (int p = 0; p < depth; p++) {
                out[to + j * across + p] = strip[at + p * STRIP + j];
            }
        }
    }
}
