package ram.cli;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import picocli.CommandLine.Help.Ansi;

/// What a person gets who asks for help, or mistypes.
class HelpTest {
    private static final int WIDTH = 80;
    private static final int SUMMARY = 64;

    static List<String> commands() {
        return Main.commands();
    }

    static Stream<String> examples() {
        return Stream.concat(Stream.of("ram"), commands().stream()).flatMap(c -> texts(c).examples().stream()).map(CommandTexts.Example::line);
    }

    private static CommandTexts texts(String command) {
        CommandLine line = Main.commandLine(new RamCommand());
        return CommandTexts.of((command.equals("ram") ? line : line.getSubcommands().get(command)).getCommandSpec());
    }

    /// As a shell would split it.
    private static String[] words(String line) {
        List<String> words = new ArrayList<>();
        Matcher m = Pattern.compile("'([^']*)'|[^\\s']+").matcher(line.replaceFirst(" > .*", ""));
        while (m.find()) {
            words.add(m.group(1) == null ? m.group() : m.group(1));
        }
        return words.toArray(String[]::new);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            analyse model                    | ram: unknown command 'analyse'; did you mean 'analyze'?                    | ram
            -v quantise model --budget 1MB   | ram: unknown command 'quantise'; did you mean 'quantize'?                  | ram
            help plna                        | ram: unknown command 'plna'; did you mean 'plan'?                          | ram
            frobnicate                       | ram: unknown command 'frobnicate'                                          | ram
            --hlep                           | ram: unknown option '--hlep'; did you mean '--help'?                       | ram
            quantize --bugdet 1MB model      | ram quantize: unknown option '--bugdet'; did you mean '--budget'?          | ram quantize
            quantize --bugdet=1MB            | ram quantize: unknown option '--bugdet'; did you mean '--budget'?          | ram quantize
            quantize m --out x --budget 1MB  | ram quantize: unknown option '--out'; did you mean '--output'?             | ram quantize
            eval m --txt file                | ram eval: unknown option '--txt'; did you mean '--text'?                   | ram eval
            inspect m --frobnicate           | ram inspect: unknown option '--frobnicate'                                 | ram inspect
            inspect m -x                     | ram inspect: unknown option '-x'                                           | ram inspect
            inspect m extra                  | ram inspect: unexpected argument 'extra'                                   | ram inspect
            inspect                          | ram: Missing required parameter: 'MODEL'                                   | ram inspect
            """)
    void aMistypedWordGetsOneSentence(String line, String sentence, String who) {
        Cli.Result r = Cli.run((Object[]) line.split(" "));
        assertEquals(ExitCode.USAGE, r.exitCode());
        assertEquals(List.of(sentence, "Try '" + who + " --help'."), r.err().lines().toList());
        assertEquals("", r.out());
    }

    @Test
    void withoutACommandAllAreNamed() {
        Cli.Result r = Cli.run();
        assertEquals(ExitCode.USAGE, r.exitCode());
        assertEquals("ram: give a command: " + String.join(", ", commands()), r.err().lines().findFirst().orElseThrow());
    }

    @ParameterizedTest
    @CsvSource({"abc,abc,0", "abc,acb,1", "abc,ab,1", "abc,abcd,1", "abc,abd,1", "'',abc,3", "kitten,sitting,3", "bugdet,budget,1"})
    void distancesAreThoseOfTypingErrors(String a, String b, int distance) {
        assertEquals(distance, Suggestion.distance(a, b));
        assertEquals(distance, Suggestion.distance(b, a));
    }

    @ParameterizedTest
    @MethodSource("commands")
    void everyCommandHasASummaryAndExamples(String command) {
        CommandTexts texts = texts(command);
        assertTrue(texts.examples().size() >= 2 && texts.examples().size() <= 4, "give the command '" + command + "' 2 to 4 examples in src/main/resources/ram/cli/commands.json");
        assertTrue(texts.summary().length() <= SUMMARY, "give the command '" + command + "' a summary of at most " + SUMMARY + " letters in src/main/resources/ram/cli/commands.json");
        assertAll(texts.examples().stream().map(e -> () -> {
            assertTrue(e.line().startsWith("ram " + command + " ") || e.line().equals("ram " + command), e.line() + " is an example of another command");
            assertTrue(e.line().length() <= WIDTH, e.line() + " is longer than a line");
        }));
    }

    @ParameterizedTest
    @MethodSource("examples")
    void everyExampleParses(String line) {
        String[] words = words(line);
        assertEquals("ram", words[0]);
        Main.commandLine(new RamCommand()).parseArgs(Arrays.copyOfRange(words, 1, words.length));
    }

    @ParameterizedTest
    @MethodSource("commands")
    void helpEndsWithTheExamples(String command) {
        List<String> expected = new ArrayList<>(List.of("Examples:"));
        texts(command).examples().forEach(e -> expected.addAll(List.of("  # " + e.purpose(), "  " + e.line())));
        for (Cli.Result r : List.of(Cli.run("help", command), Cli.run(command, "--help"))) {
            assertEquals(ExitCode.DONE, r.exitCode());
            List<String> lines = r.out().lines().toList();
            assertEquals(expected, lines.subList(lines.size() - expected.size(), lines.size()));
        }
    }

    @Test
    void commandsAreListedALineEach() {
        List<String> lines = Cli.run("--help").out().lines().toList();
        int at = lines.indexOf("Commands:") + 1;
        List<String> listed = lines.subList(at, lines.subList(at, lines.size()).indexOf("") + at);
        assertEquals(commands(), listed.stream().map(l -> l.strip().split(" ")[0]).toList());
        assertTrue(listed.stream().allMatch(l -> l.length() <= WIDTH), "longer than a line: " + listed);
    }

    @ParameterizedTest
    @ValueSource(strings = {"--help", "quantize --help", "help quantize", "help"})
    void coloursAreAsWanted(String line) {
        Object[] words = line.split(" ");
        Map<String, String> noColor = Map.of("NO_COLOR", "1", "TERM", "xterm");
        assertFalse(Cli.run(words).out().contains("\u001b"), "no terminal, no colours");
        assertFalse(Cli.run(new Surroundings(Path.of(""), noColor), words).out().contains("\u001b"));
        assertFalse(Cli.run(with("never", words)).out().contains("\u001b"));
        assertTrue(Cli.run(with("always", words)).out().contains("\u001b[1m"));
        assertTrue(Cli.run(new Surroundings(Path.of(""), noColor), with("always", words)).out().contains("\u001b[1m"), "an option outweighs NO_COLOR");
    }

    private static Object[] with(String when, Object[] words) {
        return Stream.concat(Stream.of("--color", when), Stream.of(words)).toArray();
    }

    @Test
    void noColorIsHeededWhenItIsNotEmpty() {
        assertEquals(Ansi.OFF, new Surroundings(Path.of(""), Map.of("NO_COLOR", "1", "TERM", "xterm")).colors(GlobalOptions.Color.auto));
        assertEquals(Ansi.OFF, new Surroundings(Path.of(""), Map.of("TERM", "dumb")).colors(GlobalOptions.Color.auto));
        assertEquals(Ansi.OFF, new Surroundings(Path.of(""), Map.of()).colors(GlobalOptions.Color.auto));
        assertEquals(Ansi.ON, new Surroundings(Path.of(""), Map.of()).colors(GlobalOptions.Color.always));
    }

    @Test
    void aRunPrintsNoEscapeCodesEitherWay(@TempDir Path folder) {
        for (String when : List.of("never", "auto", "always")) {
            Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", folder.resolve(when), "--color", when);
            assertEquals(ExitCode.DONE, r.exitCode(), r.err());
            assertFalse((r.out() + r.err()).contains("\u001b"));
        }
    }
}
