package ram.cli;

import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/// Options that every command takes, before or after its name.
final class GlobalOptions {
    /// When to colour.
    enum Color { auto, always, never }

    @Option(names = {"-v", "--verbose"}, scope = ScopeType.INHERIT, description = "Say more; -vv also prints stack traces.")
    boolean[] verbose = new boolean[0];

    @Option(names = "--quiet", scope = ScopeType.INHERIT, description = "Print results and errors only.")
    boolean quiet;

    @Option(names = "--no-progress", scope = ScopeType.INHERIT, description = "Show no progress.")
    boolean noProgress;

    @Option(names = "--threads", scope = ScopeType.INHERIT, paramLabel = "N", description = "Worker threads (default: all cores). Results do not depend on it.")
    Integer threads;

    @Option(names = "--memory", scope = ScopeType.INHERIT, paramLabel = "SIZE", defaultValue = "2GB", description = "Working set (default: ${DEFAULT-VALUE}).")
    Size memory;

    @Option(names = "--color", scope = ScopeType.INHERIT, paramLabel = "WHEN", defaultValue = "auto", description = "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}).")
    Color color;

    int threads() {
        return threads == null ? Runtime.getRuntime().availableProcessors() : threads;
    }

    int verbosity() {
        return verbose.length;
    }

    Progress.Style progressStyle() {
        return quiet || noProgress ? Progress.Style.OFF : System.console() != null && System.getenv("TERM") != null ? Progress.Style.LIVE : Progress.Style.LINES;
    }
}
