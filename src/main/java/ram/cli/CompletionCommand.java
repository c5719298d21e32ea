package ram.cli;

import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "completion", sortOptions = false,
        description = "Prints a script with which a shell completes commands, options and their values. Without a file: `source <(ram completion bash)`, the same with zsh, and `ram completion fish | source`.")
final class CompletionCommand implements Callable<Integer> {
    /// Shells that completion is known for.
    enum Shell { bash, zsh, fish }

    @Parameters(paramLabel = "SHELL", description = "${COMPLETION-CANDIDATES}.")
    Shell shell;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        CommandLine root = spec.root().commandLine();
        PrintWriter out = spec.commandLine().getOut();
        out.print(switch (shell) {
            // picocli's script for bash turns on bash's ways in zsh by itself
            case bash, zsh -> AutoComplete.bash(root.getCommandName(), root);
            case fish -> FishCompletion.of(root);
        });
        return ExitCode.DONE;
    }
}
