package ram.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import ram.InputException;
import ram.UsageException;
import ram.document.JsonDocument;
import ram.eval.EvalDocuments;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.plan.Manifest.ModulePlan;
import ram.plan.Manifest.SourceTensor;

/// Compares a manifest or an evaluation with what a pipeline demands of it.
public final class Gate {
    /// The `schema` of an outcome.
    public static final String SCHEMA = "ram.gate/1";
    /// What figures other than sizes may grow by where nothing is said of it.
    private static final double ROUNDING = 0.001;

    /// What is demanded; each empty where it is not.
    ///
    /// @param maxKl most mean KL divergence in nats per token: as measured, or as predicted where nothing was measured
    /// @param maxPerplexityIncrease most relative increase of the perplexity, of the mean and of the median of the sequences, 0.02 for 2 %
    /// @param minBits fewest bits of any quantized module
    /// @param maxSize most bytes of all files
    /// @param tolerance how much worse than a baseline's each figure may be, as a share of it; where it is not said, sizes by nothing and the others by no more than rounding
    public record Limits(OptionalDouble maxKl, OptionalDouble maxPerplexityIncrease, OptionalLong minBits, OptionalLong maxSize, OptionalDouble tolerance) {
        boolean isEmpty() {
            return maxKl.isEmpty() && maxPerplexityIncrease.isEmpty() && minBits.isEmpty() && maxSize.isEmpty();
        }
    }

    /// The outcome of one demand.
    ///
    /// @param model which of an evaluation's models it is about, empty when it is about a plan
    /// @param value what was found: nats, bytes, bits, or a share of the reference's perplexity; not a number where none was
    /// @param limit what was demanded, in the same unit; of a baseline what it had, and the tolerance that was said
    /// @param sentence both in words
    public record Check(String name, String model, boolean holds, double value, double limit, String sentence) {
    }

    private Gate() {
    }

    /// @param evaluation the document of `ram eval`, or the one in the manifest
    /// @param baseline another manifest that must not be better in size, predicted damage or measured divergence
    /// @throws UsageException when nothing is demanded, or something that cannot be known from what is given
    public static List<Check> check(Optional<Manifest> manifest, Optional<JsonNode> evaluation, Limits limits, Optional<Manifest> baseline) {
        if (limits.isEmpty() && baseline.isEmpty()) {
            throw new UsageException("nothing is demanded; give --max-kl, --max-ppl-increase, --min-bits, --max-size or --baseline");
        }
        List<Check> checks = new ArrayList<>();
        limits.maxKl().ifPresent(most -> divergences(manifest, evaluation).forEach(d -> checks.add(atMost(d, most))));
        limits.maxPerplexityIncrease().ifPresent(most -> checks.addAll(perplexities(evaluation, most)));
        limits.minBits().ifPresent(fewest -> checks.add(bits(require(manifest, "--min-bits"), fewest)));
        limits.maxSize().ifPresent(most -> {
            long size = require(manifest, "--max-size").sizes().files();
            checks.add(new Check("max-size", "", size <= most, size, most, "size is " + ByteSize.exact(size) + ", at most " + ByteSize.exact(most) + " is allowed"));
        });
        baseline.ifPresent(b -> checks.addAll(regressions(require(manifest, "--baseline"), b, limits.tolerance())));
        return List.copyOf(checks);
    }

    /// The `ram.gate/1` document.
    public static byte[] json(List<Check> checks) {
        ObjectNode root = JsonDocument.object().put("schema", SCHEMA).put("holds", checks.stream().allMatch(Check::holds));
        ArrayNode list = root.putArray("checks");
        for (Check c : checks) {
            ObjectNode o = list.addObject().put("name", c.name());
            if (!c.model().isEmpty()) {
                o.put("model", c.model());
            }
            o.put("holds", c.holds());
            number(o, "value", c.value());
            number(o, "limit", c.limit());
            o.put("sentence", c.sentence());
        }
        return JsonDocument.bytes(root);
    }

