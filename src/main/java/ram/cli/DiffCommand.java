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
import ram.plan.ManifestJson;
import ram.report.ManifestDiff;

@Command(name = "diff", sortOptions = false, description = "Shows what differs between two plans or builds of a model: sizes, settings, and the modules that have another format.")
final class DiffCommand implements Callable<Integer> {
    private static final int ROWS = 20;

    @Parameters(index = "0", paramLabel = "BEFORE", description = "manifest.json, or an output folder that has one.")
    Path before;

    @Parameters(index = "1", paramLabel = "AFTER", description = "The other one.")
    Path after;

    @Option(names = "--all", description = "List every module that changed, not only the 20 that change most.")
    boolean all;

    @Option(names = "--exit-code", description = "Exit with 3 when the plans differ.")
    boolean exitCode;

    @Option(names = "--json", description = "Print one JSON document.")
    boolean json;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        ManifestDiff diff = ManifestDiff.of(ManifestJson.read(Documents.manifest(before)), ManifestJson.read(Documents.manifest(after)));
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Documents.print(spec, diff.json());
        } else {
            print(diff, out);
        }
        return exitCode && !diff.same() ? ExitCode.GATE : ExitCode.DONE;
    }

    private void print(ManifestDiff diff, PrintWriter out) {
        Table figures = new Table("", ">before", ">after", ">change");
        diff.figures().forEach((name, f) -> {
            boolean size = name.equals("file_bytes");
            figures.row(size ? "size" : name.replace('_', ' '), size ? ByteSize.format((long) f.before()) : number(f.before()), size ? ByteSize.format((long) f.after()) : number(f.after()),
                    f.change() == 0 ? "none" : f.before() == 0 ? "-" : String.format(Locale.ROOT, "%+.2f %%", 100 * f.change() / f.before()));
        });
        figures.print(out);
        if (!diff.settings().isEmpty()) {
            out.println();
            Table settings = new Table("setting", "before", "after");
            diff.settings().forEach((name, s) -> settings.row(name, s.before().isEmpty() ? "-" : s.before(), s.after().isEmpty() ? "-" : s.after()));
            settings.print(out);
        }
        diff.sources().forEach(name -> out.println("source file " + name + " is another one"));
        diff.outputs().forEach(name -> out.println("written file " + name + " is another one"));
        out.println();
        if (diff.changes().isEmpty()) {
            out.println("every module has the same format");
            return;
        }
        Table kinds = new Table("kind", ">modules changed", ">bytes", ">predicted damage");
        diff.kinds().forEach((kind, t) -> kinds.row(kind.label(), t.modules(), bytes(t.bytes()), damage(t.damage())));
        kinds.print(out);
        out.println();
        Table modules = new Table("module", "before", "after", ">bytes", ">predicted damage");
        diff.changes().stream().limit(all ? Long.MAX_VALUE : ROWS).forEach(c -> modules.row(c.path(), c.before(), c.after(), bytes(c.bytes()), damage(c.damage())));
        modules.print(out);
        if (!all && diff.changes().size() > ROWS) {
            out.println("and " + (diff.changes().size() - ROWS) + " more; --all lists them");
        }
    }

    private static String number(double v) {
        return String.format(Locale.ROOT, "%.4g", v);
    }

    private static String bytes(long change) {
        return (change < 0 ? "-" : "+") + ByteSize.format(Math.abs(change));
    }

    private static String damage(double change) {
        return String.format(Locale.ROOT, "%+.3g", change);
    }
}
