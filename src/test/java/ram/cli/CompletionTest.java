package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;
import ram.Jvm;

/// The scripts of `ram completion`, in the shells that are there.
class CompletionTest {
    private static final String POLICIES = "budget mint uniform mixed_2_6 mixed_3_4 mixed_3_6 mixed_4_6 v1 v2 v2-opt v3 v3-opt v4 auto";

    @TempDir
    Path folder;

    static List<String> commands() {
        return Main.commands();
    }

    private Path script(String shell) throws IOException {
        Cli.Result r = Cli.run("completion", shell);
        assertEquals(ExitCode.DONE, r.exitCode(), r.err());
        return Files.writeString(folder.resolve("ram." + shell), r.out());
    }

    /// Java has digits of their own for some locales, which no shell takes for a part of a name.
    @Test
    void theScriptIsTheSameInEveryLocale() throws Exception {
        for (List<String> locale : List.of(List.of("-Duser.language=fa", "-Duser.country=IR"), List.of("-Duser.language=tr", "-Duser.country=TR"))) {
            Path output = folder.resolve("elsewhere");
            Process process = new ProcessBuilder(Jvm.command(locale, Main.class, "completion", "bash")).redirectOutput(output.toFile()).redirectError(ProcessBuilder.Redirect.DISCARD).start();
            assertTrue(process.waitFor(60, TimeUnit.SECONDS));
            assertEquals(Files.readString(script("bash")), Files.readString(output));
        }
    }

    private String run(String shell, String code, Path script, String... words) throws Exception {
        boolean present = Files.isExecutable(Path.of("/bin", shell)) || Files.isExecutable(Path.of("/usr/bin", shell)) || Files.isExecutable(Path.of("/usr/local/bin", shell))
                || Files.isExecutable(Path.of("/opt/homebrew/bin", shell));
        assumeTrue(present, shell + " is not installed");
        List<String> command = new ArrayList<>(List.of(shell));
        command.addAll(shell.equals("bash") ? List.of("--norc", "--noprofile") : shell.equals("zsh") ? List.of("-f") : List.of("--no-config"));
        command.addAll(List.of("-c", code));
        if (shell.equals("bash") || shell.equals("zsh")) {
            command.add(shell);
        }
        command.add(script.toString());
        command.addAll(List.of(words));
        Path output = folder.resolve("output");
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile());
        builder.environment().put("HOME", folder.toString());
        Process process = builder.start();
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), shell + " does not end");
        String text = Files.readString(output);
        assertEquals(0, process.exitValue(), text);
        return text.strip();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            qua                              | quantize
            quantize --bu                    | --budget
            quantize model --policy _        | budget mint uniform mixed_2_6 mixed_3_4 mixed_3_6 mixed_4_6 v1 v2 v2-opt v3 v3-opt v4 auto
            quantize model --policy mixed_3  | mixed_3_4 mixed_3_6
            quantize --quantizer _           | rtn mse
            analyze --formats m              | mxfp4 mxfp8
            plan profile.json --target k     | knee
            verify --source examples/tiny-q  | examples/tiny-qwen3
            quantize examples/tiny-q         | examples/tiny-qwen3
            completion _                     | bash zsh fish
            """)
    void bashCompletes(String words, String expected) throws Exception {
        Path script = script("bash");
        run("bash", "bash -n \"$1\"", script);
        String code = """
                source "$1"; shift
                COMP_WORDS=(ram); for w; do [ "$w" = _ ] && w=; COMP_WORDS+=("$w"); done
                COMP_CWORD=$#; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
                compopt() { :; }
                _complete_ram ram "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
                echo "${COMPREPLY[*]}"
                """;
        assertEquals(expected, run("bash", code, script, words.split(" ")));
    }

    @Test
    void zshTakesTheScript() throws Exception {
        String code = "autoload -Uz compinit; compinit -u -D; source \"$1\"; print -r -- $_comps[ram]; whence -w _picocli_ram_quantize";
        String out = run("zsh", code, script("zsh"));
        assertTrue(out.contains("_bash_complete") && out.contains("_complete_ram") && out.contains("_picocli_ram_quantize: function"), out);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            ram qua                              | quantize
            ram quantize --bu                    | --budget
            ram quantize model --policy mixed_3  | mixed_3_4 mixed_3_6
            ram quantize model --quantizer m     | mse
            ram verify --source examples/tiny-q  | examples/tiny-qwen3/
            ram verify examples/tiny-q           | examples/tiny-qwen3/
            ram completion z                     | zsh
            ram help expl                        | explain
            """)
    void fishCompletes(String words, String expected) throws Exception {
        String code = "source $argv[1]; complete -C \"$argv[2]\" | cut -f 1 | string join ' '; true";
        assertEquals(expected, run("fish", code, script("fish"), words));
    }

    @Test
    void theScriptForFishKnowsAllCommandsAndOptions() throws IOException {
        String script = Files.readString(script("fish"));
        CommandLine root = Main.commandLine(new RamCommand());
        for (String command : commands()) {
            assertTrue(script.contains("-n __fish_use_subcommand -a " + command + " -d '"), command);
            for (OptionSpec o : root.getSubcommands().get(command).getCommandSpec().options()) {
                assertTrue(command.equals("help") || script.contains("'__fish_seen_subcommand_from " + command + "'" + (o.shortestName().startsWith("--") ? "" : " -s " + o.shortestName().substring(1))
                        + " -l " + o.longestName().substring(2)), command + " " + o.longestName());
            }
        }
        assertTrue(script.contains(" -l policy -x -a '" + POLICIES + "' "));
    }

    /// The script for bash keeps the words of an option under its label.
    @ParameterizedTest
    @MethodSource("commands")
    void optionsWithGivenWordsHaveLabelsOfTheirOwn(String command) {
        Map<String, String> labels = new HashMap<>();
        for (OptionSpec o : Main.commandLine(new RamCommand()).getSubcommands().get(command).getCommandSpec().options()) {
            if (o.completionCandidates() != null && o.arity().max() > 0) {
                String other = labels.put(o.paramLabel(), o.longestName());
                assertEquals(null, other, "give " + o.longestName() + " of " + command + " another paramLabel than " + other);
            }
        }
    }

    @Test
    void anotherShellIsRefused() {
        Cli.Result r = Cli.run("completion", "tcsh");
        assertEquals(ExitCode.USAGE, r.exitCode());
        assertTrue(r.err().contains("bash, zsh, fish"), r.err());
    }
}
