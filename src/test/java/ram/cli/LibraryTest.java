package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The example of a program that uses the library.
class LibraryTest {
    @Test
    void theExampleGivesWhatTheCommandGives(@TempDir Path dir) throws Exception {
        Path out = dir.resolve("from-java");
        Process p = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "--add-modules", "jdk.incubator.vector", "-cp", System.getProperty("java.class.path"),
                "examples/library/QuantizeOne.java", Cli.TINY.toString(), "1MB", out.toString()).redirectErrorStream(true).start();
        String said = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, p.waitFor(), said);
        assertTrue(said.endsWith("29 modules\n" + out + ": 999.784 kB, sound\n"), said);
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", dir.resolve("out"), "--quiet").exitCode());
        for (String name : List.of("model.safetensors", "config.json", "model.safetensors.index.json", "tokenizer.json")) {
            assertArrayEquals(Files.readAllBytes(dir.resolve("out").resolve(name)), Files.readAllBytes(out.resolve(name)), name);
        }
        JsonMapper json = new JsonMapper();
        JsonNode ours = json.readTree(out.resolve("manifest.json").toFile());
        JsonNode theirs = json.readTree(dir.resolve("out").resolve("manifest.json").toFile());
        assertEquals(1, theirs.path("source_files").size());
        assertEquals(theirs.path("source_files"), ours.path("source_files"), "receipts of the source");
        assertEquals(theirs.path("files").size(), ours.path("files").size());
        assertEquals(0, Cli.run("diff", out, dir.resolve("out")).exitCode());
        assertEquals(0, Cli.run("verify", out, "--source", Cli.TINY).exitCode());
    }
}
