package ram.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import ram.Count;
import ram.format.Format;
import ram.numeric.Quantiles;
import ram.plan.ByteSize;
import ram.plan.Limit;
import ram.plan.Manifest;
import ram.plan.Manifest.ModulePlan;
import ram.plan.Objective;

/// A plan as a person reads it.
final class PlanTable {
    private PlanTable() {
    }

    /// @param modules whether every module gets a row of its own
    static void print(Manifest manifest, boolean modules, PrintWriter out) {
        double damage = manifest.predictedDamage();
        Table kinds = new Table("kind", ">modules", ">parameters", ">size", ">bits/weight", ">share of damage", "formats (bits:group × modules)");
        Map<String, List<ModulePlan>> byKind = manifest.modules().stream()
                .collect(Collectors.groupingBy(m -> m.kind().label(), LinkedHashMap::new, Collectors.toList()));
        byKind.forEach((kind, group) -> kinds.row(kind, group.size(), InspectCommand.count(parameters(group)), ByteSize.format(bytes(group)),
                decimals(bits(group), 2), percent(group.stream().mapToDouble(ModulePlan::damage).sum(), damage), formats(group)));
        kinds.row("(kept as is)", "", "", ByteSize.format(manifest.sizes().fixed()), "", "", "");
        kinds.print(out);
        if (modules) {
            out.println();
            Table each = new Table("module", "format", ">size", ">error %", ">SQNR dB", ">share of damage", "why");
            manifest.modules().forEach(m -> each.row(m.path(), m.format(), ByteSize.format(m.bytes()), decimals(100 * Math.sqrt(m.relativeError()), 2),
                    m.format().isDense() ? "-" : decimals(m.sqnrDb(), 1), percent(m.damage(), damage), m.reason().isEmpty() ? m.why().label() : m.why().label() + ": " + m.reason()));
            each.print(out);
        }
        out.println();
        Manifest.Sizes sizes = manifest.sizes();
        String of = switch (manifest.limit()) {
            case Limit.Budget(long bytes) -> " of a budget of " + ByteSize.format(bytes);
            case Limit.BitsPerWeight(double bits) -> " for at most " + bits + " bits per weight";
            case Limit.Divergence(double nats) -> " for a predicted damage of at most " + nats;
            case Limit.None _ -> "";
        };
        out.println(String.format(Locale.ROOT, "size      %s%s, %.3f bits per weight", ByteSize.exact(sizes.files()), of, sizes.bitsPerWeight()));
        out.println("possible  " + ByteSize.format(sizes.smallestSafe()) + " (smallest safe) to " + ByteSize.format(sizes.dense()) + " (dense)");
        Manifest.SolverReport solver = manifest.solver();
        String policy = String.format(Locale.ROOT, "policy    %s, predicted damage %.4g", manifest.policy(), manifest.predictedDamage());
        Objective minimised = manifest.objective();
        String objective = minimised.isDivergence() ? "" : String.format(Locale.ROOT, "; %s %.4g", minimised.label(), solver.objective());
        String bound = solver.name().equals("rule") ? "" : String.format(Locale.ROOT, ", lower bound %.4g, %s", solver.lowerBound(),
                solver.proven() ? "proven best" : String.format(Locale.ROOT, "gap %.3g", solver.gap()));
        out.println(policy + objective + bound);
        manifest.refinement().ifPresent(r -> out.println(refined(r)));
        manifest.evaluation().flatMap(PlanTable::measured).ifPresent(text -> out.println("measured  " + text));
        manifest.notes().forEach(n -> out.println("note      " + n));
    }

    private static String refined(JsonNode refinement) {
        double[] left = refinement.path("modules").valueStream().mapToDouble(g -> g.path("output_error_ratio").asDouble()).toArray();
        return "refined   " + refinement.path("text").asText() + ", " + Count.of(left.length, "module")
                + (left.length == 0 ? "" : ", median of " + percent(Quantiles.median(left), 1) + " of the error in their outputs left; predicted damage is without it");
    }

    /// What the second model of an evaluation, the one that was written, came to against the first, its source.
    private static Optional<String> measured(JsonNode evaluation) {
        JsonNode source = evaluation.path("models").path(0);
        JsonNode own = evaluation.path("models").path(1);
        if (!own.path("divergence").path("mean_kl").isNumber()) {
            return Optional.empty();
        }
        return Optional.of(String.format(Locale.ROOT, "mean KL divergence %.4g nats, perplexity %.5g (source %.5g), same top token %s, on %s of %s", own.at("/divergence/mean_kl").asDouble(),
                own.path("perplexity").asDouble(), source.path("perplexity").asDouble(), percent(own.at("/divergence/same_top").asDouble(), 1), Count.of(evaluation.path("predictions").asLong(), "prediction"),
                evaluation.path("tokens").asText()));
    }

    /// Mean KL divergence of the evaluation; "-" without one.
    static String measuredDivergence(Manifest manifest) {
        return manifest.measured("divergence/mean_kl").stream().mapToObj(v -> String.format(Locale.ROOT, "%.4g", v)).findFirst().orElse("-");
    }

    private static long parameters(List<ModulePlan> group) {
        return group.stream().mapToLong(m -> m.shape().elements()).sum();
    }

    private static long bytes(List<ModulePlan> group) {
        return group.stream().mapToLong(ModulePlan::bytes).sum();
    }

    private static double bits(List<ModulePlan> group) {
        return parameters(group) == 0 ? 0 : 8.0 * bytes(group) / parameters(group);
    }

    private static String formats(List<ModulePlan> group) {
        Map<String, Long> counts = new TreeMap<>();
        group.forEach(m -> counts.merge(m.format().toString(), 1L, Long::sum));
        List<Format> order = Format.allAffine();
        return counts.entrySet().stream()
                .sorted((a, b) -> Integer.compare(order.indexOf(Format.parse(b.getKey())), order.indexOf(Format.parse(a.getKey()))))
                .map(e -> e.getKey() + "×" + e.getValue()).collect(Collectors.joining(" "));
    }

    private static String decimals(double v, int digits) {
        return String.format(Locale.ROOT, "%." + digits + "f", v);
    }

    private static String percent(double part, double whole) {
        return whole == 0 ? "-" : decimals(100 * part / whole, 1) + " %";
    }
}
