package ram.refine;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import ram.UsageException;
import ram.eval.SelfText;

/// What text the inputs of modules come from.
///
/// @param file name of a file of token ids; empty for text that the model samples from itself
/// @param text how much text, and its seed; without passes where it comes from a file
public record Refinement(Optional<String> file, SelfText text) {
    private static final SelfText USUAL = new SelfText(64, 256, 2, 42);

    /// `self` or `tokens:FILE`, each with settings after it: `self:sequences=64,length=256,passes=2,seed=42`, `tokens:FILE:sequences=64`.
    ///
    /// @throws UsageException when it is neither, or a setting is unknown or out of range
    public static Refinement parse(String spec) {
        String[] parts = spec.split(":", 2);
        return switch (parts[0]) {
            case "self" -> new Refinement(Optional.empty(), text(spec, parts.length > 1 ? parts[1] : "", USUAL));
            case "tokens" -> {
                String rest = parts.length > 1 ? parts[1] : "";
                int colon = rest.lastIndexOf(':');
                // a colon of the file's name is not followed by settings
                boolean settings = colon > 0 && rest.indexOf('=', colon) > 0;
                String file = settings ? rest.substring(0, colon) : rest;
                if (file.isEmpty()) {
                    throw new UsageException("--refine tokens needs a file: tokens:FILE");
                }
                yield new Refinement(Optional.of(file), text(spec, settings ? rest.substring(colon + 1) : "", new SelfText(USUAL.sequences(), USUAL.length(), 0, USUAL.seed())));
            }
            default -> throw new UsageException("--refine knows 'self' and 'tokens:FILE', not '" + spec + "'");
        };
    }

    private static SelfText text(String spec, String settings, SelfText usual) {
        Map<String, Long> values = new HashMap<>(Map.of("sequences", (long) usual.sequences(), "length", (long) usual.length(), "passes", (long) usual.passes(), "seed", usual.seed()));
        for (String setting : Arrays.stream(settings.split(",")).filter(s -> !s.isEmpty()).toList()) {
            String[] pair = setting.split("=", 2);
            if (pair.length != 2 || !values.containsKey(pair[0])) {
                throw new UsageException("--refine " + spec + ": '" + setting + "' is not one of sequences=N, length=N, passes=N, seed=N");
            }
            try {
                values.put(pair[0], Long.parseLong(pair[1]));
            } catch (NumberFormatException e) {
                throw new UsageException("--refine " + spec + ": '" + pair[1] + "' is not a whole number");
            }
        }
        try {
            return new SelfText(Math.toIntExact(values.get("sequences")), Math.toIntExact(values.get("length")), Math.toIntExact(values.get("passes")), values.get("seed"));
        } catch (IllegalArgumentException | ArithmeticException e) {
            throw new UsageException("--refine " + spec + ": needs at least one sequence, two tokens in each, and no negative number of passes");
        }
    }

    /// As it would be given, with all settings.
    @Override
    public String toString() {
        String settings = String.format(Locale.ROOT, "sequences=%d,length=%d", text.sequences(), text.length());
        return file.map(f -> "tokens:" + settings + ",seed=" + text.seed()).orElseGet(() -> "self:" + settings + ",passes=" + text.passes() + ",seed=" + text.seed());
    }
}
