package ram.rewrite;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import ram.format.CodedMatrix;
import ram.format.Format;
import ram.format.Quantizer;
import ram.numeric.Decoder;
import ram.numeric.Kernels;
import ram.safetensors.DType;
import ram.tensor.Rows;

/// By which powers of two the channels of one part of a pair are rescaled: rows of the writer times 2^exponent, columns of the reader divided by it.
///
/// @param before mean relative squared error of sampled rows of the reader, at 3 and 4 bits
/// @param after the same, rescaled
record Scaling(int[] exponents, double before, double after) {
    private static final int BLOCK_ELEMENTS = 1 << 18;
    private static final int SAMPLE = 256;
    private static final int SAMPLE_BLOCK = 16;
    /// Error that must be left at most, relative to that before.
    private static final double WORTHWHILE = 0.99;
    /// Beyond it channels are left alone: what is wrong with them is no lack of scale.
    private static final int LARGEST_EXPONENT = 40;
    /// Analysis refuses much larger values.
    private static final double LARGEST_VALUE = 0x1p59;

    static Scaling none(Pair pair) {
        return new Scaling(new int[pair.channels()], 1, 1);
    }

    int moved() {
        return (int) Arrays.stream(exponents).filter(e -> e != 0).count();
    }

    /// @return empty when rescaling does not help
    static Optional<Scaling> of(Pair pair, int part) {
        int[] exponents = exponents(pair, part);
        return Arrays.stream(exponents).allMatch(e -> e == 0) ? Optional.empty() : measured(pair, part, exponents);
    }

    /// Magnitudes of what one channel multiplies.
    private static final class Range {
        private double largest;
        private double smallest = Double.POSITIVE_INFINITY;

        void add(float value) {
            double magnitude = Math.abs((double) value);
            largest = Math.max(largest, magnitude);
            if (magnitude != 0) {
                smallest = Math.min(smallest, magnitude);
            }
        }

        void add(float high, float low) {
            largest = Math.max(largest, high);
            smallest = Math.min(smallest, low);
        }

        /// Whether all of it times 2^exponent is as exact as it is.
        boolean allows(DType type, int exponent) {
            double highest = type == DType.F16 ? 65504 : LARGEST_VALUE;
            double lowest = type == DType.F16 ? 0x1p-14 : Float.MIN_NORMAL;
            return Math.scalb(largest, exponent) <= highest && (exponent >= 0 || Math.scalb(smallest, exponent) >= lowest);
        }
    }

    /// Exponents that bring all columns to the geometric mean of their norms, as near as powers of two can; 0 where that would not be exact.
    private static int[] exponents(Pair pair, int part) {
        int columns = pair.columns();
        double[] squares = new double[columns];
        float[] largest = new float[columns];
        float[] smallest = new float[columns];
        Arrays.fill(smallest, Float.POSITIVE_INFINITY);
        Rows rows = Rewriting.rows(pair.reader(), part);
        int step = Math.max(1, BLOCK_ELEMENTS / columns);
        float[] values = new float[step * columns];
        for (long first = 0; first < rows.rows(); first += step) {
            int count = (int) Math.min(step, rows.rows() - first);
            rows.read(first, count, values);
            Kernels.addColumnSquares(values, count, columns, squares);
            for (int i = 0; i < count; i++) {
                for (int j = 0; j < columns; j++) {
                    float magnitude = Math.abs(values[i * columns + j]);
                    largest[j] = Math.max(largest[j], magnitude);
                    smallest[j] = Math.min(smallest[j], magnitude == 0 ? Float.POSITIVE_INFINITY : magnitude);
                }
            }
        }
        double[] energy = new double[pair.channels()];
        Range[] read = new Range[pair.channels()];
        Arrays.setAll(read, _ -> new Range());
        for (int j = 0; j < columns; j++) {
            read[pair.channel(j)].add(largest[j], smallest[j]);
            energy[pair.channel(j)] += squares[j];
        }
        int[] exponents = rounded(energy);
        Rows writer = Rewriting.rows(pair.writer(), part);
        float[] row = new float[writer.columns()];
        for (int c = 0; c < exponents.length; c++) {
            if (exponents[c] != 0 && !(read[c].allows(pair.reader().weight().dtype(), -exponents[c]) && written(writer, c, row).allows(pair.writer().weight().dtype(), exponents[c])
                    && bias(pair, part, c, exponents[c]))) {
                exponents[c] = 0;
            }
        }
        return exponents;
    }

