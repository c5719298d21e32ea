package ram.safetensors;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.CharConversionException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ram.InputException;
import ram.NotJson;

/// The header of one safetensors file: an 8-byte little-endian length, then JSON that maps tensor names to dtype, shape and byte range.
/// Everything is checked against the file before any of its data is mapped.
///
/// @param tensors by name, in the order in which their data lies in the file
/// @param metadata the `__metadata__` object, empty when absent
/// @param json the raw bytes of the header's JSON, as they stand in the file
public record Header(Map<String, TensorInfo> tensors, Map<String, String> metadata, byte[] json) {
    /// The limit of the reference implementation of the format.
    static final long MAX_JSON_BYTES = 100_000_000;

    private static final String POINTER = "version https://git-lfs";

    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(8).maxNumberLength(20).build())
            .build();

    /// Reads and checks the header of `file`.
    ///
    /// @throws InputException when the header or a byte range cannot be right
    /// @throws IOException when the file cannot be read
    public static Header read(Path file, FileChannel channel) throws IOException {
        long size = channel.size();
        if (size < 8) {
            throw InputException.in(file, "is " + size + " bytes long, too short for a safetensors file; download it again");
        }
        long length = readFully(file, channel, 0, 8).order(ByteOrder.LITTLE_ENDIAN).getLong();
        if (length < 2 || length > size - 8) {
            refusePointer(file, channel, size);
            throw InputException.in(file, "says its header is " + Long.toUnsignedString(length) + " bytes long, but only " + (size - 8)
                    + " bytes follow; the file is truncated or not safetensors, download it again");
        }
        if (length > MAX_JSON_BYTES) {
            throw InputException.in(file, "has a header of " + length + " bytes, over the limit of " + MAX_JSON_BYTES);
        }
        byte[] json = readFully(file, channel, 8, Math.toIntExact(length)).array();
        Map<String, String> metadata = new LinkedHashMap<>();
        List<TensorInfo> tensors = parse(file, json, 8 + length, size, metadata);
        return new Header(inDataOrder(file, tensors), metadata, json);
    }

    /// A clone without git-LFS has a few lines of text in the place of each large file.
    private static void refusePointer(Path file, FileChannel channel, long size) throws IOException {
        byte[] start = readFully(file, channel, 0, (int) Math.min(size, POINTER.length())).array();
        if (new String(start, StandardCharsets.ISO_8859_1).equals(POINTER)) {
            throw InputException.in(file, "is a git-LFS pointer, not the weights; run `git lfs pull` in its folder, or download the file");
        }
    }

    private static ByteBuffer readFully(Path file, FileChannel channel, long position, int length) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer, position + buffer.position()) < 0) {
                throw InputException.in(file, "ended while its header was read; download it again");
            }
        }
        return buffer.flip();
    }

    private static List<TensorInfo> parse(Path file, byte[] json, long dataStart, long fileSize, Map<String, String> metadata) throws IOException {
        List<TensorInfo> tensors = new ArrayList<>();
        try (JsonParser parser = JSON.createParser(json)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw InputException.in(file, "has a header that is not a JSON object; it is not a safetensors file");
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                JsonToken value = parser.nextToken();
                if (name.equals("__metadata__")) {
                    readMetadata(file, parser, value, metadata);
                } else {
                    tensors.add(readTensor(file, parser, value, name, dataStart, fileSize));
                }
            }
            if (parser.nextToken() != null) {
                throw InputException.in(file, "has text after the end of its header's JSON; it is corrupt");
            }
        } catch (JsonProcessingException | CharConversionException e) {
            throw NotJson.inHeader(file, e, "it is corrupt, download it again");
        }
        return tensors;
    }

    private static void readMetadata(Path file, JsonParser parser, JsonToken value, Map<String, String> metadata) throws IOException {
        if (value == JsonToken.VALUE_NULL) {
            return;
        }
        if (value != JsonToken.START_OBJECT) {
            throw InputException.in(file, "has a __metadata__ that is not an object; it is corrupt");
        }
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            if (parser.nextToken() != JsonToken.VALUE_STRING) {
                throw InputException.in(file, "has a __metadata__ value that is not text at '" + key + "'; it is corrupt");
            }
            metadata.put(key, parser.getText());
        }
    }

    private static TensorInfo readTensor(Path file, JsonParser parser, JsonToken value, String name, long dataStart, long fileSize) throws IOException {
        String where = "tensor '" + name + "'";
        if (name.isEmpty() || value != JsonToken.START_OBJECT) {
            throw InputException.in(file, where + " is not described by an object in the header; the file is corrupt");
        }
        if (name.chars().anyMatch(Character::isISOControl)) {
            throw InputException.in(file, where + " has control characters in its name; the file is corrupt");
        }
        String dtypeName = null;
        List<Long> dims = null;
        List<Long> range = null;
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            JsonToken token = parser.nextToken();
            switch (key) {
                case "dtype" -> dtypeName = token == JsonToken.VALUE_STRING ? parser.getText() : null;
                case "shape" -> dims = readLongs(parser, token);
                case "data_offsets" -> range = readLongs(parser, token);
                default -> parser.skipChildren();
            }
        }
        if (dtypeName == null || dims == null || range == null || range.size() != 2) {
            throw InputException.in(file, where + " lacks a valid dtype, shape or data_offsets; the file is corrupt");
        }
        Optional<DType> dtype = DType.named(dtypeName);
        if (dtype.isEmpty()) {
            throw InputException.in(file, where + " has the dtype " + dtypeName + ", which ram does not read; convert it to BF16, F16 or F32 first");
        }
        long begin = range.get(0);
        long end = range.get(1);
        if (begin > end || end > fileSize - dataStart) {
            throw InputException.in(file, where + " claims bytes " + begin + " to " + end + " of a data section of " + (fileSize - dataStart)
                    + " bytes; the file is truncated or corrupt, download it again");
        }
        TensorInfo info;
        long needed;
        try {
            info = new TensorInfo(name, dtype.get(), new Shape(dims), dataStart + begin);
            needed = info.bytes();
        } catch (ArithmeticException e) {
            throw InputException.in(file, where + " has the impossible shape " + dims + "; the file is corrupt");
        }
        if (needed != end - begin) {
            throw InputException.in(file, where + " of shape " + info.shape() + " and dtype " + dtypeName + " needs " + needed + " bytes, but its data_offsets span "
                    + (end - begin) + "; the file is corrupt");
        }
        return info;
    }

    /// A list of non-negative integers, or null when the value is anything else.
    private static List<Long> readLongs(JsonParser parser, JsonToken token) throws IOException {
        if (token != JsonToken.START_ARRAY) {
            parser.skipChildren();
            return null;
        }
        List<Long> out = new ArrayList<>();
        boolean valid = true;
        for (JsonToken t = parser.nextToken(); t != JsonToken.END_ARRAY; t = parser.nextToken()) {
            if (t == null) {
                return null;
            }
            boolean isLong = t == JsonToken.VALUE_NUMBER_INT && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
            if (isLong && parser.getLongValue() >= 0) {
                out.add(parser.getLongValue());
            } else {
                valid = false;
                parser.skipChildren();
            }
        }
        return valid ? out : null;
    }

    private static Map<String, TensorInfo> inDataOrder(Path file, List<TensorInfo> tensors) {
        List<TensorInfo> sorted = new ArrayList<>(tensors);
        sorted.sort(Comparator.comparingLong(TensorInfo::offset).thenComparingLong(TensorInfo::bytes).thenComparing(TensorInfo::name));
        Map<String, TensorInfo> out = new LinkedHashMap<>();
        TensorInfo previous = null;
        for (TensorInfo t : sorted) {
            if (previous != null && t.bytes() > 0 && t.offset() < previous.offset() + previous.bytes()) {
                throw InputException.in(file, "tensors '" + previous.name() + "' and '" + t.name() + "' overlap; the file is corrupt, download it again");
            }
            if (t.bytes() > 0) {
                previous = t;
            }
            out.put(t.name(), t);
        }
        return out;
    }
}
