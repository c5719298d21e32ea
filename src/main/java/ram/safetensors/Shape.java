package ram.safetensors;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/// The dimensions of a tensor, outermost first. A scalar has none.
///
/// @param dims each 0 or more; their product at most 2⁴⁸, so that the bytes of many tensors add up in a `long`
public record Shape(List<Long> dims) {
    private static final long MOST_ELEMENTS = 1L << 48;

    public Shape {
        dims = List.copyOf(dims);
        long product = 1;
        for (long d : dims) {
            if (d < 0) {
                throw new IllegalArgumentException("negative dimension in " + dims);
            }
            product = Math.multiplyExact(product, d);
        }
        if (product > MOST_ELEMENTS) {
            throw new ArithmeticException("too many elements in " + dims);
        }
    }

    /// @throws IllegalArgumentException when a size is negative
    /// @throws ArithmeticException when there would be too many elements
    public static Shape of(long... dims) {
        return new Shape(Arrays.stream(dims).boxed().toList());
    }

    /// Number of dimensions; 0 of a single value.
    public int rank() {
        return dims.size();
    }

    /// Dimension `axis`; negative axes count from the end, as in NumPy.
    public long dim(int axis) {
        return dims.get(axis < 0 ? rank() + axis : axis);
    }

    /// Number of elements; 1 for a scalar.
    public long elements() {
        long n = 1;
        for (long d : dims) {
            n = Math.multiplyExact(n, d);
        }
        return n;
    }

    /// Length of a row: the last dimension, 1 for a scalar.
    public long columns() {
        return dims.isEmpty() ? 1 : dims.getLast();
    }

    /// Number of rows when all outer dimensions are folded into one.
    public long rows() {
        long n = 1;
        for (int i = 0; i < rank() - 1; i++) {
            n = Math.multiplyExact(n, dims.get(i));
        }
        return n;
    }

    /// The same with another size of the last dimension.
    public Shape withLast(long columns) {
        long[] out = dims.stream().mapToLong(Long::longValue).toArray();
        if (out.length == 0) {
            throw new IllegalArgumentException("a scalar has no last dimension");
        }
        out[out.length - 1] = columns;
        return of(out);
    }

    @Override
    public String toString() {
        return dims.stream().map(String::valueOf).collect(Collectors.joining("×", "[", "]"));
    }
}
