package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;

/// The manual pages, as text and, where groff is, as what it makes of them.
class ManTest {
    @TempDir
    static Path pages;

    static List<String> commands() {
        return Main.commands();
    }

    @BeforeAll
    static void write() {
        assertEquals(ExitCode.DONE, Cli.run("man", pages.resolve("man")).exitCode());
    }

    private static String page(String name) throws Exception {
        return Files.readString(pages.resolve("man").resolve(name + ".1"));
    }

    @Test
    void thereIsOnePerCommand() throws Exception {
        TreeSet<String> expected = new TreeSet<>(List.of("ram.1"));
        commands().forEach(c -> expected.add("ram-" + c + ".1"));
        try (Stream<Path> files = Files.list(pages.resolve("man"))) {
            assertEquals(expected.stream().toList(), files.map(f -> f.getFileName().toString()).sorted().toList());
        }
        commands().forEach(c -> assertEquals(false, Cli.run("--help").out().contains("  man  "), "it is the build's command"));
        for (String c : commands()) {
            assertTrue(page("ram").contains("\\fBram\\-" + c + "\\fR(1)"));
        }
    }

    @ParameterizedTest
    @MethodSource("commands")
    void aPageHasItsSectionsAndAllOptions(String command) throws Exception {
        String page = page("ram-" + command);
        assertTrue(page.startsWith(".TH \"RAM\\-" + command.toUpperCase(java.util.Locale.ROOT) + "\" 1 \"\" \"ram "), page.lines().findFirst().orElseThrow());
        assertEquals(List.of("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"),
                Pattern.compile("^\\.SH \"(.*)\"$", Pattern.MULTILINE).matcher(page).results().map(m -> m.group(1)).toList());
        assertTrue(page.contains("\nram\\-" + command + " \\- "));
        CommandLine line = Main.commandLine(new RamCommand()).getSubcommands().get(command);
        for (OptionSpec o : line.getCommandSpec().options()) {
            assertTrue(page.contains("\\fB" + o.longestName().replace("-", "\\-") + "\\fR"), o.longestName());
        }
        assertTrue(page.contains("\n.TP\n5\nthe input is not usable"));
        CommandTexts.of(line.getCommandSpec()).examples().forEach(e -> assertTrue(page.contains(e.line().replace("-", "\\-").replace("'", "\\(aq").replace("~", "\\(ti")), e.line()));
        assertFalse(Pattern.compile("\\$\\{|%n|@\\||\\b202\\d\\b").matcher(page).find(), "a variable, markup or a year");
        assertTrue(page.chars().allMatch(c -> c == '\n' || c >= 32 && c < 127));
    }

    @Test
    void groffHasNothingToComplainAbout() throws Exception {
        assumeTrue(Files.isExecutable(Path.of("/usr/bin/groff")), "groff is not installed");
        for (String name : Stream.concat(Stream.of("ram"), commands().stream().map(c -> "ram-" + c)).toList()) {
            Path output = pages.resolve(name + ".txt");
            Path warnings = pages.resolve(name + ".warnings");
            Process process = new ProcessBuilder("/usr/bin/groff", "-man", "-Tutf8", "-ww", pages.resolve("man").resolve(name + ".1").toString())
                    .redirectOutput(output.toFile()).redirectError(warnings.toFile()).start();
            assertTrue(process.waitFor(60, TimeUnit.SECONDS));
            assertEquals("", Files.readString(warnings), name);
            String text = Files.readString(output).replaceAll("\u001b\\[[0-9;]*m|.\b", "");
            assertTrue(text.contains(name + " - ") && text.contains("EXIT STATUS") && text.contains("130"), text);
        }
    }
}
