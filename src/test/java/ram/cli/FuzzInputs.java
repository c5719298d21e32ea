package ram.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/// Makes wrong files out of right ones.
final class FuzzInputs {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
    private static final String MARK = "@mark@";
    /// Values that stand in the text as they are.
    private static final List<String> RAW = List.of("1e400", "-1e400", "NaN", "99999999999999999999999", "9223372036854775807", "-9223372036854775808", "0.1e-9999999", "[".repeat(100_000),
            "{\"a\":".repeat(50_000), "\"" + "x".repeat(3_000_000) + "\"", "1" + "0".repeat(5_000), "\"\\ud800\"", "\u0000", "/**/", "{\"a\":1,\"a\":2}", "tru");
    private static final List<String> TEXTS = List.of("", "../canary", "../../../../../../etc/passwd", "/etc/passwd", "a\u0000b", "..", ".", "model.safetensors", "config.json", "in\n[31m", "C:\\\\x", "x".repeat(500),
            "U64", "F64", "BF16", "F8_E4M3", "I8", "BOOL", "float16", "dense", "4:64", "2:32", "9:7", "-1:-1", "mxfp4", "llama", "mixtral", "gpt_oss", "deepseek_v3", "mamba", "qwen3_next", "gemma3", "yarn", "silu");
    private static final long[] NUMBERS = {0, 1, -1, 2, 3, 7, 31, 64, 127, 128, 1000, 65536, 1L << 31, (1L << 31) - 1, -(1L << 31), 1L << 32, 1L << 40, 1L << 53, 1L << 62, Long.MAX_VALUE, Long.MIN_VALUE};

    private FuzzInputs() {
    }

    /// Changes a file in place and says how.
    static String change(Path file, SplittableRandom random) throws IOException {
        byte[] content = Files.readAllBytes(file);
        StringBuilder how = new StringBuilder();
        int times = random.nextInt(4) == 0 ? 1 + random.nextInt(4) : 1;
        for (int i = 0; i < times; i++) {
            how.append(i == 0 ? "" : ", then ");
            if (file.toString().endsWith(".safetensors")) {
                content = random.nextInt(3) == 0 ? bytes(content, random, how) : header(content, random, how);
            } else if (file.toString().endsWith(".json")) {
                content = random.nextInt(5) == 0 ? bytes(content, random, how) : json(content, random, how);
            } else {
                content = bytes(content, random, how);
            }
        }
        Files.delete(file);
        if (random.nextInt(60) == 0) {
            return how + instead(file, content, random);
        }
        Files.write(file, content);
        return how.toString();
    }

    /// Something other than a file, under the file's name.
    private static String instead(Path file, byte[] content, SplittableRandom random) throws IOException {
        switch (random.nextInt(5)) {
            case 0 -> {
                Files.createDirectory(file);
                return " as a folder";
            }
            case 1 -> {
                Files.createSymbolicLink(file, file.getFileName());
                return " as a link to itself";
            }
            case 2 -> {
                Files.createSymbolicLink(file, Path.of("nowhere"));
                return " as a link to nothing";
            }
            case 3 -> {
                Files.createSymbolicLink(file, Path.of("/dev/zero"));
                return " as a link to /dev/zero";
            }
            default -> {
                Files.createFile(file);
                return " as an empty file";
            }
        }
    }

    private static byte[] bytes(byte[] content, SplittableRandom random, StringBuilder how) {
        if (content.length == 0) {
            how.append("nothing");
            return content;
        }
        int at = random.nextInt(3) == 0 ? random.nextInt(content.length) : random.nextInt(Math.min(content.length, 600));
        int count = 1 + random.nextInt(random.nextInt(4) == 0 ? content.length : 16);
        int end = Math.min(content.length, at + count);
        how.append("bytes ").append(at).append(" to ").append(end).append(' ');
        switch (random.nextInt(6)) {
            case 0 -> {
                how.append("one bit");
                content[at] ^= (byte) (1 << random.nextInt(8));
                return content;
            }
            case 1 -> {
                how.append("cut off behind");
                return Arrays.copyOf(content, at);
            }
            case 2 -> {
                how.append("removed");
                byte[] out = Arrays.copyOf(content, content.length - (end - at));
                System.arraycopy(content, end, out, at, content.length - end);
                return out;
            }
            case 3 -> {
                how.append("doubled");
                byte[] out = Arrays.copyOf(content, content.length + end - at);
                System.arraycopy(content, at, out, end, content.length - at);
                return out;
            }
            case 4 -> {
                how.append("zero");
                Arrays.fill(content, at, end, (byte) 0);
                return content;
            }
            default -> {
                how.append("random");
                for (int i = at; i < end; i++) {
                    content[i] = (byte) random.nextInt(256);
                }
                return content;
            }
        }
    }

