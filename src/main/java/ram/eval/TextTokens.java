package ram.eval;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import ram.InputException;

/// Turns text into tokens with a model's own `tokenizer.json`.
///
/// The tokenizers library is native code. It comes with the program and is unpacked at the first use into `ENGINE_CACHE_DIR`, by default
/// `~/.cache/ram`; nothing is fetched from the network.
public final class TextTokens {
    private static final long MAX_BYTES = 500_000_000;

    static {
        // the library would otherwise ask the network for GPU builds of itself, and report that it is used
        System.setProperty("ai.djl.offline", "true");
        System.setProperty("OPT_OUT_TRACKING", "true");
        boolean chosen = System.getenv("ENGINE_CACHE_DIR") != null || System.getenv("DJL_CACHE_DIR") != null
                || System.getProperty("ENGINE_CACHE_DIR") != null || System.getProperty("DJL_CACHE_DIR") != null;
        if (!chosen) {
            String cache = System.getenv("XDG_CACHE_HOME");
            Path base = cache == null || cache.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(cache);
            System.setProperty("ENGINE_CACHE_DIR", base.resolve("ram").toString());
        }
    }

    private TextTokens() {
    }

    /// The tokens of a UTF-8 text, nothing added in front or behind.
    ///
    /// @param folder of the model, with its `tokenizer.json`
    /// @throws InputException when there is no such file, or it or the text cannot be used
    public static int[] read(Path folder, Path text) {
        Path file = folder.resolve("tokenizer.json");
        if (!Files.isRegularFile(file)) {
            throw InputException.in(folder, "holds no tokenizer.json; give token ids with --tokens instead of a text, or add the file from the model's source");
        }
        String content = content(text);
        try (HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.newInstance(file, Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false"))) {
            return Arrays.stream(tokenizer.encode(content, false, false).getIds()).mapToInt(Math::toIntExact).toArray();
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        } catch (UnsatisfiedLinkError e) {
            throw new InputException("the tokenizers library does not load on this machine (" + e.getMessage() + "); give token ids with --tokens instead of a text", e);
        } catch (RuntimeException e) {
            throw new InputException(file + ": cannot be used as a tokenizer (" + e.getMessage() + "); give token ids with --tokens instead of a text", e);
        }
    }

    /// A device or a pipe might never end.
    static void requireReadable(Path file) {
        try {
            if (!Files.isRegularFile(file)) {
                throw InputException.in(file, Files.exists(file) ? "is not a regular file; give the name of one" : "does not exist; give the name of a file");
            }
            if (Files.size(file) > MAX_BYTES) {
                throw InputException.in(file, "is over " + MAX_BYTES + " bytes long; a few thousand tokens are enough, give a part of it");
            }
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    private static String content(Path text) {
        requireReadable(text);
        try {
            return Files.readString(text);
        } catch (CharacterCodingException e) {
            throw new InputException(text + ": is not UTF-8 text; convert it", e);
        } catch (IOException e) {
            throw new UncheckedIOException(text + ": cannot be read", e);
        }
    }
}