    /// @return all 0 when a sum is not finite
    private static int[] rounded(double[] energy) {
        int[] out = new int[energy.length];
        double sum = 0;
        int positive = 0;
        for (double e : energy) {
            if (!Double.isFinite(e)) {
                return out;
            }
            if (e > 0) {
                sum += halfLog2(e);
                positive++;
            }
        }
        for (int c = 0; c < out.length; c++) {
            int exponent = energy[c] > 0 ? (int) Math.rint(halfLog2(energy[c]) - sum / positive) : 0;
            out[c] = Math.abs(exponent) <= LARGEST_EXPONENT ? exponent : 0;
        }
        return out;
    }

    // the strict logarithm is the same on every machine
    private static double halfLog2(double x) {
        return StrictMath.log(x) / (2 * StrictMath.log(2));
    }

    private static Range written(Rows writer, int channel, float[] row) {
        writer.read(channel, 1, row);
        Range out = new Range();
        for (float w : row) {
            out.add(w);
        }
        return out;
    }

    private static boolean bias(Pair pair, int part, int channel, int exponent) {
        return pair.bias().map(b -> {
            DType type = b.view().dtype();
            float[] value = new float[1];
            MemorySegment bytes = MemorySegment.ofArray(new byte[type.bytes()]);
            b.view().read((long) part * pair.channels() + channel, bytes);
            Decoder.decode(type, bytes, 0, value, 0, 1);
            Range range = new Range();
            range.add(value[0]);
            return range.allows(type, exponent);
        }).orElse(true);
    }

    /// Sums of squares at one format.
    private static final class Errors {
        private final Format format;
        private double before;
        private double after;
        private double mappedBack;

        Errors(Format format) {
            this.format = format;
        }
    }

    /// Rescaled and plain error of a sample of rows.
    private static Optional<Scaling> measured(Pair pair, int part, int[] exponents) {
        int columns = pair.columns();
        float[] scale = new float[columns];
        for (int j = 0; j < columns; j++) {
            scale[j] = Math.scalb(1f, exponents[pair.channel(j)]);
        }
        DType stored = pair.reader().weight().dtype();
        List<Errors> all = List.of(new Errors(Format.affine(3, pair.groupSize())), new Errors(Format.affine(4, pair.groupSize())));
        Rows rows = Rewriting.rows(pair.reader(), part);
        long sampled = Math.min(SAMPLE, rows.rows());
        double plain = 0;
        double rescaled = 0;
        float[] row = new float[columns];
        for (long first = 0; first < sampled; first += SAMPLE_BLOCK) {
            int count = (int) Math.min(SAMPLE_BLOCK, sampled - first);
            float[] w = new float[count * columns];
            float[] v = new float[count * columns];
            for (int i = 0; i < count; i++) {
                rows.read((first + i) * rows.rows() / sampled, 1, row);
                for (int j = 0; j < columns; j++) {
                    w[i * columns + j] = row[j];
                    v[i * columns + j] = row[j] / scale[j];
                    plain += (double) row[j] * row[j];
                    rescaled += (double) v[i * columns + j] * v[i * columns + j];
                }
            }
            for (Errors e : all) {
                float[] ofW = coded(e.format, stored, count, columns, w);
                float[] ofV = coded(e.format, stored, count, columns, v);
                for (int i = 0; i < w.length; i++) {
                    double d = (double) w[i] - ofW[i];
                    double r = (double) v[i] - ofV[i];
                    double back = r * scale[i % columns];
                    e.before += d * d;
                    e.after += r * r;
                    e.mappedBack += back * back;
                }
            }
        }
        double before = 0;
        double after = 0;
        double own = 0;
        double mapped = 0;
        for (Errors e : all) {
            if (!(e.before > 0) || !(rescaled > 0)) {
                return Optional.empty();
            }
            before += e.before / plain / all.size();
            after += e.after / rescaled / all.size();
            own += e.after / rescaled / (e.before / plain) / all.size();
            mapped += e.mappedBack / e.before / all.size();
        }
        return own < WORTHWHILE && mapped < WORTHWHILE ? Optional.of(new Scaling(exponents, before, after)) : Optional.empty();
    }

    private static float[] coded(Format format, DType stored, int rows, int columns, float[] values) {
        CodedMatrix matrix = CodedMatrix.allocate(format, stored, rows, columns);
        matrix.encode(Quantizer.MSE, values);
        float[] out = new float[values.length];
        matrix.read(0, rows, out);
        return out;
    }
}
