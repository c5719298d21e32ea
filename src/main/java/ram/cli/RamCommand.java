package ram.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.HelpCommand;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.ScopeType;

/// The root of all commands; it does nothing by itself.
@Command(name = "ram", mixinStandardHelpOptions = true, scope = ScopeType.INHERIT, versionProvider = RamCommand.Version.class,
        description = "Quantizes large language models to a byte budget, from the weights alone, and writes MLX checkpoints.",
        synopsisSubcommandLabel = "COMMAND", sortOptions = false,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done", "1:failed (I/O, internal)", "2:usage", "3:a quality gate did not hold",
            "4:the budget cannot be met (the smallest possible size is printed)",
            "5:the input is not usable (corrupt, truncated, non-finite, unsupported)", "130:interrupted"},
        subcommands = {InspectCommand.class, AnalyzeCommand.class, MergeCommand.class, PlanCommand.class, QuantizeCommand.class, VerifyCommand.class, SweepCommand.class, ExplainCommand.class, GateCommand.class, DiffCommand.class, ReportCommand.class, EvalCommand.class, CompletionCommand.class, HelpCommand.class, ManCommand.class})
final class RamCommand {
    @Mixin
    GlobalOptions global = new GlobalOptions();

    static final class Version implements IVersionProvider {
        @Override
        public String[] getVersion() {
            return new String[] {BuildInfo.read().toString()};
        }
    }
}
