package ram.eval;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.LibUtils;
import ai.djl.util.Platform;
import ai.djl.util.Utils;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.stream.Stream;
import ram.InputException;

/// Turns text into tokens with a model's own `tokenizer.json`.
///
/// The tokenizers library is native code. It comes with the program and is unpacked at the first use into `ENGINE_CACHE_DIR`, by default
/// `~/.cache/ram`, or for one run into the system's folder of temporary files where that cannot be written; nothing is fetched from the network.
public final class TextTokens {
    private static final long MAX_BYTES = 500_000_000;
    private static final String LIBRARY = "tokenizers";
    private static final String FILE = System.mapLibraryName(LIBRARY);
    private static final String OVERRIDE = "RUST_LIBRARY_PATH";
    private static final String CACHE = "ENGINE_CACHE_DIR";
    private static final String INSTEAD = "give token ids with --tokens FILE (with quantize, --eval-tokens FILE), which works everywhere";
    /// Whether the user says where the library is to lie.
    private static final boolean CHOSEN = Utils.getEnvOrSystemProperty(CACHE) != null || Utils.getEnvOrSystemProperty("DJL_CACHE_DIR") != null;

    static {
        // the library would otherwise ask the network for GPU builds of itself, and report that it is used
        System.setProperty("ai.djl.offline", "true");
        System.setProperty("OPT_OUT_TRACKING", "true");
        if (!CHOSEN) {
            String cache = System.getenv("XDG_CACHE_HOME");
            Path base = cache == null || cache.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(cache);
            System.setProperty(CACHE, base.resolve("ram").toString());
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
        load();
        try (HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.newInstance(file, Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false"))) {
            return Arrays.stream(tokenizer.encode(content, false, false).getIds()).mapToInt(Math::toIntExact).toArray();
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        } catch (RuntimeException e) {
            throw new InputException(file + ": cannot be used as a tokenizer (" + e.getMessage() + "); give token ids with --tokens instead of a text", e);
        }
    }

    /// Loads the native library by itself, so that a fault of it or of the place for it is not taken for one of the tokenizer.
    ///
    /// @throws UncheckedIOException when it does not load
    private static void load() {
        Path own = null;
        if (Utils.getEnvOrSystemProperty(OVERRIDE) == null && !CHOSEN && !canBeUsed(Utils.getEngineCacheDir(LIBRARY))) {
            own = temporary(Utils.getEngineCacheDir(LIBRARY));
            System.setProperty(CACHE, own.toString());
            // Of a library that the library uses.
            System.setProperty("jna.tmpdir", own.toString());
        }
        try {
            LibUtils.checkStatus();
        } catch (EngineException e) {
            String platform = Platform.detectPlatform(LIBRARY).getClassifier();
            if (HuggingFaceTokenizer.class.getClassLoader().getResource("native/lib/" + platform + "/cpu/" + FILE) == null) {
                throw unusable("there is none for " + platform, e);
            }
            // Its own words tell of another place where it looked afterwards.
            throw new UncheckedIOException(Utils.getEngineCacheDir(LIBRARY) + ": the tokenizers library cannot be unpacked there",
                    new IOException("free some space, choose another folder with XDG_CACHE_HOME, or " + INSTEAD, e));
        } catch (LinkageError | AssertionError e) {
            throw unusable(e.getMessage(), e);
        } finally {
            if (own != null) {
                // The system keeps what is loaded.
                Utils.deleteQuietly(own);
            }
        }
    }

    private static UncheckedIOException unusable(String why, Throwable cause) {
        return new UncheckedIOException("the tokenizers library does not load on this machine", new IOException(why + "; " + INSTEAD, cause));
    }

    /// Whether the library can be unpacked there, or someone who may has done so. The home of a user without one is a relative name.
    private static boolean canBeUsed(Path folder) {
        try {
            if (!folder.isAbsolute()) {
                return false;
            }
            if (Files.isWritable(Files.createDirectories(folder))) {
                return true;
            }
            try (Stream<Path> versions = Files.list(folder)) {
                return versions.anyMatch(v -> Files.isReadable(v.resolve(FILE)));
            }
        } catch (IOException e) {
            return false;
        }
    }

    /// A folder that nobody else can write to: what it is for will be run.
    private static Path temporary(Path folder) {
        try {
            return Files.createTempDirectory("ram-");
        } catch (IOException e) {
            throw new UncheckedIOException("neither " + folder + " nor " + System.getProperty("java.io.tmpdir") + " can be written to, and the tokenizers library has to be unpacked",
                    new IOException("choose another folder with XDG_CACHE_HOME, or " + INSTEAD, e));
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
