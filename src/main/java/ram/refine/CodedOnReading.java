package ram.refine;

import java.util.Arrays;
import ram.format.CodedMatrix;
import ram.format.Quantizer;
import ram.tensor.Rows;

/// A matrix that is coded and decoded as it is read, for one of which few rows are.
record CodedOnReading(Rows inner, Refiner.Target target) implements Rows {
    @Override
    public long rows() {
        return inner.rows();
    }

    @Override
    public int columns() {
        return inner.columns();
    }

    @Override
    public void read(long first, int count, float[] out) {
        inner.read(first, count, out);
        CodedMatrix part = CodedMatrix.allocate(target.format(), target.stored(), count, columns());
        part.encode(Quantizer.MSE, out.length == count * columns() ? out : Arrays.copyOf(out, count * columns()));
        part.read(0, count, out);
    }
}
