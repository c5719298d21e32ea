package ram.cli;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import ram.UsageException;
import ram.plan.ByteSize;
import ram.plan.Damage;
import ram.plan.Devices;
import ram.plan.Frontier;
import ram.plan.FrontierJson;
import ram.plan.Policy;
import ram.profile.ProfileJson;

@Command(name = "sweep", sortOptions = false, description = "Solves the whole frontier of size and predicted damage, from the smallest safe size to dense, and shows its knee.")
final class SweepCommand implements Callable<Integer> {
    private static final int ROWS_SHOWN = 20;
    /// Bits of a code, 0 for dense.
    private static final List<Integer> WIDTHS = List.of(2, 3, 4, 5, 6, 8, 0);

    @Parameters(paramLabel = "PROFILE", description = "What `ram analyze` wrote.")
    Path profile;

    @Option(names = "--budgets", paramLabel = "N", defaultValue = "200", description = "Number of budgets (default: ${DEFAULT-VALUE}); the table shows about 20 of them.")
    int budgets;

    @Option(names = "--csv", paramLabel = "FILE", description = "Write all of them as CSV.")
    Path csv;

    @Option(names = "--json", description = "Print all of them as one JSON document instead of the table.")
    boolean json;

    @Option(names = "--force", description = "Replace an existing file.")
    boolean force;

    @Mixin
    ChoiceOptions choice;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        if (csv != null) {
            OutputFiles.refuseExisting(csv, force, profile);
        }
        if (!choice.policy().isPriced()) {
            throw new UsageException("--policy " + choice.named() + " has no frontier; use " + String.join(" or ", Policy.labels(Policy::isPriced)));
        }
        Frontier frontier = Frontier.solve(ProfileJson.read(profile), choice.request(spec), budgets);
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Documents.print(spec, FrontierJson.write(frontier));
        } else {
            print(frontier, out);
        }
        if (csv != null) {
            OutputFiles.write(csv, csv(frontier.points(), frontier.inNats()).getBytes(StandardCharsets.UTF_8));
        }
        return ExitCode.DONE;
    }

    private static void print(Frontier frontier, PrintWriter out) {
        String damage = frontier.inNats() ? ">predicted damage" : ">objective";
        Table table = new Table(">size", ">bits/weight", damage, ">bytes to halve it", "% of weights at bits", "");
        List<Frontier.Point> points = frontier.points();
        int step = Math.max(1, points.size() / ROWS_SHOWN);
        for (int i = 0; i < points.size(); i++) {
            if (i % step == 0 || i == points.size() - 1 || i == frontier.knee()) {
                Frontier.Point p = points.get(i);
                table.row(ByteSize.format(p.bytes()), String.format(Locale.ROOT, "%.3f", p.bitsPerWeight()), damage(frontier, p), halving(points, i), shares(p), i == frontier.knee() ? "knee" : "");
            }
        }
        table.print(out);
        out.println();
        Table machines = new Table(">memory", ">for the weights", ">size", ">bits/weight", damage, "% of weights at bits");
        for (Frontier.Machine m : frontier.machines()) {
            String budget = ByteSize.format(m.budget());
            m.point().ifPresentOrElse(p -> machines.row(m.gib() + " GiB", budget, ByteSize.format(p.bytes()), String.format(Locale.ROOT, "%.3f", p.bitsPerWeight()), damage(frontier, p), shares(p)),
                    () -> machines.row(m.gib() + " GiB", budget, "-", "-", "-", "too small, at least " + ByteSize.format(frontier.smallest())));
            if (m.point().isPresent() && m.point().get().damage() == 0) {
                break;
            }
        }
        machines.print(out);
        out.println(Devices.RULE);
        out.println(frontier.inNats() ? String.format(Locale.ROOT, "Predicted damage is a mean KL divergence in nats per token; in brackets the range of a factor of %.0f within which it was right on small trained models up to %.1f nats.", Damage.TRUST, Damage.MOST_TRUSTED)
                : "The objective has no unit: it is what " + String.join(" or ", Policy.labels(SweepCommand::hasNoUnit))
                        + " minimises, or the profile has no sensitivities.");
    }

    private static boolean hasNoUnit(Policy policy) {
        return policy.objective().filter(o -> !o.isDivergence()).isPresent();
    }

    private static String damage(Frontier frontier, Frontier.Point p) {
        return frontier.inNats() && p.damage() > 0 ? String.format(Locale.ROOT, "%.3g (%s)", p.damage(), Damage.range(p.damage()))
                : String.format(Locale.ROOT, "%.3g", p.damage());
    }

    /// Such as `4: 75  5: 25`; dense comes last.
    private static String shares(Frontier.Point p) {
        Stream<String> bits = p.shares().tailMap(1).entrySet().stream().map(e -> e.getKey() + ": " + percent(e.getValue()));
        return Stream.concat(bits, Optional.ofNullable(p.shares().get(0)).stream().map(v -> "dense: " + percent(v))).collect(Collectors.joining("  "));
    }

    private static String percent(double share) {
        return share > 0 && share < 0.005 ? "<1" : String.format(Locale.ROOT, "%.0f", 100 * share);
    }

    private static String halving(List<Frontier.Point> points, int from) {
        for (int i = from + 1; i < points.size(); i++) {
            if (points.get(i).damage() <= points.get(from).damage() / 2) {
                return "+" + ByteSize.format(points.get(i).bytes() - points.get(from).bytes());
            }
        }
        return "-";
    }

    private static String csv(List<Frontier.Point> points, boolean inNats) {
        StringBuilder text = new StringBuilder("budget_bytes,file_bytes,bits_per_weight," + (inNats ? "predicted_damage" : "objective") + ",price_per_byte,proven");
        WIDTHS.forEach(bits -> text.append(",share_").append(bits == 0 ? "dense" : bits + "_bit"));
        text.append('\n');
        for (Frontier.Point p : points) {
            text.append(p.budget()).append(',').append(p.bytes()).append(',').append(p.bitsPerWeight()).append(',').append(p.damage()).append(',').append(p.price()).append(',').append(p.proven());
            WIDTHS.forEach(bits -> text.append(',').append(p.shares().getOrDefault(bits, 0.0)));
            text.append('\n');
        }
        return text.toString();
    }
}
