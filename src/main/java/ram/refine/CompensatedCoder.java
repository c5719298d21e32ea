package ram.refine;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;
import ram.format.CodedMatrix;
import ram.format.Quantizer;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// Codes a matrix with compensation, each row as that or as `mse` codes it, whichever is closer.
final class CompensatedCoder {
    /// Rows coded together: they share each panel of the factor that is brought from memory. A multiple of the six rows of a tile of the matrix product, by
    /// which powers of two do not make more blocks than by 256.
    private static final int BLOCK = 258;

    private final Workers workers;

    CompensatedCoder(Workers workers) {
        this.workers = workers;
    }

    /// What coding some rows gave, in terms of outputs: sums over inputs and rows of squared differences.
    ///
    /// @param error of what was kept
    /// @param plainError of `mse`
    /// @param compensated rows in which compensation was closer
    record Outcome(double error, double plainError, long rows, long compensated) {
        static final Outcome NONE = new Outcome(0, 0, 0, 0);

        Outcome plus(Outcome other) {
            return new Outcome(error + other.error, plainError + other.plainError, rows + other.rows, compensated + other.compensated);
        }
    }

    private record Block(long first, int rows) {
    }

    private record Coded(long first, CodedMatrix matrix, Outcome outcome) {
    }

    /// @param w the rows `first … first + rows` are coded
    /// @param share of the drift of the inputs that is made up for
    /// @param sink takes the coded rows in order; the number is counted from `first`
    Outcome code(Rows w, long first, long rows, Refiner.Target target, Inputs inputs, Factor factor, double share, BiConsumer<Long, CodedMatrix> sink) {
        List<Block> blocks = new ArrayList<>();
        for (long r = 0; r < rows; r += BLOCK) {
            blocks.add(new Block(r, (int) Math.min(BLOCK, rows - r)));
        }
        Outcome[] total = {Outcome.NONE};
        workers.forEach(blocks, b -> code(w, first, b, target, inputs, factor, share), coded -> {
            sink.accept(coded.first(), coded.matrix());
            total[0] = total[0].plus(coded.outcome());
        });
        return total[0];
    }

    private static Coded code(Rows w, long first, Block block, Refiner.Target target, Inputs inputs, Factor factor, double share) {
        int n = w.columns();
        int rows = block.rows();
        float[] values = new float[Math.multiplyExact(rows, n)];
        w.read(first + block.first(), rows, values);
        CodedMatrix plain = CodedMatrix.allocate(target.format(), target.stored(), rows, n);
        plain.encode(Quantizer.MSE, values);
        float[] aim = inputs.aim(values, rows, share);
        float[] error = new float[values.length];
        plain.read(0, rows, error);
        for (int i = 0; i < error.length; i++) {
            error[i] = aim[i] - error[i];
        }
        double[] without = factor.weigh(error, rows);
        CodedMatrix out = CodedMatrix.allocate(target.format(), target.stored(), rows, n);
        double[] with = new Compensation(target.format(), target.stored(), factor).code(aim, rows, out.codes(), out.scales(), out.biases());
        double sum = 0;
        double plainSum = 0;
        int compensated = 0;
        for (int r = 0; r < rows; r++) {
            plainSum += without[r];
            if (with[r] < without[r]) {
                sum += with[r];
                compensated++;
            } else {
                sum += without[r];
                out.put(r, plain.slice(r, 1));
            }
        }
        return new Coded(block.first(), out, new Outcome(sum, plainSum, rows, compensated));
    }
}
