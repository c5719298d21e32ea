package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import ram.convert.StagedFolder;

/// What has the names of a run's hidden folder and lock without being left by one.
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class HiddenSiblingsTest {
    @TempDir
    Path folder;

    private Cli.Result quantize(String... more) {
        List<Object> words = new ArrayList<>(List.of("quantize", Cli.TINY, "--policy", "uniform", "-o", folder.resolve("out"), "--quiet"));
        words.addAll(List.of(more));
        return Cli.run(words.toArray());
    }

    private void assertRefused(Path path, String why) {
        for (Cli.Result r : List.of(quantize(), quantize("--fresh"))) {
            assertEquals(2, r.exitCode(), r.err());
            assertEquals("ram: " + path + " " + why + ", so it was not touched; choose another output folder or remove it", r.sentence());
        }
        assertFalse(Files.exists(folder.resolve("out")));
    }

    @Test
    void aFileWithTheNameOfTheLock() throws IOException {
        Path lock = folder.resolve(".out.lock");
        for (String content : List.of("mine", "0123456789-0123456789-0123456789-012", "3f0c1e9a-7d52-4a0e-9d0a-5a4b6c7d8e9f\n")) {
            Files.writeString(lock, content);
            assertRefused(lock, "is not a lock of ram");
            assertEquals(content, Files.readString(lock));
        }
    }

    @Test
    void aLinkWithTheNameOfTheLock() throws IOException {
        Path notes = folder.resolve("notes");
        Path lock = Files.createSymbolicLink(folder.resolve(".out.lock"), notes);
        for (String content : List.of("mine", "")) {
            Files.writeString(notes, content);
            assertRefused(lock, "is not a lock of ram");
            assertEquals(content, Files.readString(notes));
        }
        Files.delete(notes);
        assertRefused(lock, "is not a lock of ram");
        assertFalse(Files.exists(notes), "nor is anything created where it leads");
    }

    @Test
    void aPipeOrAFolderWithTheNameOfTheLock() throws Exception {
        Path lock = folder.resolve(".out.lock");
        Files.createDirectory(lock);
        assertRefused(lock, "is not a lock of ram");
        Files.delete(lock);
        assumeTrue(new ProcessBuilder("mkfifo", lock.toString()).start().waitFor() == 0, "no pipes here");
        assertRefused(lock, "is not a lock of ram");
        assertTrue(Files.readAttributes(lock, "isOther", LinkOption.NOFOLLOW_LINKS).containsValue(true));
    }

    /// As after a kill.
    @Test
    void aLockThatARunLeft() throws IOException {
        for (String content : List.of("", "3f0c1e9a-7d52-4a0e-9d0a-5a4b6c7d8e9f")) {
            Files.writeString(folder.resolve(".out.lock"), content);
            Files.createDirectories(folder.resolve(".out.partial/out"));
            Cli.Result r = quantize("--force");
            assertEquals(0, r.exitCode(), r.err());
            assertFalse(Files.exists(folder.resolve(".out.lock")) || Files.exists(folder.resolve(".out.partial")));
        }
    }

    @Test
    void aFolderWithTheNameOfTheHiddenOne() throws IOException {
        Path partial = Files.createDirectory(folder.resolve(".out.partial"));
        assertTrue(StagedFolder.resumable(folder.resolve("out")), "an empty one may be used");
        Files.createFile(partial.resolve("write.journal"));
        assertTrue(StagedFolder.resumable(folder.resolve("out")));
        Path notes = Files.writeString(partial.resolve("notes"), "mine");
        assertFalse(StagedFolder.resumable(folder.resolve("out")));
        assertRefused(partial, "holds notes, which is not of ram");
        assertEquals("mine", Files.readString(notes));
        assertFalse(Files.exists(folder.resolve(".out.lock")), "its own lock is given up");
        Files.move(notes, partial.resolve("refine-0"));
        assertRefused(partial, "holds refine-0, which is not of ram");
    }

    @Test
    void aLinkOrAFileWithTheNameOfTheHiddenFolder() throws IOException {
        Path partial = folder.resolve(".out.partial");
        Path elsewhere = Files.createDirectory(folder.resolve("elsewhere"));
        Files.createSymbolicLink(partial, elsewhere);
        assertFalse(StagedFolder.resumable(folder.resolve("out")));
        assertRefused(partial, "is not a folder of ram");
        assertEquals(0, elsewhere.toFile().list().length);
        Files.delete(partial);
        Files.writeString(partial, "mine");
        assertRefused(partial, "is not a folder of ram");
        assertEquals("mine", Files.readString(partial));
    }

    /// An output folder within the hidden one that leads away would have that written into.
    @Test
    void aLinkWithinTheHiddenFolder() throws IOException {
        Path elsewhere = Files.createDirectory(folder.resolve("elsewhere"));
        Path partial = Files.createDirectory(folder.resolve(".out.partial"));
        Files.createSymbolicLink(partial.resolve("out"), elsewhere);
        assertRefused(partial, "holds out, which is not of ram");
        assertEquals(0, elsewhere.toFile().list().length);
    }

    @Test
    void aHeldLockIsNoStrangers() {
        try (StagedFolder _ = StagedFolder.open(folder.resolve("out"), false, false)) {
            Cli.Result r = quantize();
            assertEquals(2, r.exitCode());
            assertTrue(r.sentence().contains("is being written by another run"), r.sentence());
        }
    }

    /// To force what is written to disk is not for what is no file.
    @Test
    void pipesAndDevicesAreWrittenInto() throws Exception {
        Path pipe = folder.resolve("pipe");
        assumeTrue(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor() == 0, "no pipes here");
        Process reader = new ProcessBuilder("sh", "-c", "wc -c <\"$0\"", pipe.toString()).start();
        Path profile = Cli.analyzed(folder);
        assertEquals(0, Cli.run("plan", profile, "--bpw", "5", "-o", pipe, "--quiet").exitCode());
        assertTrue(reader.waitFor(20, TimeUnit.SECONDS));
        assertTrue(Long.parseLong(new String(reader.getInputStream().readAllBytes()).strip()) > 1000);
        assertEquals(0, Cli.run("plan", profile, "--bpw", "5", "-o", "/dev/null", "--quiet").exitCode());
    }
}
