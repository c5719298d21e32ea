package ram.cli;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import org.slf4j.LoggerFactory;

/// How much is logged to stderr: warnings by default, more with `-v` and `-vv`, errors only with `--quiet`.
final class Logging {
    private Logging() {
    }

    static void configure(GlobalOptions global) {
        if (LoggerFactory.getLogger("ROOT") instanceof Logger root) {
            root.setLevel(global.quiet ? Level.ERROR : switch (global.verbosity()) {
                case 0 -> Level.WARN;
                case 1 -> Level.INFO;
                default -> Level.DEBUG;
            });
        }
    }
}
