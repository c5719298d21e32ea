package ram.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import ram.Count;
import ram.journal.Journal;

/// A command that goes on where an earlier run of it was stopped.
interface Resumable {
    /// Whether it records what is finished.
    boolean resumable();

    /// Opens a journal and says what comes of it.
    static Journal open(Path file, String fingerprint, GlobalOptions global, PrintWriter err) {
        Journal journal = Journal.open(file, fingerprint);
        global.journals.add(journal);
        if (journal.startedOver() && !global.quiet) {
            err.println("starting over: " + file + " was left by a run with another source, other options or another version of this program");
        } else if (!journal.earlier().isEmpty() && !global.quiet) {
            err.println("resuming: " + file + " holds " + Count.of(journal.earlier().size(), "finished step"));
        }
        return journal;
    }
}
