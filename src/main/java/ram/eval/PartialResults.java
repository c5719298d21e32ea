package ram.eval;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.MalformedInputException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import ram.Sha256;
import ram.UsageException;

/// Scores of finished sequences in a file, one JSON document per line; numbers per token as base64 of little-endian float32.
/// Lines of other models, other tokens, or cut short when a run was stopped, are passed over.
final class PartialResults {
    private static final String SCHEMA = "ram.scores/1";
    private static final String BEGIN = "{\"schema\":\"" + SCHEMA + "\"";
    private static final ObjectMapper MAPPER = new ObjectMapper();

    private final Path file;
    private final String fingerprint;
    private final TokenSet tokens;
    private final int models;
    private final boolean reference;

    private PartialResults(Path file, String fingerprint, TokenSet tokens, int models, boolean reference) {
        this.file = file;
        this.fingerprint = fingerprint;
        this.tokens = tokens;
        this.models = models;
        this.reference = reference;
    }

    static PartialResults open(Path file, List<EvalModel> models, boolean reference, TokenSet tokens) {
        Sha256 digest = new Sha256().add(SCHEMA + reference + tokens.fingerprint());
        models.forEach(m -> digest.add(m.weights().fingerprint()));
        return new PartialResults(file, digest.hex(), tokens, models.size(), reference);
    }

    /// @return the scores of each model, by sequence
    Map<Integer, List<SequenceScores>> finished() {
        Map<Integer, List<SequenceScores>> out = new TreeMap<>();
        if (!Files.exists(file)) {
            return out;
        }
        if (!Files.isRegularFile(file)) {
            throw notScores();
        }
        try {
            String text = Files.readString(file);
            // what a stopped run left of its first line may be shorter
            if (!text.startsWith(BEGIN.substring(0, Math.min(BEGIN.length(), text.length())))) {
                throw notScores();
            }
            text.lines().forEach(line -> read(line, out));
            return out;
        } catch (MalformedInputException _) {
            throw notScores();
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be read", e);
        }
    }

    /// Says at once what would otherwise be said when the first windows are finished.
    void requireWritable() {
        try {
            Files.createDirectories(file.toAbsolutePath().getParent());
            Files.newOutputStream(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND).close();
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be written", e);
        }
    }

    private UsageException notScores() {
        return new UsageException(file + " is not a file of finished windows, so it is left as it is; choose another name for --partial");
    }

    private void read(String line, Map<Integer, List<SequenceScores>> out) {
        try {
            JsonNode node = MAPPER.readTree(line);
            int sequence = node.path("sequence").asInt(-1);
            if (!node.path("fingerprint").asText().equals(fingerprint) || sequence < 0 || sequence >= tokens.sequences().size() || node.path("models").size() != models) {
                return;
            }
            List<SequenceScores> scores = new ArrayList<>();
            for (JsonNode m : node.path("models")) {
                boolean compared = reference && !scores.isEmpty();
                float[] same = floats(m, "same_top", compared);
                boolean[] sameTop = same == null ? null : new boolean[same.length];
                for (int i = 0; same != null && i < same.length; i++) {
                    sameTop[i] = same[i] != 0;
                }
                scores.add(new SequenceScores(floats(m, "nll", true), floats(m, "kl", compared), floats(m, "delta_p", compared), sameTop));
            }
            if (scores.stream().allMatch(s -> s.nll().length == tokens.sequences().get(sequence).length - 1)) {
                out.put(sequence, scores);
            }
        } catch (JsonProcessingException | IllegalArgumentException _) {
            // the line that was being written when the run was stopped
        }
    }

    void append(int sequence, List<SequenceScores> scores) {
        ObjectNode node = MAPPER.createObjectNode().put("schema", SCHEMA).put("fingerprint", fingerprint).put("sequence", sequence);
        var list = node.putArray("models");
        for (SequenceScores s : scores) {
            ObjectNode m = list.addObject().put("nll", text(s.nll()));
            if (s.kl() != null) {
                float[] same = new float[s.sameTop().length];
                for (int i = 0; i < same.length; i++) {
                    same[i] = s.sameTop()[i] ? 1 : 0;
                }
                m.put("kl", text(s.kl())).put("delta_p", text(s.deltaP())).put("same_top", text(same));
            }
        }
        try {
            // a line that a stopped run left unfinished must not swallow this one
            boolean whole = !Files.exists(file) || Files.size(file) == 0 || endsWithNewline();
            Files.writeString(file, (whole ? "" : "\n") + MAPPER.writeValueAsString(node) + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be written", e);
        }
    }

    private boolean endsWithNewline() throws IOException {
        try (var channel = Files.newByteChannel(file)) {
            ByteBuffer last = ByteBuffer.allocate(1);
            channel.position(channel.size() - 1).read(last);
            return last.get(0) == '\n';
        }
    }

    private static String text(float[] x) {
        ByteBuffer b = ByteBuffer.allocate(4 * x.length).order(ByteOrder.LITTLE_ENDIAN);
        b.asFloatBuffer().put(x);
        return Base64.getEncoder().encodeToString(b.array());
    }

    private static float[] floats(JsonNode node, String key, boolean wanted) {
        if (!wanted) {
            return null;
        }
        byte[] bytes = Base64.getDecoder().decode(node.path(key).asText());
        float[] out = new float[bytes.length / 4];
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(out);
        return out;
    }
}
