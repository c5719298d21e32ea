package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The example in the README is what a reader will see.
class ReadmeTest {
    @Test
    void exampleIsReal(@TempDir Path folder) throws IOException {
        String readme = Files.readString(Path.of("README.md"));
        int from = readme.indexOf("```\nkind") + 4;
        String shown = readme.substring(from, readme.indexOf("```", from));
        Path out = folder.resolve("tiny-1mb");
        Cli.Result r = Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--no-progress");
        assertEquals(shown.replace("build/tiny-1mb", out.toString()), r.out());
    }
}
