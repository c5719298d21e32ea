package ram.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.InputException;
import ram.Jvm;
import ram.cli.Main;

class TokensTest {
    @TempDir
    Path folder;

    @Test
    void textBecomesTheIdsOfTheModelsTokenizer() {
        int[] expected = TokenSet.read(Path.of("src/test/resources/ram/eval/held-out.i32"));
        int[] actual = TextTokens.read(Path.of("examples/tiny-qwen3"), Path.of("src/test/resources/ram/eval/held-out.txt"));
        assertArrayEquals(expected, actual);
    }

    @Test
    void aBrokenTokenizerIsRefusedByName() throws IOException {
        Path text = Files.writeString(folder.resolve("text"), "a b");
        assertTrue(assertThrows(InputException.class, () -> TextTokens.read(folder, text)).getMessage().contains("tokenizer.json"));
        Files.writeString(folder.resolve("tokenizer.json"), "{}");
        assertTrue(assertThrows(InputException.class, () -> TextTokens.read(folder, text)).getMessage().contains("tokenizer.json"));
    }

    /// A process of its own, as the library is loaded once: where its folder cannot be made, it is unpacked for one run, and nothing is left of it.
    @Test
    void theLibraryIsUnpackedElsewhereWhereTheCacheCannotBeWritten() throws Exception {
        Path temporary = Files.createDirectory(folder.resolve("tmp"));
        for (String home : List.of("/dev/null/home", "?")) {
            assertEquals("0: ", inProcess("-Duser.home=" + home, "-Djava.io.tmpdir=" + temporary));
            try (Stream<Path> left = Files.list(temporary)) {
                assertEquals(List.of(), left.toList());
            }
        }
        assertFalse(Files.exists(Path.of("?")));
    }

    @Test
    void aLibraryThatCannotBeUnpackedOrLoadedIsToldInASentence() throws Exception {
        String instead = "give token ids with --tokens FILE (with quantize, --eval-tokens FILE), which works everywhere\n";
        assertEquals("1: ram: neither /dev/null/home/.cache/ram/tokenizers nor /dev/null/tmp can be written to, and the tokenizers library has to be unpacked: "
                + "choose another folder with XDG_CACHE_HOME, or " + instead, inProcess("-Duser.home=/dev/null/home", "-Djava.io.tmpdir=/dev/null/tmp"));
        assertEquals("1: ram: /dev/null/x/tokenizers: the tokenizers library cannot be unpacked there: "
                + "free some space, choose another folder with XDG_CACHE_HOME, or " + instead, inProcess("-DENGINE_CACHE_DIR=/dev/null/x"));
        assertEquals("1: ram: the tokenizers library does not load on this machine: Unsupported platform: Darwin; " + instead, inProcess("-Dos.name=Darwin"));
        assertEquals("1: ram: the tokenizers library does not load on this machine: there is none for osx-x86_64; " + instead, inProcess("-Dos.name=Mac OS X", "-Dos.arch=x86_64"));
        Path broken = Files.writeString(folder.resolve(System.mapLibraryName("tokenizers")), "not a library");
        String refused = inProcess("-DRUST_LIBRARY_PATH=" + broken);
        // The virtual machine has a word about it, too.
        assertTrue(refused.startsWith("1: ") && refused.lines().toList().getLast().startsWith("ram: the tokenizers library does not load on this machine: " + broken)
                && refused.endsWith("; " + instead), refused);
    }

    /// Of which the virtual machine has its own to say.
    private String inProcess(String... options) throws IOException, InterruptedException {
        ProcessBuilder builder = new ProcessBuilder(Jvm.command(Jvm.withVectors(options), Main.class, "eval", "examples/tiny-qwen3", "--text", "src/test/resources/ram/eval/held-out.txt",
                "--samples", 1, "--seq-len", 2, "--quiet")).redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(folder.resolve("err").toFile());
        List.of("XDG_CACHE_HOME", "ENGINE_CACHE_DIR", "DJL_CACHE_DIR", "RUST_LIBRARY_PATH").forEach(builder.environment()::remove);
        Process process = builder.start();
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        return process.exitValue() + ": " + Files.readString(folder.resolve("err")).replaceAll("(?m)^WARNING: .*\\R", "");
    }

    @Test
    void windowsFollowOneAnotherAndLeaveOutTheRest() {
        TokenSet tokens = TokenSet.windows("count", IntStream.range(0, 35).toArray(), 10, 256, 42);
        assertEquals(3, tokens.sequences().size());
        assertArrayEquals(IntStream.range(20, 30).toArray(), tokens.sequences().get(2));
        assertEquals(27, tokens.predictions());
    }

    @Test
    void aSampleIsSortedWithoutRepetitionAndTheSameForTheSameSeed() {
        int[] ids = IntStream.range(0, 10_000).toArray();
        List<Integer> first = starts(TokenSet.windows("count", ids, 10, 100, 42));
        assertEquals(first, starts(TokenSet.windows("count", ids, 10, 100, 42)));
        assertEquals(first.stream().sorted().distinct().toList(), first);
        assertEquals(100, first.size());
        assertTrue(!first.equals(starts(TokenSet.windows("count", ids, 10, 100, 43))));
        // all parts of the text take their share
        long early = first.stream().filter(s -> s < 5000).count();
        assertTrue(early > 30 && early < 70, "of 100 windows " + early + " are from the first half");
    }

    private static List<Integer> starts(TokenSet tokens) {
        return tokens.sequences().stream().map(s -> s[0]).toList();
    }

    @Test
    void readsNumpyFiles() throws IOException {
        for (int bytes : new int[] {4, 8}) {
            String header = "{'descr': '<i" + bytes + "', 'fortran_order': False, 'shape': (3,), }\n";
            ByteBuffer b = ByteBuffer.allocate(10 + header.length() + 3 * bytes).order(ByteOrder.LITTLE_ENDIAN);
            b.put((byte) 0x93).put("NUMPY".getBytes(StandardCharsets.US_ASCII)).put((byte) 1).put((byte) 0).putShort((short) header.length()).put(header.getBytes(StandardCharsets.US_ASCII));
            for (int v : new int[] {5, 70_000, 1}) {
                if (bytes == 4) {
                    b.putInt(v);
                } else {
                    b.putLong(v);
                }
            }
            Path file = Files.write(folder.resolve("ids.npy"), b.array());
            assertArrayEquals(new int[] {5, 70_000, 1}, TokenSet.read(file));
            Path truncated = Files.write(folder.resolve("short.npy"), Arrays.copyOf(b.array(), b.capacity() - bytes));
            assertTrue(assertThrows(InputException.class, () -> TokenSet.read(truncated)).getMessage().contains("of 3 tokens that holds 2"));
        }
        Path cut = Files.write(folder.resolve("cut.i32"), new byte[7]);
        assertTrue(assertThrows(InputException.class, () -> TokenSet.read(cut)).getMessage().contains("cut.i32"));
        Path floats = Files.write(folder.resolve("f.npy"), Arrays.copyOf("\u0093NUMPY\1\0\26\0{'descr': '<f4', 'x':}".getBytes(StandardCharsets.ISO_8859_1), 40));
        assertTrue(assertThrows(InputException.class, () -> TokenSet.read(floats)).getMessage().contains("int32"));
    }
}