    /// Whole numbers as such, and none where JSON has none.
    private static void number(ObjectNode o, String name, double value) {
        if (value == Math.rint(value) && Math.abs(value) <= 1L << 53) {
            o.put(name, (long) value);
        } else if (Double.isFinite(value)) {
            o.put(name, value);
        }
    }

    private static Manifest require(Optional<Manifest> manifest, String option) {
        return manifest.orElseThrow(() -> new UsageException(option + " needs a manifest; an evaluation does not know it"));
    }

    private record Divergence(String what, String model, double value) {
    }

    private static List<Divergence> divergences(Optional<Manifest> manifest, Optional<JsonNode> evaluation) {
        List<Divergence> out = new ArrayList<>();
        boolean compared = evaluation.filter(e -> e.has("reference")).isPresent();
        if (compared) {
            judged(evaluation.get()).forEach(m -> out.add(new Divergence("measured mean KL divergence of " + m.path("name").asText(), m.path("name").asText(), number(m, "/divergence/mean_kl"))));
        } else {
            out.add(new Divergence("predicted mean KL divergence", "", predicted(manifest.orElseThrow(() -> new UsageException("--max-kl: the evaluation has no reference; run ram eval with --reference")))));
        }
        return out;
    }

    /// @throws UsageException when the prediction is not one of what was written
    private static double predicted(Manifest manifest) {
        manifest.predictedFor().ifPresent(quantizer -> {
            throw new UsageException("the predicted damage is that of the quantizer " + quantizer + ", which did not write the weights; measure the output with ram eval, or analyze with the quantizer that writes");
        });
        return manifest.predictedDamage();
    }

    private static Check atMost(Divergence d, double most) {
        return new Check("max-kl", d.model(), d.value() <= most, d.value(), most, String.format(Locale.ROOT, "%s %s, at most %.6g nats is allowed", d.what(), Double.isNaN(d.value()) ? "was not measured" : String.format(Locale.ROOT, "is %.6g nats", d.value()), most));
    }

    /// The models of an evaluation with a reference, which is the first of them, that are to be judged, and not compared with.
    ///
    /// @throws UsageException when there is none
    private static List<JsonNode> judged(JsonNode evaluation) {
        List<JsonNode> models = evaluation.path("models").valueStream().skip(1).filter(m -> !m.path("name").asText().endsWith(EvalDocuments.CONTROL)).toList();
        if (models.isEmpty()) {
            throw new UsageException("the evaluation has no model to judge beside its reference and noise controls; run ram eval with the model to judge");
        }
        return models;
    }

    private static List<Check> perplexities(Optional<JsonNode> evaluation, double most) {
        JsonNode e = evaluation.orElseThrow(() -> new UsageException("--max-ppl-increase: the manifest has no evaluation; quantize with --eval-text, or give what ram eval --json printed"));
        if (!e.has("reference") || e.path("models").size() < 2) {
            throw new UsageException("--max-ppl-increase: the evaluation has no reference; run ram eval with --reference");
        }
        JsonNode reference = e.path("models").get(0);
        List<Check> checks = new ArrayList<>();
        for (JsonNode m : judged(e)) {
            String name = m.path("name").asText();
            checks.add(increase("max-ppl-increase", name, "perplexity of " + name, number(m, "/perplexity"), number(reference, "/perplexity"), most));
            checks.add(increase("max-ppl-increase-median", name, "median sequence perplexity of " + name, number(m, "/sequence_perplexity/median"),
                    number(reference, "/sequence_perplexity/median"), most));
        }
        return checks;
    }

    private static Check increase(String name, String model, String what, double value, double reference, double most) {
        double relative = value / reference - 1;
        String found = Double.isNaN(relative) ? what + " or of the reference was not measured" : String.format(Locale.ROOT, "%s is %.4f, %+.2f %% against the reference", what, value, 100 * relative);
        return new Check(name, model, relative <= most, relative, most, found + String.format(Locale.ROOT, ", at most %+.2f %% is allowed", 100 * most));
    }

