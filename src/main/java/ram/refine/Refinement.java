package ram.refine;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import ram.UsageException;
import ram.eval.SelfText;

/// What modules are refined with.
///
/// @param file name of a file of token ids; empty for text that the model samples from itself
/// @param text how much text, and its seed; without passes where it comes from a file
/// @param drift part of the drift of inputs that is made up for, 0 to 1
public record Refinement(Optional<String> file, SelfText text, double drift) {
    /// All of the drift would fit the text instead of the model.
    private static final double HALF = 0.5;

    public Refinement {
        Objects.requireNonNull(file);
        Objects.requireNonNull(text);
        if (!(drift >= 0 && drift <= 1)) {
            throw new IllegalArgumentException("drift of " + drift);
        }
    }

    /// `self` or `tokens:FILE`, each with settings after it: `self:sequences=64,length=256,passes=2,seed=42,drift=0.5`, `tokens:FILE:sequences=64`.
    ///
    /// @throws UsageException when it is neither, or a setting is unknown or out of range
    public static Refinement parse(String spec) {
        String[] parts = spec.split(":", 2);
        String rest = parts.length > 1 ? parts[1] : "";
        return switch (parts[0]) {
            case "self" -> of(spec, Optional.empty(), rest);
            case "tokens" -> {
                int colon = rest.lastIndexOf(':');
                // a colon of the file's name is not followed by settings
                boolean settings = colon > 0 && rest.indexOf('=', colon) > 0;
                String file = settings ? rest.substring(0, colon) : rest;
                if (file.isEmpty()) {
                    throw new UsageException("--refine tokens needs a file: tokens:FILE");
                }
                yield of(spec, Optional.of(file), settings ? rest.substring(colon + 1) : "");
            }
            default -> throw new UsageException("--refine knows 'self' and 'tokens:FILE', not '" + spec + "'");
        };
    }

    private static Refinement of(String spec, Optional<String> file, String settings) {
        Map<String, String> values = new HashMap<>(Map.of("sequences", "64", "length", "256", "passes", file.isPresent() ? "0" : "2", "seed", "42", "drift", String.valueOf(HALF)));
        for (String setting : Arrays.stream(settings.split(",")).filter(s -> !s.isEmpty()).toList()) {
            String[] pair = setting.split("=", 2);
            if (pair.length != 2 || values.replace(pair[0], pair[1]) == null) {
                throw new UsageException("--refine " + spec + ": '" + setting + "' is not one of sequences=N, length=N, passes=N, seed=N, drift=0.5");
            }
        }
        try {
            SelfText text = new SelfText(Integer.parseInt(values.get("sequences")), Integer.parseInt(values.get("length")), Integer.parseInt(values.get("passes")), Long.parseLong(values.get("seed")));
            return new Refinement(file, text, Double.parseDouble(values.get("drift")));
        } catch (NumberFormatException e) {
            throw new UsageException("--refine " + spec + ": settings must be whole numbers, and drift a number from 0 to 1");
        } catch (IllegalArgumentException e) {
            throw new UsageException("--refine " + spec + ": needs at least one sequence, two tokens in each, no negative number of passes, and a drift from 0 to 1");
        }
    }

    /// As it would be given, with all settings and without the file's name.
    @Override
    public String toString() {
        String common = String.format(Locale.ROOT, "sequences=%d,length=%d", text.sequences(), text.length());
        String rest = ",seed=" + text.seed() + (drift == HALF ? "" : ",drift=" + drift);
        return file.isPresent() ? "tokens:" + common + rest : "self:" + common + ",passes=" + text.passes() + rest;
    }
}
