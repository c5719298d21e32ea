package ram.profile;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import ram.format.BlockCoder;
import ram.format.Format;
import ram.format.Quantizer;
import ram.numeric.Kernels;
import ram.safetensors.DType;
import ram.sensitivity.Term;
import ram.tensor.RowBlocks;
import ram.tensor.Rows;

/// The squared errors of one matrix in several formats, on all of its rows or on a sample.
final class ErrorSums {
    /// A sample is doubled until the estimated relative standard error of every format is at most this, or until it holds one row in [#LARGEST_SHARE].
    private static final double SAMPLING_ERROR = 0.005;
    private static final int LARGEST_SHARE = 2;
    /// One of so many matrices of a module is sampled half as densely, and twice the error is allowed: the module's error, which is what formats are chosen
    /// by, is still known far better.
    private static final int MANY = 16;

    private final Rows matrix;
    /// They stay in a cache while every format is tried on them.
    private final RowBlocks blocks;
    private final int columns;
    private final List<Format> formats;
    private final List<BlockCoder> coders;
    private final Optional<BlockCoder> coarse;
    private final Optional<BlockCoder> reference;
    private final List<Term> terms;
    /// Powers of two that the importance of each term is held without.
    private final int[] shifts;
    private final List<float[]> importance;

    /// Sums of squared errors: in every format, in the coarse one, in the reference format, and there weighted by each term.
    private final double[] sums;
    private final double[] samplingErrors;
    private final Map<Integer, double[]> measured = new HashMap<>();
    private double norm;

    /// @param terms what an error costs by its place; empty when that is not known
    ErrorSums(Rows matrix, List<Format> formats, Quantizer quantizer, DType stored, List<Term> terms) {
        this.matrix = matrix;
        this.blocks = RowBlocks.of(matrix);
        this.columns = matrix.columns();
        this.formats = formats;
        this.coders = formats.stream().map(f -> new BlockCoder(f, quantizer, stored)).toList();
        this.coarse = rtn(stored, 128, 64, 32);
        this.reference = terms.isEmpty() ? Optional.empty() : rtn(stored, 64, 32);
        this.terms = terms;
        this.shifts = terms.stream().mapToInt(t -> shift(t.columns())).toArray();
        this.importance = IntStream.range(0, shifts.length).mapToObj(t -> floats(terms.get(t).columns(), shifts[t])).toList();
        this.sums = new double[weightedAt(terms.size())];
        this.samplingErrors = new double[formats.size()];
    }

    private Optional<BlockCoder> rtn(DType stored, int... groupSizes) {
        for (int g : groupSizes) {
            if (columns % g == 0) {
                return Optional.of(new BlockCoder(Format.affine(4, g), Quantizer.RTN, stored));
            }
        }
        return Optional.empty();
    }

    /// 0 unless a value is beyond float32, as where all weights of a model are extreme.
    private static int shift(double[] values) {
        double largest = Arrays.stream(values).max().orElse(0);
        return largest > Float.MAX_VALUE ? Math.getExponent(largest) : 0;
    }

    private static float[] floats(double[] values, int shift) {
        float[] out = new float[values.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = (float) Math.scalb(values[i], -shift);
        }
        return out;
    }

    /// Measures every row of a small matrix, and of a large one as many as it takes.
    ///
    /// @param statistics of the rows, where they are known already
    /// @param matrices how many of them make up the module
    /// @param exact whether every row of a large matrix is measured too
    MatrixAnalysis.Errors measure(Optional<RowSample.Statistics> statistics, int matrices, boolean exact) {
        if (RowSample.whole(matrix.rows(), columns, exact)) {
            measureAll();
            return result();
        }
        RowSample.Statistics known = statistics.orElseGet(() -> RowSample.Statistics.of(matrix));
        long most = matrix.rows() / LARGEST_SHARE;
        double start = 0.5;
        int coarser = matrices >= MANY ? 2 : 1;
        for (long wanted = RowSample.fewest(matrix.rows(), columns) / coarser;; wanted *= 2) {
            measure(RowSample.of(known, (int) wanted, start));
            start = 0;
            if (wanted * 2 > most || largestSamplingError() <= SAMPLING_ERROR * coarser) {
                return result();
            }
        }
    }

