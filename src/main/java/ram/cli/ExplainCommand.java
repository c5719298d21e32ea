package ram.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import ram.plan.ByteSize;
import ram.plan.Explain;
import ram.plan.ManifestJson;
import ram.plan.PlanRequest;
import ram.profile.ProfileJson;

@Command(name = "explain", sortOptions = false, description = "Says why a module has its format: its curve, what its errors count and why, and what more or less budget would change.")
final class ExplainCommand implements Callable<Integer> {
    @Parameters(index = "0", paramLabel = "MANIFEST", description = "The plan.")
    Path manifest;

    @Parameters(index = "1", paramLabel = "MODULE", description = "Path of the module, such as model.layers.0.mlp.down_proj.")
    String module;

    @Option(names = "--profile", required = true, paramLabel = "PROFILE", description = "The analysis that the plan was made from.")
    Path profile;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        Explain e = Explain.of(ProfileJson.read(profile), PlanRequest.of(ManifestJson.read(manifest)), module);
        PrintWriter out = spec.commandLine().getOut();
        out.println(module + ": " + e.module().format() + ", " + ByteSize.format(e.module().bytes()) + ", why: " + e.module().why().label());
        out.println(e.rule());
        out.println();
        Table curve = new Table("format", ">size", ">error %", ">SQNR dB", ">predicted damage", "");
        e.curve().forEach(p -> curve.row(p.format(), ByteSize.format(p.bytes()), String.format(Locale.ROOT, "%.3f", 100 * Math.sqrt(p.relativeError())),
                p.format().isDense() ? "-" : String.format(Locale.ROOT, "%.1f", p.sqnrDb()), String.format(Locale.ROOT, "%.3g", p.damage()), p.chosen() ? "chosen" : p.allowed() ? "" : "not allowed"));
        curve.print(out);
        out.println();
        out.println(String.format(Locale.ROOT, "its errors count %.3f %% of the model's; sensitivity is %s", 100 * e.weightShare(), e.sensitivitySource()));
        e.ingredients().forEach((name, value) -> out.println(String.format(Locale.ROOT, "  %s %.4g", name, value)));
        out.println(String.format(Locale.ROOT, "a byte more saves %.3g of damage at this budget", e.price()));
        out.println("with 5 % less budget it would get " + e.atLess().map(Object::toString).orElse("nothing, that cannot be met") + ", with 5 % more "
                + e.atMore().map(Object::toString).orElse("the same"));
        return ExitCode.DONE;
    }
}
