package ram.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Help;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.UsageMessageSpec;

/// What help and man pages say about commands beside their options: `commands.json` has a line and examples for each.
///
/// @param summary one line
record CommandTexts(String summary, List<Example> examples) {
    /// @param purpose what it is good for, in a few words
    /// @param line as one would type it
    record Example(String purpose, String line) {
    }

    /// Texts of a command; without a summary and examples when nobody has written any.
    static CommandTexts of(CommandSpec command) {
        JsonNode all;
        try (InputStream in = CommandTexts.class.getResourceAsStream("commands.json")) {
            all = new ObjectMapper().readTree(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        JsonNode own = all.path(command.name());
        List<Example> examples = new ArrayList<>();
        own.path("examples").forEachEntry((purpose, line) -> examples.add(new Example(purpose, line.asText())));
        return new CommandTexts(own.path("summary").asText(String.join(" ", command.usageMessage().description())), List.copyOf(examples));
    }

    /// The section of a help page that lists commands, a line each.
    static String commandList(Help help) {
        StringBuilder out = new StringBuilder();
        int width = help.subcommands().keySet().stream().mapToInt(String::length).max().orElse(0);
        help.subcommands().forEach((name, command) -> out.append("  ").append(help.colorScheme().commandText(name)).append(" ".repeat(width - name.length() + 2))
                .append(of(command.commandSpec()).summary()).append(System.lineSeparator()));
        return out.toString();
    }

    /// The section of a help page with the examples.
    static String exampleList(Help help) {
        List<Example> examples = of(help.commandSpec()).examples();
        if (examples.isEmpty()) {
            return "";
        }
        StringBuilder out = new StringBuilder(System.lineSeparator()).append("Examples:").append(System.lineSeparator());
        examples.forEach(e -> out.append("  # ").append(e.purpose()).append(System.lineSeparator()).append("  ").append(e.line()).append(System.lineSeparator()));
        return out.toString();
    }

    static void install(picocli.CommandLine line) {
        line.getHelpSectionMap().put(UsageMessageSpec.SECTION_KEY_COMMAND_LIST, CommandTexts::commandList);
        line.getHelpSectionMap().put(UsageMessageSpec.SECTION_KEY_FOOTER, CommandTexts::exampleList);
        line.getSubcommands().values().forEach(CommandTexts::install);
    }
}
