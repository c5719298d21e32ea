package ram.cli;

import java.io.Console;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import picocli.CommandLine.Help.Ansi;

/// What a run finds around it: the folder it was started in, and the environment.
record Surroundings(Path folder, Map<String, String> environment) {
    static final int STDOUT = 1;
    static final int STDERR = 2;

    static Surroundings real() {
        return new Surroundings(Path.of(""), System.getenv());
    }

    /// The value of a variable; empty when it is not set.
    String variable(String name) {
        return environment.getOrDefault(name, "");
    }

    /// Whether to colour what goes to stdout. An option outweighs `NO_COLOR` (https://no-color.org).
    Ansi colors(GlobalOptions.Color when) {
        return switch (when) {
            case always -> Ansi.ON;
            case never -> Ansi.OFF;
            case auto -> variable("NO_COLOR").isEmpty() && canPosition() && isTerminal(STDOUT) ? Ansi.ON : Ansi.OFF;
        };
    }

    /// Whether a line on stderr can be drawn over.
    boolean isLive() {
        return canPosition() && isTerminal(STDERR);
    }

    private boolean canPosition() {
        return !variable("TERM").isEmpty() && !variable("TERM").equals("dumb");
    }

    /// Each stream for itself: one can be redirected and the other not.
    private static boolean isTerminal(int stream) {
        // Where there is no /proc, Java can only ask about stdin and stdout together, so the launcher says which of 1 and 2 are terminals.
        String told = System.getProperty("ram.tty");
        if (told != null) {
            return told.contains(String.valueOf(stream));
        }
        try {
            String target = Files.readSymbolicLink(Path.of("/proc/self/fd", String.valueOf(stream))).toString();
            return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty") || target.equals("/dev/console");
        } catch (IOException | UnsupportedOperationException _) {
            Console console = System.console();
            return console != null && console.isTerminal();
        }
    }
}
