package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// What the scripts need of the programs that they call: on a Mac and in a small image these are others than here.
class ScriptsTest {
    private static final Pattern PROGRAM = Pattern.compile("(?<![\\w-])awk\\b[^'\\n]*'((?:[^']|'\\\\'')*)'");
    private static final Pattern STATEMENT = Pattern.compile("\\bprintf?\\b([^;\\n]*)");
    /// Sets of characters, which may have a quotation mark of their own, and subscripts.
    private static final Pattern BRACKETS = Pattern.compile("\\[[^]\\n]*]");
    private static final Pattern STRING = Pattern.compile("\"(?:[^\"\\\\]|\\\\.)*\"");
    private static final Pattern INNERMOST = Pattern.compile("\\([^()]*\\)");

    @TempDir
    Path folder;

    private record Result(int exitCode, String text) {
    }

    private Result run(Map<String, String> environment, String... command) throws Exception {
        Path text = folder.resolve("text");
        ProcessBuilder builder = new ProcessBuilder(command).redirectInput(Path.of("/dev/null").toFile()).redirectErrorStream(true).redirectOutput(text.toFile());
        builder.environment().putAll(environment);
        Process process = builder.start();
        assertTrue(process.waitFor(40, TimeUnit.SECONDS));
        return new Result(process.exitValue(), Files.readString(text));
    }

    private Path program(String name, String text) throws IOException {
        Path file = Files.createDirectories(folder.resolve("bin")).resolve(name);
        return Files.setPosixFilePermissions(Files.writeString(file, text), PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private Map<String, String> path() {
        return Map.of("PATH", folder.resolve("bin") + ":/usr/local/bin:/usr/bin:/bin");
    }

    static List<Arguments> awkPrograms() throws IOException {
        List<Arguments> programs = new ArrayList<>();
        for (String folder : List.of("scripts", "examples")) {
            try (Stream<Path> files = Files.list(Path.of(folder))) {
                for (Path file : files.filter(Files::isRegularFile).sorted().toList()) {
                    Matcher found = PROGRAM.matcher(Files.readString(file).replaceAll("(?m)^\\s*#.*", ""));
                    while (found.find()) {
                        programs.add(arguments(file, found.group(1).replace("'\\''", "'")));
                    }
                }
            }
        }
        return programs;
    }

    @Test
    void allProgramsForAwkAreFound() throws IOException {
        assertEquals(8, awkPrograms().size());
    }

    /// The awk of macOS and of BSD takes `print a == b` and `print a > b` for a redirection and refuses the whole program.
    @ParameterizedTest
    @MethodSource("awkPrograms")
    void noComparisonIsPrintedWithoutParentheses(Path file, String program) {
        Matcher statement = STATEMENT.matcher(STRING.matcher(BRACKETS.matcher(program).replaceAll("")).replaceAll("s"));
        while (statement.find()) {
            String bare = statement.group(1);
            while (INNERMOST.matcher(bare).find()) {
                bare = INNERMOST.matcher(bare).replaceAll("p");
            }
            assertFalse(bare.matches(".*[<>~=].*"), file + ": put the comparison in parentheses: " + statement.group());
        }
    }

    @ParameterizedTest
    @MethodSource("awkPrograms")
    void everyAwkTakesTheProgram(Path file, String program) throws Exception {
        Path source = Files.writeString(folder.resolve("program"), program);
        for (List<String> awk : List.of(List.of("awk"), List.of("original-awk"), List.of("mawk"), List.of("gawk", "--posix"), List.of("busybox", "awk"))) {
            if (Stream.of("/bin", "/usr/bin").anyMatch(d -> Files.isExecutable(Path.of(d, awk.getFirst())))) {
                List<String> command = new ArrayList<>(awk);
                command.addAll(List.of("-v", "key=k", "-f", source.toString()));
                Result r = run(Map.of(), command.toArray(String[]::new));
                // Without the values that the script would give, a division by zero is to be expected.
                assertTrue(r.exitCode() == 0 || r.text().toLowerCase(Locale.ROOT).contains("division by zero"), file + ", " + awk + ": " + r.text());
            }
        }
    }

    @Test
    void fuzzingFailsWithItsTests() throws Exception {
        program("mvn", "#!/bin/sh\necho '[ERROR] seed 7, case 12'\nexit 1\n");
        Result finding = run(path(), "scripts/fuzz", "1", "7");
        assertEquals(1, finding.exitCode());
        assertEquals("[ERROR] seed 7, case 12\na finding; the lines above name its seed and case\n", finding.text());
        program("mvn", "#!/bin/sh\n");
        assertEquals(new Result(0, ""), run(path(), "scripts/fuzz", "1", "7"));
    }

    /// Two clones, each built with what stands for Maven, in a place without `sha256sum`, as macOS is.
    @Test
    void reproducibleComparesTheJarsThemselves() throws Exception {
        program("git", "#!/bin/sh\n[ \"$1\" = clone ] && mkdir \"$4\" || echo abcdef0\n");
        program("mvn", "#!/bin/sh\nmkdir target\necho same >target/ram.jar\n");
        program("shasum", "#!/bin/sh\n[ \"$*\" = '-a 256' ] && cat >/dev/null && echo '0123  -'\n");
        for (String tool : List.of("sh", "dirname", "mktemp", "rm", "cmp", "mkdir", "cat", "tail")) {
            Path real = Stream.of("/usr/bin", "/bin").map(d -> Path.of(d, tool)).filter(Files::isExecutable).findFirst().orElseThrow();
            Files.createSymbolicLink(folder.resolve("bin").resolve(tool), real);
        }
        Map<String, String> only = Map.of("PATH", folder.resolve("bin").toString());
        assertEquals(new Result(0, "0123  ram.jar of abcdef0, built twice\n"), run(only, "scripts/reproducible"));
        program("mvn", "#!/bin/sh\nmkdir target\npwd >target/ram.jar\n");
        Result different = run(only, "scripts/reproducible");
        assertEquals(1, different.exitCode());
        assertTrue(different.text().endsWith("two builds of abcdef0 gave different jars\n"), different.text());
    }
}