    private void measureAll() {
        for (RowBlocks.Block b : blocks) {
            int first = Math.toIntExact(b.firstRow());
            norm += Kernels.sumOfSquares(b.values(), 0, b.rows() * columns);
            double[][] found = measure(IntStream.range(first, Math.addExact(first, b.rows())).toArray(), b.values());
            for (int k = 0; k < found.length; k++) {
                for (double e : found[k]) {
                    sums[k] += e;
                }
            }
        }
    }

    /// Measures the rows of a sample, as far as they have not been measured yet.
    private void measure(RowSample sample) {
        int[] missing = Arrays.stream(sample.rows()).filter(r -> !measured.containsKey(r)).toArray();
        int step = blocks.rowsAtOnce();
        float[] values = blocks.room();
        float[] row = new float[columns];
        for (int at = 0; at < missing.length; at += step) {
            int[] rows = Arrays.copyOfRange(missing, at, Math.min(missing.length, at + step));
            for (int i = 0; i < rows.length; i++) {
                matrix.read(rows[i], 1, row);
                System.arraycopy(row, 0, values, i * columns, columns);
            }
            double[][] found = measure(rows, values);
            for (int i = 0; i < rows.length; i++) {
                int at0 = i;
                measured.put(rows[i], Arrays.stream(found).mapToDouble(f -> f[at0]).toArray());
            }
        }
        norm = sample.energy();
        double[] perRow = new double[sample.rows().length];
        for (int k = 0; k < sums.length; k++) {
            for (int i = 0; i < perRow.length; i++) {
                perRow[i] = measured.get(sample.rows()[i])[k];
            }
            sums[k] = sample.sum(perRow);
            if (k < samplingErrors.length) {
                samplingErrors[k] = sample.relativeError(perRow);
            }
        }
    }

    // Where sums are, after one per format: of the coarse format, of the reference, and of the reference weighted by each term.

    private int coarseAt() {
        return formats.size();
    }

    private int plainAt() {
        return formats.size() + 1;
    }

    private int weightedAt(int term) {
        return formats.size() + 2 + term;
    }

    /// Per kind of sum the value of each of these rows.
    ///
    /// @param values one row after the other
    private double[][] measure(int[] rows, float[] values) {
        double[][] out = new double[sums.length][rows.length];
        for (int f = 0; f < coders.size(); f++) {
            coders.get(f).errors(values, rows.length, columns, null, out[f], null);
        }
        if (coarse.isPresent()) {
            coarse.get().errors(values, rows.length, columns, null, out[coarseAt()], null);
        }
        for (int t = 0; t < terms.size() && reference.isPresent(); t++) {
            reference.get().errors(values, rows.length, columns, importance.get(t), t == 0 ? out[plainAt()] : null, out[weightedAt(t)]);
            for (int i = 0; i < rows.length; i++) {
                out[weightedAt(t)][i] = Math.scalb(out[weightedAt(t)][i] * terms.get(t).rows()[rows[i]], shifts[t]);
            }
        }
        return out;
    }

    /// The largest of the estimated relative standard errors.
    private double largestSamplingError() {
        return Arrays.stream(samplingErrors).max().orElse(0);
    }

    private MatrixAnalysis.Errors result() {
        List<CurvePoint> curve = new ArrayList<>();
        for (int f = 0; f < formats.size(); f++) {
            curve.add(new CurvePoint(formats.get(f), ratio(sums[f], norm), samplingErrors[f]));
        }
        double coarseSum = sums[coarseAt()];
        double plainSum = sums[plainAt()];
        double[] weighted = new double[terms.size()];
        for (int t = 0; t < weighted.length; t++) {
            // A matrix that the reference codes exactly, such as one that was quantized before, shows no error to weight: then what one of equal size everywhere would cost.
            weighted[t] = plainSum > 0 ? sums[weightedAt(t)] / plainSum : mean(terms.get(t).rows()) * mean(terms.get(t).columns());
        }
        return new MatrixAnalysis.Errors(curve, ratio(coarseSum, norm), reference.map(_ -> weighted));
    }

    private static double mean(double[] values) {
        return Arrays.stream(values).average().orElse(0);
    }

    private static double ratio(double a, double b) {
        return b == 0 ? 0 : a / b;
    }
}
