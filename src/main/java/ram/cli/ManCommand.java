package ram.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(name = "man", hidden = true, description = "Writes a manual page for each command; the build does it.")
final class ManCommand implements Callable<Integer> {
    @Parameters(paramLabel = "FOLDER", description = "Where to write them.")
    Path folder;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        Files.createDirectories(folder);
        CommandLine root = spec.root().commandLine();
        List<CommandLine> all = new ArrayList<>(List.of(root));
        all.addAll(FishCompletion.visible(root).values());
        for (CommandLine command : all) {
            Files.writeString(folder.resolve(ManPage.name(command.getCommandSpec()) + ".1"), ManPage.of(command.getCommandSpec(), BuildInfo.read().version()));
        }
        return ExitCode.DONE;
    }
}
