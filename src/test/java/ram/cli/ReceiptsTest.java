package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.Schemas;
import ram.numeric.Background;

class ReceiptsTest {
    @TempDir
    Path folder;

    private Path model;
    private Path out;

    @BeforeEach
    void quantize() throws IOException {
        model = Folders.copy(Cli.TINY, folder.resolve("model"));
        out = folder.resolve("out");
        assertEquals(0, Cli.run("quantize", model, "--policy", "uniform", "-o", out).exitCode());
    }

    private static void change(Path file, long at) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        bytes[(int) at] ^= 1;
        Files.write(file, bytes);
    }

    @Test
    void oneThreadHashesAfterItsOtherWork() {
        AtomicReference<Thread> by = new AtomicReference<>();
        Background<String> later = new Background<>(1, () -> {
            by.set(Thread.currentThread());
            return "done";
        });
        later.begin();
        assertNull(by.get());
        assertEquals("done", later.get());
        assertEquals(Thread.currentThread(), by.get());
        by.set(null);
        assertEquals("done", later.get());
        assertNull(by.get(), "once is enough");
        Background<Thread> beside = new Background<>(2, Thread::currentThread);
        beside.begin();
        assertNotEquals(Thread.currentThread(), beside.get());
    }

    @Test
    void everyFileHasOne() throws Exception {
        JsonNode manifest = new ObjectMapper().readTree(out.resolve("manifest.json").toFile());
        assertEquals(List.of(), Schemas.errors(Schemas.schema("manifest"), manifest));
        TreeSet<String> names = new TreeSet<>();
        for (JsonNode f : manifest.path("files")) {
            byte[] content = Files.readAllBytes(out.resolve(f.path("name").asText()));
            assertEquals(content.length, f.path("bytes").asLong());
            assertEquals(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content)), f.path("sha256").asText());
            names.add(f.path("name").asText());
        }
        try (Stream<Path> files = Files.list(out)) {
            assertEquals(files.map(f -> f.getFileName().toString()).filter(n -> !n.equals("manifest.json")).collect(Collectors.toCollection(TreeSet::new)), names);
        }
        assertEquals("model.safetensors", manifest.path("source_files").path(0).path("name").asText());
        assertEquals(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(model.resolve("model.safetensors")))),
                manifest.path("source_files").path(0).path("sha256").asText());
        assertEquals(0, Cli.run("verify", out).exitCode());
    }

    @Test
    void verifyNamesWhatDiffers() throws IOException {
        change(out.resolve("tokenizer.json"), 100);
        change(out.resolve("model.safetensors"), Files.size(out.resolve("model.safetensors")) - 1);
        Files.delete(out.resolve("generation_config.json"));
        Cli.Result result = Cli.run("verify", out);
        assertEquals(5, result.exitCode());
        assertTrue(result.out().contains("tokenizer.json is not the file that the manifest lists: its SHA-256 differs; make the folder again"), result.out());
        assertTrue(result.out().contains("model.safetensors is not the file"), result.out());
        assertTrue(result.out().contains("generation_config.json is missing, but the manifest lists it"), result.out());
    }

    @Test
    void anotherSourceIsNamed() throws IOException {
        change(model.resolve("model.safetensors"), Files.size(model.resolve("model.safetensors")) - 2);
        Cli.Result result = Cli.run("verify", out, "--source", model);
        assertEquals(5, result.exitCode());
        assertTrue(result.out().contains("model.safetensors is not the file that the manifest lists: its SHA-256 differs; this is not the source that the folder was made from"), result.out());
    }

    @Test
    void aManifestCannotPointElsewhere() throws IOException {
        Path manifest = out.resolve("manifest.json");
        Files.writeString(manifest, Files.readString(manifest).replace("\"name\" : \"config.json\"", "\"name\" : \"../model/config.json\""));
        Cli.Result result = Cli.run("verify", out);
        assertEquals(5, result.exitCode());
        assertTrue(result.out().contains("'../model/config.json', which is not the name of a file in this folder"), result.out());
    }
}