    private static Check bits(Manifest manifest, long fewest) {
        List<ModulePlan> below = manifest.modules().stream().filter(m -> !m.format().isDense() && m.format().bits() < fewest).toList();
        int least = manifest.modules().stream().filter(m -> !m.format().isDense()).mapToInt(m -> m.format().bits()).min().orElse(16);
        long stored = manifest.tensors().stream().filter(t -> t.reason().startsWith(SourceTensor.STORED)).count();
        String passedOver = stored == 0 ? "" : "; " + stored + " tensors that the source stores quantized already are not counted";
        return new Check("min-bits", "", below.isEmpty(), least, fewest, below.isEmpty() ? "every quantized module has " + fewest + " bits or more" + passedOver
                : below.size() + (below.size() == 1 ? " module has" : " modules have") + " fewer than " + fewest + " bits, the first of them " + below.getFirst().path() + " with " + below.getFirst().format().bits());
    }

    private static List<Check> regressions(Manifest now, Manifest before, OptionalDouble tolerance) {
        if (!ManifestDiff.isSameModel(before, now)) {
            throw new UsageException("--baseline is a manifest of another model: its modules differ in name, number or shape; give an earlier one of this model");
        }
        List<Check> checks = new ArrayList<>();
        long size = now.sizes().files();
        long most = before.sizes().files() + share(before.sizes().files(), tolerance.orElse(0));
        checks.add(new Check("baseline-size", "", size <= most, size, most, "size is " + ByteSize.exact(size) + ", was " + ByteSize.exact(before.sizes().files()) + said(tolerance)));
        checks.add(regression("predicted damage", predicted(now), predicted(before), tolerance));
        OptionalDouble was = before.measured("divergence/mean_kl");
        if (was.isPresent()) {
            checks.add(measuredRegression(now, before, was.getAsDouble(), tolerance));
        }
        return checks;
    }

    /// Of a number of bytes, rounded down, as the share is written: in binary a tenth of a percent of 1000 would be less than 1.
    private static long share(long bytes, double share) {
        return BigDecimal.valueOf(bytes).multiply(BigDecimal.valueOf(share)).longValue();
    }

    private static double allowed(double before, OptionalDouble tolerance) {
        return before * (1 + tolerance.orElse(0));
    }

    private static String said(OptionalDouble tolerance) {
        return tolerance.isEmpty() ? "" : String.format(Locale.ROOT, ", at most %+.4g %% is allowed", 100 * tolerance.getAsDouble());
    }

    /// What was measured of the baseline has to be measured again, on the same tokens.
    private static Check measuredRegression(Manifest now, Manifest before, double was, OptionalDouble tolerance) {
        String what = "measured mean KL divergence";
        OptionalDouble is = now.measured("divergence/mean_kl");
        String missing = is.isEmpty() ? "was not measured" : ManifestDiff.tokens(now).equals(ManifestDiff.tokens(before)) ? "" : "was measured on other tokens";
        return missing.isEmpty() ? regression(what, is.getAsDouble(), was, tolerance)
                : new Check("baseline-" + what.replace(' ', '-'), "", false, Double.NaN, allowed(was, tolerance), String.format(Locale.ROOT, "the %s %s, was %.6g; evaluate both on the same text", what, missing, was));
    }

    private static Check regression(String what, double now, double before, OptionalDouble tolerance) {
        double limit = allowed(before, tolerance);
        return new Check("baseline-" + what.replace(' ', '-'), "", now <= limit * (tolerance.isEmpty() ? 1 + ROUNDING : 1), now, limit,
                String.format(Locale.ROOT, "%s is %.6g, was %.6g", what, now, before) + said(tolerance));
    }

    /// Not a number when the document does not hold one, which no limit allows.
    ///
    /// @throws InputException when it holds one that no evaluation gives: neither divergences nor perplexities are negative
    private static double number(JsonNode model, String pointer) {
        JsonNode value = model.at(pointer);
        if (value.isNumber() && value.asDouble() < 0) {
            throw new InputException("the evaluation of " + model.path("name").asText() + " has " + value.asText() + " as " + pointer.substring(pointer.lastIndexOf('/') + 1)
                    + ", which cannot be; it was changed by hand, run ram eval again");
        }
        return value.isNumber() ? value.asDouble() : Double.NaN;
    }
}
