package ram.plan;

import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ram.UsageException;
import ram.format.Format;

/// A release of MLX, and what it loads: affine formats since long, 5 bits from 0.26.0, the key `mode` and mxfp4 from 0.29.0, nvfp4 and mxfp8 from 0.29.4
/// (MLX's history of changes).
public record MlxVersion(int major, int minor, int patch) implements Comparable<MlxVersion> {
    /// The first that takes the key `mode` in config.json, which newer ones write even for affine formats.
    public static final MlxVersion KNOWS_MODE = new MlxVersion(0, 29, 0);
    private static final MlxVersion FIVE_BITS = new MlxVersion(0, 26, 0);
    private static final MlxVersion MICROSCALING = new MlxVersion(0, 29, 4);
    private static final MlxVersion OLDEST = new MlxVersion(0, 18, 0);
    /// The first in which prompts in groups of 32 are read as fast as in others.
    private static final MlxVersion FAST_GROUPS_OF_32 = new MlxVersion(0, 31, 0);
    private static final Pattern TEXT = Pattern.compile("(\\d{1,4})\\.(\\d{1,4})(?:\\.(\\d{1,4}))?");

    /// @param text such as `0.29` or `0.29.4`
    /// @throws UsageException when it is no version, or one that loads nothing that is written here
    public static MlxVersion parse(String text) {
        Matcher m = TEXT.matcher(text);
        if (!m.matches()) {
            throw new UsageException("--mlx-version: '" + text + "' is not a version such as 0.29 or 0.29.4");
        }
        MlxVersion out = new MlxVersion(Integer.parseInt(m.group(1)), Integer.parseInt(m.group(2)), m.group(3) == null ? 0 : Integer.parseInt(m.group(3)));
        if (out.compareTo(OLDEST) < 0) {
            throw new UsageException("--mlx-version: nothing is known of versions before " + OLDEST + "; leave the option out or update MLX");
        }
        return out;
    }

    /// The first version that loads a format.
    static MlxVersion first(Format format) {
        return switch (format.mode()) {
            case MXFP4 -> KNOWS_MODE;
            case NVFP4, MXFP8 -> MICROSCALING;
            case AFFINE -> format.bits() == 5 ? FIVE_BITS : OLDEST;
            case DENSE -> OLDEST;
        };
    }

    /// The oldest version that loads a model of these formats.
    ///
    /// @param modeKey whether config.json says `mode`
    static MlxVersion oldest(Collection<Format> formats, boolean modeKey) {
        boolean quantized = formats.stream().anyMatch(f -> !f.isDense());
        return formats.stream().map(MlxVersion::first).reduce(quantized && modeKey ? KNOWS_MODE : OLDEST, (a, b) -> a.compareTo(b) > 0 ? a : b);
    }

    boolean loads(Format format) {
        return compareTo(first(format)) >= 0;
    }

    /// Whether config.json may say `mode`.
    public boolean knowsMode() {
        return compareTo(KNOWS_MODE) >= 0;
    }

    /// What these formats cost in this version, where that is much.
    Optional<String> warning(List<Format> formats) {
        long slow = formats.stream().filter(f -> f.mode() == Format.Mode.AFFINE && f.groupSize() == 32).count();
        return slow == 0 || compareTo(FAST_GROUPS_OF_32) >= 0 ? Optional.empty() : Optional.of("MLX " + this + " reads prompts 1.8 to 2.2 times slower in groups of 32, which "
                + slow + " of " + formats.size() + " modules have; " + FAST_GROUPS_OF_32 + " does not.");
    }

    @Override
    public int compareTo(MlxVersion other) {
        return Comparator.comparingInt(MlxVersion::major).thenComparingInt(MlxVersion::minor).thenComparingInt(MlxVersion::patch).compare(this, other);
    }

    @Override
    public String toString() {
        return major + "." + minor + "." + patch;
    }
}
