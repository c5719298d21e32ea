package ram.cli;

/// The exit codes that scripts depend on.
final class ExitCode {
    static final int DONE = 0;
    static final int FAILED = 1;
    static final int USAGE = 2;
    static final int GATE = 3;
    static final int BUDGET = 4;
    static final int INPUT = 5;
    static final int INTERRUPTED = 130;

    private ExitCode() {
    }
}
