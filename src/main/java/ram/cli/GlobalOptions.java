package ram.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import ram.journal.Journal;

/// Options that every command takes, before or after its name.
final class GlobalOptions {
    /// When to colour.
    enum Color { auto, always, never }

    /// What the largest step needs on the heap and beside it, garbage included.
    private static final long MEMORY_PER_THREAD = 48_000_000;
    private static final long LEAST_MEMORY = 64_000_000;

    @Option(names = {"-v", "--verbose"}, scope = ScopeType.INHERIT, description = "Say more; -vv also prints stack traces.")
    boolean[] verbose = new boolean[0];

    @Option(names = {"-q", "--quiet"}, scope = ScopeType.INHERIT, description = "Print results and errors only.")
    boolean quiet;

    @Option(names = "--no-progress", scope = ScopeType.INHERIT, description = "Show no progress.")
    boolean noProgress;

    @Option(names = "--threads", scope = ScopeType.INHERIT, paramLabel = "N", description = "Worker threads (default: all cores). Results do not depend on it.")
    Integer threads;

    @Option(names = "--memory", scope = ScopeType.INHERIT, paramLabel = "SIZE", defaultValue = "2GB", description = "Maximum memory; also limits the threads (default: ${DEFAULT-VALUE}).")
    Size memory;

    @Option(names = "--color", scope = ScopeType.INHERIT, paramLabel = "WHEN", defaultValue = "auto", description = "When to colour help: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}, which heeds NO_COLOR).")
    Color color;

    @Option(names = "--profile-run", scope = ScopeType.INHERIT, paramLabel = "FILE", description = "Record the run with the Java Flight Recorder and print where the time went.")
    Path profileRun;

    @Option(names = "--config", scope = ScopeType.INHERIT, paramLabel = "FILE", description = "Take defaults of options from this file (default: what RAM_CONFIG names, else ram.yaml, ram.yml or ram.json in the current folder).")
    Path config;

    Surroundings around = Surroundings.real();
    Defaults defaults = Defaults.none();
    /// Those that this run has opened.
    final List<Journal> journals = new ArrayList<>();

    /// @throws ParameterException when nothing could be done within a limit
    void check(CommandLine command) {
        if (threads != null && threads < 1) {
            throw new ParameterException(command, "--threads must be 1 or more, not " + threads);
        }
        if (memory.bytes() < LEAST_MEMORY) {
            throw new ParameterException(command, "--memory must be 64MB or more, not " + memory.text());
        }
    }

    int threads() {
        int wanted = threads == null ? Runtime.getRuntime().availableProcessors() : threads;
        return (int) Math.min(wanted, threadsAllowed());
    }

    /// How many threads `--memory` leaves room for.
    long threadsAllowed() {
        return Math.max(1, memory.bytes() / MEMORY_PER_THREAD);
    }

    /// Bytes of mapped files that may be resident; the rest is for the heap, whose limit the launcher sets, and the virtual machine itself.
    long mapped() {
        return memory.bytes() / 4;
    }

    int verbosity() {
        return verbose.length;
    }

    /// Progress on stderr.
    ///
    /// @param total bytes of the whole
    Progress progress(CommandSpec spec, String stage, long total) {
        return new Progress(spec.commandLine().getErr(), progressStyle(), stage, total);
    }

    /// The same where the whole is counted in tokens.
    Progress tokenProgress(CommandSpec spec, String stage, long total) {
        return new Progress(spec.commandLine().getErr(), progressStyle(), stage, total, "tokens/s", 1);
    }

    /// Tells of options that have no effect. They are not refused, as they may stand among the defaults of a file.
    static void noteWithoutEffect(CommandSpec spec, String sentence) {
        if (!((RamCommand) spec.root().userObject()).global.quiet) {
            spec.commandLine().getErr().println("ram: " + sentence);
        }
    }

    private Progress.Style progressStyle() {
        return quiet || noProgress ? Progress.Style.OFF : around.isLive() ? Progress.Style.LIVE : Progress.Style.LINES;
    }
}
