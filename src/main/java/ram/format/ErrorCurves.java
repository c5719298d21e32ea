package ram.format;

import java.util.List;
import ram.safetensors.DType;

/// The squared errors of one block of rows in several formats.
public final class ErrorCurves {
    private ErrorCurves() {
    }

    /// Adds to `sums[f][0]` the squared error of the block in format `f`, and to `sums[f][1]` that error weighted by the columns' importance.
    /// Rows are added in order.
    ///
    /// @param values `rows · columns` finite values
    /// @param columnWeights the importance of each column, which the quantizer minimises, too; null for equal ones
    /// @param formats quantized ones whose group size divides `columns`
    public static void measure(float[] values, int rows, int columns, float[] columnWeights, List<Format> formats, Quantizer quantizer, DType stored, double[][] sums) {
        for (int f = 0; f < formats.size(); f++) {
            double[] plain = new double[rows];
            double[] weighted = new double[rows];
            new BlockCoder(formats.get(f), quantizer, stored).errors(values, rows, columns, columnWeights, plain, weighted);
            for (int r = 0; r < rows; r++) {
                sums[f][0] += plain[r];
                sums[f][1] += weighted[r];
            }
        }
    }
}