    /// Changes the JSON of a safetensors header, or its length; the length is right otherwise.
    private static byte[] header(byte[] content, SplittableRandom random, StringBuilder how) {
        if (content.length < 10) {
            return bytes(content, random, how);
        }
        ByteBuffer buffer = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
        long length = buffer.getLong(0);
        if (length < 2 || length > content.length - 8) {
            return bytes(content, random, how);
        }
        if (random.nextInt(8) == 0) {
            long other = random.nextBoolean() ? NUMBERS[random.nextInt(NUMBERS.length)] : length + random.nextInt(-9, 10);
            how.append("header length ").append(other);
            buffer.putLong(0, other);
            return content;
        }
        byte[] json = json(Arrays.copyOfRange(content, 8, 8 + (int) length), random, how);
        byte[] out = new byte[content.length - (int) length + json.length];
        ByteBuffer.wrap(out).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).put(json).put(content, 8 + (int) length, content.length - 8 - (int) length);
        return out;
    }

    private record Place(JsonNode parent, String key, int index) {
        JsonNode value() {
            return parent instanceof ObjectNode ? parent.get(key) : parent.get(index);
        }

        void set(JsonNode value) {
            if (parent instanceof ObjectNode o) {
                o.set(key, value);
            } else {
                ((ArrayNode) parent).set(index, value);
            }
        }

        void remove() {
            if (parent instanceof ObjectNode o) {
                o.remove(key);
            } else {
                ((ArrayNode) parent).remove(index);
            }
        }
    }

    private static byte[] json(byte[] content, SplittableRandom random, StringBuilder how) {
        JsonNode root;
        try {
            root = JSON.readTree(content);
        } catch (IOException e) {
            return bytes(content, random, how);
        }
        List<Place> places = new ArrayList<>();
        collect(root, places);
        if (places.isEmpty()) {
            return bytes(content, random, how);
        }
        // Shallow places as often as deep ones, of which there are many more.
        Place place = places.get(random.nextBoolean() ? random.nextInt(places.size()) : random.nextInt(Math.min(places.size(), 40)));
        how.append(place.key == null ? "[" + place.index + "]" : place.key).append(' ');
        String raw = null;
        switch (random.nextInt(10)) {
            case 0 -> {
                how.append("removed");
                place.remove();
            }
            case 1 -> {
                how.append("null");
                place.set(NODES.nullNode());
            }
            case 2, 3 -> {
                JsonNode number = number(place.value(), random);
                how.append("= ").append(number);
                place.set(number);
            }
            case 4 -> {
                String text = TEXTS.get(random.nextInt(TEXTS.size()));
                how.append("= '").append(text.length() > 40 ? text.substring(0, 40) : text).append('\'');
                place.set(NODES.textNode(text));
            }
            case 5 -> {
                how.append("= {} or []");
                place.set(random.nextBoolean() ? NODES.objectNode() : NODES.arrayNode());
            }
            case 6 -> {
                raw = RAW.get(random.nextInt(RAW.size()));
                how.append("= raw ").append(raw, 0, Math.min(20, raw.length()));
                place.set(NODES.textNode(MARK));
            }
            case 7 -> {
                how.append("as another place");
                place.set(places.get(random.nextInt(places.size())).value().deepCopy());
            }
            case 8 -> {
                how.append("under another name");
                if (place.parent instanceof ObjectNode o) {
                    o.set(TEXTS.get(random.nextInt(TEXTS.size())), place.value());
                    place.remove();
                } else {
                    ((ArrayNode) place.parent).add(place.value().deepCopy());
                }
            }
            default -> {
                how.append("= true");
                place.set(NODES.booleanNode(random.nextBoolean()));
            }
        }
        String text = root.toString();
        return (raw == null ? text : text.replace('"' + MARK + '"', raw)).getBytes(StandardCharsets.UTF_8);
    }

    private static JsonNode number(JsonNode old, SplittableRandom random) {
        if (old.isNumber() && random.nextBoolean()) {
            return old.isIntegralNumber() ? NODES.numberNode(old.asLong() + random.nextInt(-2, 3)) : NODES.numberNode(old.asDouble() * (random.nextDouble() * 4 - 2));
        }
        return random.nextInt(4) == 0 ? NODES.numberNode(random.nextBoolean() ? Double.MAX_VALUE : Double.MIN_VALUE) : NODES.numberNode(NUMBERS[random.nextInt(NUMBERS.length)]);
    }

    private static void collect(JsonNode node, List<Place> places) {
        if (node instanceof ObjectNode o) {
            for (Iterator<String> keys = o.fieldNames(); keys.hasNext();) {
                places.add(new Place(o, keys.next(), -1));
            }
        } else if (node instanceof ArrayNode a) {
            for (int i = 0; i < a.size(); i++) {
                places.add(new Place(a, null, i));
            }
        }
        node.forEach(child -> collect(child, places));
    }

    /// Splits a safetensors file in two.
    ///
    /// @return the names of the tensors by file
    static Map<String, List<String>> split(Path file, Path folder) throws IOException {
        byte[] content = Files.readAllBytes(file);
        int length = (int) ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
        ObjectNode header = (ObjectNode) JSON.readTree(Arrays.copyOfRange(content, 8, 8 + length));
        header.remove("__metadata__");
        Map<String, List<String>> out = new LinkedHashMap<>();
        List<String> names = new ArrayList<>();
        header.fieldNames().forEachRemaining(names::add);
        for (int half = 0; half < 2; half++) {
            List<String> mine = names.subList(half * names.size() / 2, (half + 1) * names.size() / 2);
            ByteArrayOutputStream data = new ByteArrayOutputStream();
            ObjectNode own = JSON.createObjectNode();
            for (String name : mine) {
                int from = header.get(name).path("data_offsets").get(0).asInt();
                int to = header.get(name).path("data_offsets").get(1).asInt();
                ObjectNode tensor = header.get(name).deepCopy();
                tensor.putArray("data_offsets").add(data.size()).add(data.size() + to - from);
                own.set(name, tensor);
                data.write(content, 8 + length + from, to - from);
            }
            byte[] json = own.toString().getBytes(StandardCharsets.UTF_8);
            String shard = "model-0000" + (half + 1) + "-of-00002.safetensors";
            ByteBuffer whole = ByteBuffer.allocate(8 + json.length + data.size()).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).put(json).put(data.toByteArray());
            Files.write(folder.resolve(shard), whole.array());
            out.put(shard, List.copyOf(mine));
        }
        return out;
    }
}
