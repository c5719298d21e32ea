package ram.cli;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;

/// The entry point.
public final class Main {
    private Main() {
    }

    public static void main(String[] args) {
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        PrintWriter err = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
        System.exit(run(out, err, args));
    }

    /// Runs one command and returns its exit code.
    public static int run(PrintWriter out, PrintWriter err, String... args) {
        return 0;
    }
}
