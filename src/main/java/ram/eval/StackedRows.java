package ram.eval;

import java.util.List;
import ram.tensor.Rows;

/// Matrices of one shape, one below the other.
record StackedRows(List<Rows> parts) implements Rows {
    StackedRows {
        parts = List.copyOf(parts);
        long rows = parts.getFirst().rows();
        if (parts.stream().anyMatch(p -> p.rows() != rows)) {
            throw new IllegalArgumentException("parts of different heights");
        }
    }

    @Override
    public long rows() {
        return parts.stream().mapToLong(Rows::rows).sum();
    }

    @Override
    public int columns() {
        return parts.getFirst().columns();
    }

    @Override
    public void read(long firstRow, int count, float[] out) {
        long each = parts.getFirst().rows();
        int part = (int) (firstRow / each);
        long first = firstRow % each;
        if (first + count <= each) {
            parts.get(part).read(first, count, out);
            return;
        }
        int head = (int) (each - first);
        float[] rest = new float[(count - head) * columns()];
        parts.get(part).read(first, head, out);
        read(firstRow + head, count - head, rest);
        System.arraycopy(rest, 0, out, head * columns(), rest.length);
    }
}
