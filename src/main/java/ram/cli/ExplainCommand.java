package ram.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import ram.UsageException;
import ram.format.Format;
import ram.plan.ByteSize;
import ram.plan.Explain;
import ram.plan.ExplainJson;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.plan.Payoffs;
import ram.plan.PlanRequest;
import ram.plan.Planner;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.ProfileJson;

@Command(name = "explain", sortOptions = false, description = "Says why a module has its format: its curve, what its errors count and why, and what more or less budget would change. Without MODULE: where bytes save the most and the least.")
final class ExplainCommand implements Callable<Integer> {
    private static final int ROWS = 10;

    @Parameters(index = "0", paramLabel = "MANIFEST", description = "The plan: a manifest, or the folder that it is in.")
    Path manifest;

    @Parameters(index = "1", arity = "0..1", paramLabel = "MODULE", description = "Path of the module, such as model.layers.0.mlp.down_proj, or enough of its end.")
    String wanted;

    @Option(names = "--profile", required = true, paramLabel = "PROFILE", description = "The analysis that the plan was made from.")
    Path profile;

    @Option(names = "--json", description = "Print a JSON document instead.")
    boolean json;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        Manifest read = ManifestJson.read(Documents.manifest(manifest));
        PlanRequest request = PlanRequest.of(read);
        Profile measured = ProfileJson.read(profile);
        read.requireMadeFrom(measured);
        String module = wanted == null ? null : path(wanted, measured);
        PrintWriter out = spec.commandLine().getOut();
        if (module == null) {
            Manifest planned = Planner.plan(measured, request);
            planned.modules().forEach(m -> requireSame(read, m));
            Payoffs all = Payoffs.of(measured, request, planned);
            if (json) {
                Documents.print(spec, ExplainJson.write(all));
            } else {
                print(all, out);
            }
            return ExitCode.DONE;
        }
        Explain e = Explain.of(measured, request, module);
        requireSame(read, e.module());
        if (json) {
            Documents.print(spec, ExplainJson.write(e));
            return ExitCode.DONE;
        }
        out.println(module + ": " + e.module().format() + ", " + ByteSize.format(e.module().bytes()) + ", why: " + e.module().why().label());
        out.println(e.rule());
        out.println();
        Table curve = new Table("format", ">size", ">error %", ">SQNR dB", ">predicted damage", "");
        e.curve().forEach(p -> curve.row(p.format(), ByteSize.format(p.bytes()), String.format(Locale.ROOT, "%.3f", 100 * Math.sqrt(p.relativeError())),
                p.format().isDense() ? "-" : String.format(Locale.ROOT, "%.1f", p.sqnrDb()), String.format(Locale.ROOT, "%.3g", p.damage()), p.chosen() ? "chosen" : p.allowed() ? "" : "not allowed"));
        curve.print(out);
        out.println();
        out.println(String.format(Locale.ROOT, "were the relative error of all modules the same, %.3f %% of the damage would come from this one; its sensitivity is %s", 100 * e.weightShare(), e.sensitivitySource()));
        e.ingredients().forEach((name, value) -> out.println(String.format(Locale.ROOT, "  %s %.4g", name, value)));
        if (e.price() > 0) {
            out.println(String.format(Locale.ROOT, "one more byte saves %.3g of damage at this budget", e.price()));
        }
        e.module().better().ifPresent(b -> out.println(String.format(Locale.ROOT, "to give it more: --set '%s$=%s', which takes %s more and does %.3g less damage", module.replace(".", "\\."), b.format(),
                ByteSize.format(b.bytes() - e.module().bytes()), e.module().damage() - b.damage())));
        e.atMore().ifPresent(more -> out.println("with 5 % less budget: " + e.atLess().map(Object::toString).orElse("no plan fits") + ", with 5 % more: " + more));
        read.refinement().map(r -> r.path("modules").path(module)).filter(g -> g.isObject()).ifPresent(g -> out.println(String.format(Locale.ROOT,
                "refinement left %.1f %% of the error that mse makes in its outputs, from %,d inputs; compensation was closer in %,d of %,d rows%s", 100 * g.path("output_error_ratio").asDouble(),
                g.path("tokens").asLong(), g.path("compensated_rows").asLong(), g.path("rows").asLong(),
                g.path("plain_experts").asInt() > 0 ? "; " + g.path("plain_experts").asInt() + " experts saw too few tokens" : "")));
        return ExitCode.DONE;
    }

    /// @param planned what the settings of the manifest give
    /// @throws UsageException when the manifest has another format for it
    private void requireSame(Manifest read, Manifest.ModulePlan planned) {
        Format format = read.formats().get(planned.path());
        if (!planned.format().equals(format)) {
            throw new UsageException(manifest + " has " + (format == null ? "no format" : "the format " + format) + " for " + planned.path() + ", but its settings give "
                    + planned.format() + " with this profile; it was changed by hand or made by another version, plan again");
        }
    }

    /// The module of this path, or the only one whose path ends so.
    ///
    /// @throws UsageException naming what comes near when there is none, or more than one
    private static String path(String wanted, Profile measured) {
        List<String> modules = measured.modules().stream().map(ModuleProfile::path).toList();
        List<String> ending = modules.contains(wanted) ? List.of(wanted) : modules.stream().filter(p -> p.endsWith("." + wanted)).toList();
        if (ending.size() == 1) {
            return ending.getFirst();
        }
        if (ending.size() > 1) {
            throw new UsageException(ending.size() + " modules end with '" + wanted + "', the first of them " + ending.getFirst() + "; give more of the path");
        }
        measured.plain().stream().filter(p -> p.name().equals(wanted) || p.name().equals(wanted + ".weight")).findFirst().ifPresent(p -> {
            throw new UsageException(p.name() + " is kept as it is: " + p.why());
        });
        throw new UsageException("there is no module '" + wanted + "'" + Suggestion.of(wanted, modules));
    }

    private static void print(Payoffs all, PrintWriter out) {
        List<Payoffs.Payoff> modules = all.modules();
        out.println(all.cheapest() + " modules have their cheapest format or no choice, " + modules.size() + " more than that."
                + (all.price() > 0 ? String.format(Locale.ROOT, " One more byte saves %.3g of damage at this budget.", all.price()) : ""));
        int best = Math.min(ROWS, modules.size());
        int worst = Math.max(best, modules.size() - ROWS);
        print("best value: most damage saved per byte beyond the cheapest format", modules.subList(0, best), all.price(), out);
        print("worst value", modules.subList(worst, modules.size()).reversed(), all.price(), out);
    }

    private static void print(String title, List<Payoffs.Payoff> rows, double price, PrintWriter out) {
        if (rows.isEmpty()) {
            return;
        }
        out.println();
        out.println(title);
        Table table = new Table("module", "cheapest", "has", ">bytes more", ">damage saved", ">per MB", "why");
        rows.forEach(p -> table.row(p.module().path(), p.cheapest(), p.module().format(), ByteSize.format(p.bytes()), String.format(Locale.ROOT, "%.3g", p.saved()),
                String.format(Locale.ROOT, "%.3g", p.perByte() * 1e6), p.why(price)));
        table.print(out);
    }
}
