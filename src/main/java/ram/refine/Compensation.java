package ram.refine;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import ram.format.BlockCoder;
import ram.format.Format;
import ram.format.Quantizer;
import ram.numeric.Decoder;
import ram.numeric.Kernels;
import ram.safetensors.DType;

/// Codes whole rows column by column, from the last to the first; each column is moved by what the columns after it got wrong, so that ‖E L‖² stays small
/// (Frantar et al. 2022, in the form of Chee et al. 2023, which needs the factor of H and no inverse). Scales and biases of a group are chosen when its turn comes.
final class Compensation {
    /// Adding and subtracting it leaves the nearest whole number, of two the even one, of what is not negative and far smaller.
    private static final float ROUNDING = 1 << 23;

    private final Format format;
    private final DType stored;
    private final Factor factor;
    private final BlockCoder coder;

    /// @param format affine
    Compensation(Format format, DType stored, Factor factor) {
        if (format.mode() != Format.Mode.AFFINE) {
            throw new IllegalArgumentException("no compensation in " + format);
        }
        this.format = format;
        this.stored = stored;
        this.factor = factor;
        this.coder = new BlockCoder(format, Quantizer.MSE, stored);
    }

    /// @param w `rows · columns` values
    /// @param codes where the codes go, as [BlockCoder#encode] would put them; likewise scales and biases
    /// @return ‖E L‖² per row
    double[] code(float[] w, int rows, MemorySegment codes, MemorySegment scales, MemorySegment biases) {
        int n = factor.size();
        int size = format.groupSize();
        int perRow = n / size;
        int groupBytes = size * format.bits() / 8;
        float maxCode = (1 << format.bits()) - 1;
        float[] error = new float[Math.multiplyExact(rows, n)];
        float[] pull = new float[rows * size];
        float[] turnedPull = new float[rows * size];
        float[] turnedWeight = new float[rows * size];
        float[] turnedError = new float[rows * size];
        float[] target = new float[rows * size];
        float[] code = new float[rows * size];
        float[] missed = new float[rows];
        float[] scale = new float[rows];
        float[] divisor = new float[rows];
        float[] bias = new float[rows];
        float[] importance = new float[size];
        byte[] q = new byte[rows * size];
        MemorySegment unused = MemorySegment.ofArray(new byte[rows * groupBytes]);
        MemorySegment s = MemorySegment.ofArray(new byte[rows * stored.bytes()]);
        MemorySegment b = MemorySegment.ofArray(new byte[rows * stored.bytes()]);
        double[] weighted = new double[rows];
        for (int g = perRow - 1; g >= 0; g--) {
            int a = g * size;
            Arrays.fill(pull, 0);
            factor.addErrors(error, rows, a + size, a, size, pull);
            for (int k = 0; k < size; k++) {
                float pivot = factor.get(a + k, a + k);
                importance[k] = pivot * pivot;
                for (int r = 0; r < rows; r++) {
                    turnedWeight[k * rows + r] = w[r * n + a + k];
                    turnedPull[k * rows + r] = pull[r * size + k];
                    target[r * size + k] = w[r * n + a + k] + pull[r * size + k] / pivot;
                }
            }
            coder.encode(target, rows, size, importance, unused, s, b);
            Decoder.decode(stored, s, 0, scale, 0, rows);
            Decoder.decode(stored, b, 0, bias, 0, rows);
            for (int r = 0; r < rows; r++) {
                // without a scale every code is 0
                divisor[r] = scale[r] == 0 ? Float.POSITIVE_INFINITY : scale[r];
            }
            for (int k = size - 1; k >= 0; k--) {
                int at = k * rows;
                float pivot = factor.get(a + k, a + k);
                codeColumn(rows, at, turnedWeight, turnedPull, pivot, scale, divisor, bias, maxCode, code, turnedError, missed);
                for (int r = 0; r < rows; r++) {
                    double m = (double) pivot * missed[r];
                    weighted[r] += m * m;
                }
                for (int j = 0; j < k; j++) {
                    Kernels.addScaled(factor.get(a + k, a + j), turnedError, at, turnedPull, j * rows, rows);
                }
            }
            for (int r = 0; r < rows; r++) {
                for (int k = 0; k < size; k++) {
                    error[r * n + a + k] = turnedError[k * rows + r];
                    q[r * size + k] = (byte) code[k * rows + r];
                }
                long group = (long) r * perRow + g;
                coder.pack(q, r * size, codes, group * groupBytes);
                MemorySegment.copy(s, (long) r * stored.bytes(), scales, group * stored.bytes(), stored.bytes());
                MemorySegment.copy(b, (long) r * stored.bytes(), biases, group * stored.bytes(), stored.bytes());
            }
        }
        return weighted;
    }

    /// Codes one column of all rows; every step is one that a compiler can do for many rows at once.
    ///
    /// @param at where the column begins in arrays of columns
    /// @param missed receives the distance of each coded weight from what it should have been
    private static void codeColumn(int rows, int at, float[] weight, float[] pull, float pivot, float[] scale, float[] divisor, float[] bias, float maxCode, float[] code,
                                   float[] error, float[] missed) {
        for (int r = 0; r < rows; r++) {
            float t = weight[at + r] + pull[at + r] / pivot;
            float x = Math.min(Math.max((t - bias[r]) / divisor[r], 0), maxCode);
            float nearest = x + ROUNDING - ROUNDING;
            float v = nearest * scale[r] + bias[r];
            code[at + r] = nearest;
            error[at + r] = weight[at + r] - v;
            missed[r] = t - v;
        }
    }
}
