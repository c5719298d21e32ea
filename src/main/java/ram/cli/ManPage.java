package ram.cli;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.Help;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;

/// The manual page of a command, in the language of `man`. It has no date, so that a build makes the same bytes every day.
final class ManPage {
    private final CommandSpec command;
    private final String name;
    private final StringBuilder out = new StringBuilder();

    private ManPage(CommandSpec command) {
        this.command = command;
        this.name = name(command);
    }

    /// `ram-plan` for the command `plan`.
    static String name(CommandSpec command) {
        return command.qualifiedName("-");
    }

    static String of(CommandSpec command, String version) {
        return new ManPage(command).page(version);
    }

    private String page(String version) {
        CommandTexts texts = CommandTexts.of(command);
        out.append(".TH ").append(argument(name.toUpperCase(Locale.ROOT))).append(" 1 \"\" ").append(argument("ram " + version)).append(" \"ram\"\n.nh\n.ad l\n");
        section("NAME");
        out.append(escaped(name)).append(" \\- ").append(escaped(texts.summary().replaceFirst("\\.$", ""))).append('\n');
        section("SYNOPSIS");
        String synopsis = new Help(command, Help.defaultColorScheme(Ansi.OFF)).detailedSynopsis(0, null, false).replaceAll("\\s+", " ").strip();
        bold(command.qualifiedName()).append(' ').append(escaped(synopsis.substring(command.qualifiedName().length()).strip())).append('\n');
        section("DESCRIPTION");
        text(lines(command.usageMessage().description()));
        Map<String, CommandLine> commands = FishCompletion.visible(command.commandLine());
        if (!commands.isEmpty()) {
            section("COMMANDS");
            command.subcommands().forEach((n, c) -> {
                if (commands.containsKey(n)) {
                    item("\\fB" + escaped(name(c.getCommandSpec())) + "\\fR(1)", CommandTexts.of(c.getCommandSpec()).summary());
                }
            });
        }
        section("OPTIONS");
        for (PositionalParamSpec p : command.positionalParameters()) {
            item(italic(p.paramLabel()), description(p));
        }
        for (OptionSpec o : command.options()) {
            item(Arrays.stream(o.names()).map(n -> "\\fB" + escaped(n) + "\\fR").collect(Collectors.joining(", ")) + (o.arity().max() == 0 ? "" : "=" + italic(o.paramLabel())), description(o));
        }
        section("EXIT STATUS");
        command.usageMessage().exitCodeList().forEach(this::item);
        section("EXAMPLES");
        texts.examples().forEach(e -> {
            text(e.purpose().substring(0, 1).toUpperCase(Locale.ROOT) + e.purpose().substring(1) + ":");
            out.append(".PP\n.RS 4\n.nf\n").append(line(e.line())).append("\n.fi\n.RE\n");
        });
        section("SEE ALSO");
        List<String> others = new ArrayList<>(List.of("ram"));
        FishCompletion.visible(command.root().commandLine()).values().forEach(c -> others.add(name(c.getCommandSpec())));
        others.remove(name);
        out.append(others.stream().map(o -> "\\fB" + escaped(o) + "\\fR(1)").collect(Collectors.joining(",\n"))).append('\n');
        return out.toString();
    }

    /// What help says about an option or a parameter, in one line.
    static String description(ArgSpec arg) {
        return lines(arg.description());
    }

    private static String lines(String[] description) {
        return String.join(" ", description).replace("%%", "%").replaceAll("(%n|\\s)+", " ").strip();
    }

    private void section(String title) {
        out.append(".SH ").append(argument(title)).append('\n');
    }

    private void item(String term, String text) {
        out.append(".TP\n").append(term).append('\n').append(line(text)).append('\n');
    }

    private void text(String text) {
        boolean first = out.lastIndexOf("\n.SH ") == out.lastIndexOf("\n", out.length() - 2);
        out.append(first ? "" : ".PP\n").append(line(text)).append('\n');
    }

    private StringBuilder bold(String text) {
        return out.append("\\fB").append(escaped(text)).append("\\fR");
    }

    private static String italic(String text) {
        return "\\fI" + escaped(text) + "\\fR";
    }

    private static String argument(String text) {
        return '"' + escaped(text) + '"';
    }

    /// A line of text; one that begins with a dot or an apostrophe would be a request.
    private static String line(String text) {
        String escaped = escaped(text);
        return escaped.startsWith(".") || escaped.startsWith("'") ? "\\&" + escaped : escaped;
    }

    private static String escaped(String text) {
        StringBuilder out = new StringBuilder();
        text.chars().forEach(c -> out.append(switch (c) {
            case '\\' -> "\\e";
            case '-' -> "\\-";
            case '\'' -> "\\(aq";
            case '`' -> "\\(ga";
            case '^' -> "\\(ha";
            case '~' -> "\\(ti";
            case '"' -> "\\(dq";
            default -> c < 127 ? Character.toString(c) : String.format(Locale.ROOT, "\\[u%04X]", c);
        }));
        return out.toString();
    }
}
