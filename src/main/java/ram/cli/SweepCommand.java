package ram.cli;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import ram.plan.ByteSize;
import ram.plan.Frontier;
import ram.profile.ProfileJson;

@Command(name = "sweep", sortOptions = false, description = "Solves the whole frontier of size and predicted damage, from the smallest safe size to dense, and shows its knee.")
final class SweepCommand implements Callable<Integer> {
    private static final int ROWS_SHOWN = 20;

    @Parameters(paramLabel = "PROFILE", description = "What `ram analyze` wrote.")
    Path profile;

    @Option(names = "--budgets", paramLabel = "N", defaultValue = "200", description = "Number of budgets (default: ${DEFAULT-VALUE}); the table shows about 20 of them.")
    int budgets;

    @Option(names = "--csv", paramLabel = "FILE", description = "Write all of them as CSV.")
    Path csv;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @Mixin
    PlanOptions plan;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        if (csv != null) {
            OutputFiles.refuseExisting(csv, force);
        }
        Frontier frontier = Frontier.solve(ProfileJson.read(profile), plan.anyRequest(spec), budgets);
        PrintWriter out = spec.commandLine().getOut();
        Table table = new Table(">size", ">bits/weight", ">predicted damage", ">bytes to halve it", "");
        List<Frontier.Point> points = frontier.points();
        int step = Math.max(1, points.size() / ROWS_SHOWN);
        for (int i = 0; i < points.size(); i++) {
            if (i % step == 0 || i == points.size() - 1 || i == frontier.knee()) {
                Frontier.Point p = points.get(i);
                table.row(ByteSize.format(p.bytes()), String.format(Locale.ROOT, "%.3f", p.bitsPerWeight()), String.format(Locale.ROOT, "%.4g", p.damage()),
                        halving(points, i), i == frontier.knee() ? "knee" : "");
            }
        }
        table.print(out);
        if (csv != null) {
            OutputFiles.write(csv, csv(points).getBytes(StandardCharsets.UTF_8));
        }
        return ExitCode.DONE;
    }

    private static String halving(List<Frontier.Point> points, int from) {
        for (int i = from; i < points.size(); i++) {
            if (points.get(i).damage() <= points.get(from).damage() / 2) {
                return "+" + ByteSize.format(points.get(i).bytes() - points.get(from).bytes());
            }
        }
        return "-";
    }

    private static String csv(List<Frontier.Point> points) {
        StringBuilder text = new StringBuilder("budget_bytes,file_bytes,bits_per_weight,predicted_damage,price_per_byte,proven\n");
        points.forEach(p -> text.append(p.budget()).append(',').append(p.bytes()).append(',').append(p.bitsPerWeight()).append(',').append(p.damage()).append(',')
                .append(p.price()).append(',').append(p.proven()).append('\n'));
        return text.toString();
    }
}
