package ram.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// Runs the command line as a user would and keeps what it prints.
final class Cli {
    /// The trained model that is shipped with the program.
    static final Path TINY = Path.of("examples/tiny-qwen3");

    record Result(int exitCode, String out, String err) {
        /// The last line of stderr, where the sentence about a failure is.
        String sentence() {
            return err.lines().reduce("", (_, b) -> b);
        }
    }

    private static byte[] profile;

    private Cli() {
    }

    /// The profile of the shipped model, in a folder. It is measured once for all tests.
    static synchronized Path analyzed(Path folder) {
        Path file = folder.resolve("profile.json");
        try {
            if (profile == null) {
                Result r = run("analyze", TINY, "-o", file, "--quiet");
                if (r.exitCode() != 0) {
                    throw new AssertionError(r.err());
                }
                profile = Files.readAllBytes(file);
            }
            return Files.write(file, profile);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Result run(Object... args) {
        return run(Surroundings.real(), args);
    }

    /// Runs it in another folder, or with other environment variables.
    static Result run(Surroundings around, Object... args) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        List<String> words = new ArrayList<>();
        for (Object arg : args) {
            words.add(arg.toString());
        }
        int code = Main.run(new PrintWriter(out), new PrintWriter(err), around, words.toArray(String[]::new));
        return new Result(code, out.toString(), err.toString());
    }
}
