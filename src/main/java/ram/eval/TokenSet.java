package ram.eval;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ram.InputException;
import ram.Sha256;

/// The sequences that models are evaluated on. Of a sequence of n tokens the first n − 1 are read and the last n − 1 predicted.
///
/// @param name what they are, for reports
/// @param sequences each of 2 tokens or more
public record TokenSet(String name, List<int[]> sequences) {
    /// The sizes that published WikiText-2 perplexities are measured with: windows of 2048 tokens, 256 of them, seed 42.
    public static final int SEQUENCE_LENGTH = 2048;
    /// See [#SEQUENCE_LENGTH].
    public static final int SAMPLES = 256;
    /// See [#SEQUENCE_LENGTH].
    public static final long SEED = 42;
    private static final Pattern NPY_TYPE = Pattern.compile("'descr'\\s*:\\s*'<i([48])'");
    private static final Pattern NPY_ONE_DIMENSION = Pattern.compile("'shape'\\s*:\\s*\\(\\s*(\\d+)\\s*,\\s*\\)");

    public TokenSet {
        sequences = List.copyOf(sequences);
        if (sequences.isEmpty() || sequences.stream().anyMatch(s -> s.length < 2)) {
            throw new IllegalArgumentException("a sequence needs two tokens, one to read and one to predict");
        }
    }

    /// Cuts a text into windows that follow one another without overlap, from the first token on; a shorter rest is left out.
    /// Of more windows than wanted a sample without replacement is taken, the same for the same seed, and kept in the order of the text.
    ///
    /// @param length tokens per window, 2 or more; a text shorter than that is one shorter window
    /// @throws InputException when there are not two tokens
    public static TokenSet windows(String name, int[] ids, int length, int samples, long seed) {
        if (length < 2 || samples < 1) {
            throw new IllegalArgumentException(samples + " windows of " + length);
        }
        if (ids.length < 2) {
            throw new InputException(name + " has " + ids.length + " tokens; an evaluation needs at least two");
        }
        int windows = Math.max(1, ids.length / length);
        int[] order = new int[windows];
        Arrays.setAll(order, i -> i);
        int wanted = Math.min(samples, windows);
        if (wanted < windows) {
            SplitMix random = new SplitMix(seed);
            for (int i = 0; i < wanted; i++) {
                int j = i + (int) Long.remainderUnsigned(random.next(), windows - i);
                int held = order[i];
                order[i] = order[j];
                order[j] = held;
            }
            Arrays.sort(order, 0, wanted);
        }
        List<int[]> out = new ArrayList<>();
        for (int i = 0; i < wanted; i++) {
            out.add(Arrays.copyOfRange(ids, order[i] * length, Math.min(ids.length, (order[i] + 1) * length)));
        }
        return new TokenSet(name, out);
    }

    /// Reads token ids: little-endian int32, or a one-dimensional `.npy` file of int32 or int64.
    ///
    /// @throws InputException when the file is neither
    public static int[] read(Path file) {
        TextTokens.requireReadable(file);
        try {
            byte[] bytes = Files.readAllBytes(file);
            if (bytes.length >= 12 && (bytes[0] & 255) == 0x93 && new String(bytes, 1, 5, StandardCharsets.US_ASCII).equals("NUMPY")) {
                return npy(file, ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
            }
            if (bytes.length % 4 != 0) {
                throw InputException.in(file, "has a size of " + bytes.length + " bytes, which is no number of int32 tokens; write little-endian int32 or .npy");
            }
            int[] out = new int[bytes.length / 4];
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer().get(out);
            return out;
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    private static int[] npy(Path file, ByteBuffer in) {
        boolean first = in.get(6) == 1;
        long headerBytes = first ? in.getShort(8) & 0xffff : in.getInt(8) & 0xffffffffL;
        int start = first ? 10 : 12;
        if (start + headerBytes > in.capacity()) {
            throw InputException.in(file, "is a truncated .npy file; write it again");
        }
        String header = new String(in.array(), start, (int) headerBytes, StandardCharsets.ISO_8859_1);
        Matcher type = NPY_TYPE.matcher(header);
        if (!type.find()) {
            throw InputException.in(file, "is a .npy file of another type than int32 or int64; convert it with numpy's astype");
        }
        Matcher dimension = NPY_ONE_DIMENSION.matcher(header);
        if (!dimension.find()) {
            throw InputException.in(file, "is a .npy file that has not one dimension; write it again with numpy's ravel");
        }
        boolean wide = type.group(1).equals("8");
        in.position((int) (start + headerBytes));
        int[] out = new int[in.remaining() / (wide ? 8 : 4)];
        if (!dimension.group(1).equals(String.valueOf(out.length)) || in.remaining() % (wide ? 8 : 4) != 0) {
            throw InputException.in(file, "is a .npy file of " + dimension.group(1) + " tokens that holds " + out.length + "; write it again");
        }
        for (int i = 0; i < out.length; i++) {
            long id = wide ? in.getLong() : in.getInt();
            if (id < 0 || id > Integer.MAX_VALUE) {
                throw InputException.in(file, "holds " + id + " at position " + i + ", which is no token id");
            }
            out[i] = (int) id;
        }
        return out;
    }

    /// @throws InputException when a token is not one of a vocabulary of this size
    void requireBelow(int vocabulary) {
        for (int[] s : sequences) {
            for (int id : s) {
                if (id < 0 || id >= vocabulary) {
                    throw outside(id, vocabulary);
                }
            }
        }
    }

    static InputException outside(int id, int vocabulary) {
        return new InputException("token " + id + " is outside the vocabulary of " + vocabulary + "; the tokens were made with another model's tokenizer");
    }

    /// Predicted tokens of all sequences together.
    public long predictions() {
        return sequences.stream().mapToLong(s -> s.length - 1).sum();
    }

    /// SHA-256 of all sequences.
    public String fingerprint() {
        Sha256 digest = new Sha256();
        for (int[] s : sequences) {
            ByteBuffer b = ByteBuffer.allocate(4 * (s.length + 1)).order(ByteOrder.LITTLE_ENDIAN).putInt(s.length);
            for (int id : s) {
                b.putInt(id);
            }
            digest.add(b.array());
        }
        return digest.hex();
    }
}
