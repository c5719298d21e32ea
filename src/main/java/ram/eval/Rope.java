package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.stream.DoubleStream;
import ram.InputException;
import ram.layout.ModelConfig;

/// Rotary position embedding: dimension pair `i` of the rotated part turns by `position · frequency[i]`.
///
/// @param frequencies one per pair, in radians per position
/// @param scale factor on the rotated dimensions of queries and keys
/// @param adjacent whether a pair is two neighbouring dimensions; else one of the first half and one of the second
public record Rope(double[] frequencies, double scale, boolean adjacent) {
    public Rope {
        if (frequencies.length == 0 || !(scale > 0 && scale < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException(frequencies.length + " frequencies, scale " + scale);
        }
    }

    /// @param share dimensions of a head that are turned, of which whole pairs are
    /// @param scaling a `rope_scaling`; one that is missing changes nothing
    /// @throws InputException for numbers that make no rotation, and kinds of scaling that are not known here
    static Rope of(ModelConfig config, int headDim, double share, double base, JsonNode scaling, boolean adjacent) {
        int dims = share > 0 && share <= headDim ? (int) share / 2 * 2 : 0;
        if (dims < 2 || !(base > 0 && base < Double.POSITIVE_INFINITY)) {
            throw InputException.in(config.file(), "asks for " + share + " dimensions and a rope_theta of " + base + ", which makes no rotation of heads of "
                    + headDim + " dimensions; download it again");
        }
        double[] f = new double[dims / 2];
        for (int i = 0; i < f.length; i++) {
            f[i] = StrictMath.pow(base, -2.0 * i / dims);
        }
        Rope plain = new Rope(f, 1, adjacent);
        Numbers numbers = Numbers.ofScaling(config.file(), scaling);
        String type = scaling.path("type").asText(scaling.path("rope_type").asText("default"));
        return switch (type) {
            case "default", "mrope" -> plain;
            case "linear" -> plain.faster(1 / numbers.positive("factor"));
            case "llama3" -> plain.with(llama3(f, numbers), 1, numbers);
            case "yarn", "deepseek_yarn", "telechat3-yarn" -> plain.yarn(base, numbers);
            case "longrope", "su" -> plain.longRope(config, numbers);
            case "proportional" -> plain.proportional(numbers);
            default -> throw InputException.in(config.file(), "asks for rope type '" + type + "', which the evaluation does not know; it knows default, linear, llama3, longrope, proportional and yarn");
        };
    }

    /// @throws InputException where the numbers of a scaling make nothing that turns
    private Rope with(double[] others, double otherScale, Numbers scaling) {
        if (!(otherScale > 0 && otherScale < Double.POSITIVE_INFINITY) || !Arrays.stream(others).allMatch(Double::isFinite)) {
            throw scaling.refused("has a rope scaling whose numbers make no rotation; download it again");
        }
        return new Rope(others, otherScale, adjacent);
    }

    private static double[] scaled(double[] f, double by) {
        double[] out = f.clone();
        for (int i = 0; i < out.length; i++) {
            out[i] *= by;
        }
        return out;
    }

    /// Long waves are stretched by the factor, short ones kept, those between interpolated.
    private static double[] llama3(double[] f, Numbers scaling) {
        double factor = scaling.positive("factor");
        double low = scaling.number("low_freq_factor", 1);
        double high = scaling.number("high_freq_factor", 4);
        double context = scaling.positive("original_max_position_embeddings", 8192);
        double[] out = f.clone();
        for (int i = 0; i < f.length; i++) {
            double turns = context * f[i] / (2 * Math.PI);
            if (turns < low) {
                out[i] = f[i] / factor;
            } else if (turns < high) {
                double smooth = (turns - low) / (high - low);
                out[i] = f[i] * ((1 - smooth) / factor + smooth);
            }
        }
        return out;
    }

    /// Peng et al. 2023, arXiv:2309.00071: a linear ramp over dimensions between stretched and unchanged frequencies.
    private Rope yarn(double base, Numbers scaling) {
        double[] f = frequencies;
        int dims = 2 * f.length;
        double factor = scaling.positive("factor");
        double context = scaling.positive("original_max_position_embeddings", 4096);
        double low = Math.max(0, Math.floor(dimension(scaling.positive("beta_fast", 32), dims, base, context)));
        double high = Math.min(dims - 1, Math.ceil(dimension(scaling.positive("beta_slow", 1), dims, base, context)));
        if (low == high) {
            high += 0.001;
        }
        double[] out = f.clone();
        for (int i = 0; i < f.length; i++) {
            double stretched = Math.clamp((i - low) / (high - low), 0.0, 1.0);
            out[i] = f[i] * (stretched / factor + 1 - stretched);
        }
        double all = magnitude(factor, scaling.number("mscale_all_dim", 0));
        double attention = scaling.number("attention_factor", magnitude(factor, scaling.number("mscale", 1)) / all);
        return with(out, attention, scaling);
    }

    /// Ding et al. 2024, arXiv:2402.13753: a factor for each frequency. As in mlx_lm, the long ones, whatever the length of the text, and never of neighbours.
    private Rope longRope(ModelConfig config, Numbers scaling) {
        double[] out = frequencies.clone();
        JsonNode said = scaling.json().path("long_factor");
        // a single number counts for all
        double[] factors = said.isNumber() ? DoubleStream.generate(said::asDouble).limit(out.length).toArray() : said.valueStream().mapToDouble(JsonNode::asDouble).toArray();
        if (factors.length != out.length || Arrays.stream(factors).anyMatch(x -> !(x > 0 && x < Double.POSITIVE_INFINITY))) {
            throw InputException.in(config.file(), "has a rope scaling without a 'long_factor' above 0 for each of " + out.length + " frequencies; download it again");
        }
        for (int i = 0; i < out.length; i++) {
            out[i] /= factors[i];
        }
        double before = scaling.positive("original_max_position_embeddings", 4096);
        double longer = scaling.in(config.json()).number("max_position_embeddings", before) / before;
        return new Rope(frequencies, 1, false).with(out, longer <= 1 ? 1 : Math.sqrt(1 + StrictMath.log(longer) / StrictMath.log(before)), scaling);
    }

    /// Only the fastest pairs turn, as many as a part of the dimensions has, each as if all did.
    private Rope proportional(Numbers scaling) {
        double[] out = scaled(frequencies, 1 / scaling.positive("factor", 1));
        int turned = (int) (2 * out.length * scaling.number("partial_rotary_factor", 1));
        if (turned < 2 || turned > 2 * out.length) {
            throw scaling.refused("has a partial_rotary_factor in its rope scaling by which " + turned + " of " + 2 * out.length + " dimensions turn; download it again");
        }
        Arrays.fill(out, (turned + 1) / 2, out.length, 0);
        return with(out, 1, scaling);
    }

    private static double dimension(double rotations, int dims, double base, double context) {
        return dims * StrictMath.log(context / (rotations * 2 * Math.PI)) / (2 * StrictMath.log(base));
    }

    static double magnitude(double factor, double mscale) {
        return factor <= 1 ? 1 : 0.1 * mscale * StrictMath.log(factor) + 1;
    }

    /// The same with positions multiplied by a number.
    Rope faster(double times) {
        return new Rope(scaled(frequencies, times), scale, adjacent);
    }

    /// Cosines, then sines, of one position, scale included: `2 · frequencies.length` numbers per position.
    float[] table(int positions) {
        int n = frequencies.length;
        float[] out = new float[Math.multiplyExact(positions, 2 * n)];
        for (int p = 0; p < positions; p++) {
            for (int i = 0; i < n; i++) {
                double angle = p * frequencies[i];
                out[p * 2 * n + i] = (float) (StrictMath.cos(angle) * scale);
                out[p * 2 * n + n + i] = (float) (StrictMath.sin(angle) * scale);
            }
        }
        return out;
    }
}
