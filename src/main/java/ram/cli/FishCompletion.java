package ram.cli;

import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.HelpCommand;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;

/// Completion for the shell fish, a line per command, option and kind of parameter.
final class FishCompletion {
    private final String program;
    private final StringBuilder out = new StringBuilder();

    private FishCompletion(String program) {
        this.program = program;
    }

    static String of(CommandLine root) {
        FishCompletion f = new FishCompletion(root.getCommandName());
        f.out.append("# Completion of ").append(f.program).append(" for fish; `").append(f.program).append(" completion fish` prints it.\n");
        f.line("-f");
        Map<String, CommandLine> commands = visible(root);
        commands.forEach((name, command) -> f.line("-n __fish_use_subcommand -a " + name + " -d " + quoted(CommandTexts.of(command.getCommandSpec()).summary())));
        f.options("__fish_use_subcommand", root.getCommandSpec());
        commands.forEach((name, command) -> f.command("'__fish_seen_subcommand_from " + name + "'", command, commands.keySet()));
        return f.out.toString();
    }

    /// The commands that are meant for people.
    static Map<String, CommandLine> visible(CommandLine root) {
        Map<String, CommandLine> out = new LinkedHashMap<>(root.getSubcommands());
        out.values().removeIf(c -> c.getCommandSpec().usageMessage().hidden());
        return out;
    }

    private void command(String when, CommandLine command, Collection<String> commands) {
        if (command.getCommand() instanceof HelpCommand) {
            line("-n " + when + " -a " + quoted(String.join(" ", commands)));
            return;
        }
        command.getCommandSpec().positionalParameters().stream().map(FishCompletion::values).filter(v -> !v.equals("-x")).distinct().forEach(v -> line("-n " + when + " " + v.replaceFirst("^-[rx] ", "")));
        options(when, command.getCommandSpec());
    }

    private void options(String when, CommandSpec command) {
        for (OptionSpec option : command.options()) {
            StringBuilder line = new StringBuilder("-n ").append(when);
            for (String name : option.names()) {
                line.append(name.startsWith("--") ? " -l " + name.substring(2) : " -s " + name.substring(1));
            }
            if (option.arity().max() > 0) {
                line.append(' ').append(values(option));
            }
            line(line.append(" -d ").append(quoted(firstSentence(option))).toString());
        }
    }

    /// What may stand there: `-x` for what cannot be guessed.
    private static String values(ArgSpec arg) {
        if (arg.completionCandidates() != null) {
            return "-x -a " + quoted(String.join(" ", arg.completionCandidates()));
        }
        Class<?> type = arg.auxiliaryTypes()[0];
        return Path.class.isAssignableFrom(type) ? "-r -F" : "-x";
    }

    private static String firstSentence(ArgSpec arg) {
        String text = ManPage.description(arg);
        int end = text.indexOf(". ");
        return end > 0 ? text.substring(0, end + 1) : text;
    }

    private static String quoted(String text) {
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'";
    }

    private void line(String rest) {
        out.append("complete -c ").append(program).append(' ').append(rest).append('\n');
    }
}
