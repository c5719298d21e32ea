package ram.safetensors;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.InputException;
import ram.Sha256;

class CheckpointTest {
    @TempDir
    Path folder;

    private String refusal() {
        return assertThrows(InputException.class, () -> Checkpoint.open(folder).close()).getMessage();
    }

    private void index(String weightMap) throws IOException {
        Files.writeString(folder.resolve(Checkpoint.INDEX), "{\"metadata\":{},\"weight_map\":{" + weightMap + "}}");
    }

    @Test
    void readsTensorsOfAllShards() throws IOException {
        new SafetensorsFile().floats("a", Shape.of(2), 1, 2).write(folder.resolve("model-00001-of-00002.safetensors"));
        new SafetensorsFile().floats("b", Shape.of(1, 2), 3, 4).write(folder.resolve("model-00002-of-00002.safetensors"));
        index("\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"");
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            assertEquals(List.of("a", "b"), List.copyOf(checkpoint.tensors().keySet()));
            assertEquals(Shape.of(1, 2), checkpoint.tensor("b").orElseThrow().shape());
            assertEquals(4f, checkpoint.data("b").get(LittleEndian.FLOAT, 4));
            assertEquals("model-00001-of-00002.safetensors", checkpoint.fileOf("a").getFileName().toString());
        }
    }

    @Test
    void everyDTypeIsRead() throws IOException {
        SafetensorsFile file = new SafetensorsFile();
        for (DType dtype : DType.values()) {
            file.add("t." + dtype, dtype, Shape.of(3), new byte[3 * dtype.bytes()]);
        }
        file.write(folder.resolve("model.safetensors"));
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            for (DType dtype : DType.values()) {
                assertEquals(3L * dtype.bytes(), checkpoint.data("t." + dtype).byteSize());
            }
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            {"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}} | tensors 'a' and 'b' overlap
            {"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}                    | claims bytes 0 to 36 of a data section of 16 bytes
            {"a":{"dtype":"F32","shape":[2],"data_offsets":[0,12]}}                    | needs 8 bytes, but its data_offsets span 12
            {"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}                     | claims bytes 8 to 0
            {"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}                    | lacks a valid dtype, shape or data_offsets
            {"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}                   | lacks a valid dtype, shape or data_offsets
            {"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}} | has the impossible shape
            {"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,0]}}  | lacks a valid dtype, shape or data_offsets
            {"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}}                      | has the dtype Q4, which ram does not read
            {"a":{"dtype":"F32","shape":[2]}}                                          | lacks a valid dtype, shape or data_offsets
            {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}} | is not valid JSON (line 1, column 58: Duplicate field 'a'); it is corrupt
            {"a":7}                                                                    | is not described by an object
            {"__metadata__":{"format":1}}                                              | has a __metadata__ value that is not text
            [1,2]                                                                      | has a header that is not a JSON object
            {"a"                                                                       | is not valid JSON (line 1, column 5: Unexpected end-of-input within/between Object entries); it is corrupt
            {} {}                                                                      | has text after the end
            """)
    void wrongHeadersAreRefused(String json, String reason) throws IOException {
        Path file = SafetensorsFile.raw(folder.resolve("model.safetensors"), json, new byte[16]);
        String message = refusal();
        assertTrue(message.startsWith(file.toString()), message);
        assertTrue(message.contains(reason), message);
        assertEquals(1, message.lines().count());
    }

    @Test
    void headerLargerThanTheFile() throws IOException {
        Files.write(folder.resolve("model.safetensors"), ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putLong(1 << 20).array());
        assertTrue(refusal().contains("says its header is 1048576 bytes long, but only 8 bytes follow"));
    }

    @Test
    void truncatedShard() throws IOException {
        Path file = new SafetensorsFile().floats("a", Shape.of(4), 1, 2, 3, 4).write(folder.resolve("model.safetensors"));
        byte[] all = Files.readAllBytes(file);
        Files.write(file, Arrays.copyOf(all, all.length - 1));
        assertTrue(refusal().contains("tensor 'a' claims bytes 0 to 16 of a data section of 15 bytes; the file is truncated"));
        Files.write(file, new byte[5]);
        assertTrue(refusal().contains("is 5 bytes long, too short"));
    }

    @Test
    void missingShardAndWrongIndex() throws IOException {
        index("\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"");
        new SafetensorsFile().floats("a", Shape.of(1), 1).write(folder.resolve("model-00001-of-00002.safetensors"));
        assertTrue(refusal().contains("model-00002-of-00002.safetensors: is missing"));
        new SafetensorsFile().floats("c", Shape.of(1), 1).write(folder.resolve("model-00002-of-00002.safetensors"));
        assertTrue(refusal().contains("lists the tensor 'b', but model-00002-of-00002.safetensors does not hold it"));
        new SafetensorsFile().floats("b", Shape.of(1), 1).floats("d", Shape.of(1), 1).write(folder.resolve("model-00002-of-00002.safetensors"));
        assertTrue(refusal().contains("does not list the tensor 'd'"));
        index("\"a\":\"model-00002-of-00002.safetensors\",\"b\":\"model-00001-of-00002.safetensors\",\"d\":\"model-00002-of-00002.safetensors\"");
        assertTrue(refusal().contains("says the tensor 'a' is in model-00002-of-00002.safetensors, but it is in model-00001-of-00002.safetensors"));
        index("\"a\":\"../secret.safetensors\"");
        assertTrue(refusal().contains("which is not the name of a safetensors file in this folder"));
        Files.writeString(folder.resolve(Checkpoint.INDEX), "{");
        assertTrue(refusal().contains("is not valid JSON"));
    }

    @Test
    void tensorInTwoShards() throws IOException {
        new SafetensorsFile().floats("a", Shape.of(1), 1).write(folder.resolve("model-1.safetensors"));
        new SafetensorsFile().floats("a", Shape.of(1), 1).write(folder.resolve("model-2.safetensors"));
        assertTrue(refusal().contains("the tensor 'a' is stored twice, in model-1.safetensors and in model-2.safetensors"));
    }

    @Test
    void aSingleFileBesideAnIndex() throws IOException {
        new SafetensorsFile().floats("a", Shape.of(1), 1).write(folder.resolve("model-00001-of-00001.safetensors"));
        index("\"a\":\"model-00001-of-00001.safetensors\"");
        Path single = folder.resolve("model.safetensors");
        new SafetensorsFile().floats("b", Shape.of(1), 2).write(single);
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            assertEquals(List.of("a"), List.copyOf(checkpoint.tensors().keySet()));
        }
        Files.write(single, new byte[5]);
        Checkpoint.open(folder).close();
        new SafetensorsFile().floats("a", Shape.of(1), 2).write(single);
        assertTrue(refusal().contains("the tensor 'a' is stored in model.safetensors, and by model.safetensors.index.json in model-00001-of-00001.safetensors too"));
        index("\"a\":\"model.safetensors\"");
        Checkpoint.open(folder).close();
    }

    @Test
    void emptyFolderAndFile() throws IOException {
        assertTrue(refusal().contains("holds no *.safetensors file"));
        Path file = Files.createFile(folder.resolve("x"));
        assertTrue(assertThrows(InputException.class, () -> Checkpoint.open(file)).getMessage().contains("is not a folder"));
        assertTrue(assertThrows(InputException.class, () -> Checkpoint.open(folder.resolve("y"))).getMessage().contains("does not exist"));
    }

    @Test
    void mapsMoreThanTwoGigabytesAsOneSegment() throws IOException {
        long elements = 3L << 29;
        byte[] json = ("{\"a\":{\"dtype\":\"F32\",\"shape\":[" + elements + "],\"data_offsets\":[0," + elements * 4 + "]}}").getBytes(StandardCharsets.UTF_8);
        long dataStart = 8 + json.length;
        // Sparse: six gigabytes that cost a few kilobytes.
        try (RandomAccessFile file = new RandomAccessFile(folder.resolve("model.safetensors").toFile(), "rw")) {
            file.setLength(dataStart + elements * 4);
            file.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).array());
            file.write(json);
            for (long at : new long[] {0, (1L << 31) - 4, 1L << 31, elements * 4 - 4}) {
                file.seek(dataStart + at);
                file.write(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(at).array());
            }
        }
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            MemorySegment data = checkpoint.data("a");
            assertEquals(elements * 4, data.byteSize());
            for (long at : new long[] {0, (1L << 31) - 4, 1L << 31, elements * 4 - 4}) {
                assertEquals((float) at, data.get(LittleEndian.FLOAT, at));
            }
        }
    }

    @Test
    void fileThatIsWrittenToWhileItIsRead() throws IOException {
        Path file = new SafetensorsFile().floats("a", Shape.of(4), 1, 2, 3, 4).write(folder.resolve("model.safetensors"));
        Files.setLastModifiedTime(file, FileTime.fromMillis(1_000_000));
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            checkpoint.requireUnchanged();
            Files.setLastModifiedTime(file, FileTime.fromMillis(1_000_001));
            assertTrue(assertThrows(InputException.class, checkpoint::requireUnchanged).getMessage().endsWith("model.safetensors: was changed while it was being read; run again when nothing writes to it"));
        }
    }

    @Test
    void fileThatChangesSizeAfterItsHeaderWasRead() throws IOException {
        Path file = new SafetensorsFile().floats("a", Shape.of(4), 1, 2, 3, 4).write(folder.resolve("model.safetensors"));
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            Files.write(file, new byte[10]);
            assertTrue(assertThrows(InputException.class, () -> checkpoint.data("a")).getMessage().contains("while it was being read"));
        }
    }

    @Test
    void theStartsOfTensorsAreDigestedOnce() throws IOException {
        byte[] large = new byte[1000];
        new Random(5).nextBytes(large);
        Path file = new SafetensorsFile().add("a", DType.U8, Shape.of(1000), large).add("b", DType.U8, Shape.of(2), new byte[] {1, 2}).add("c", DType.U8, Shape.of(0), new byte[0])
                .write(folder.resolve("model.safetensors"));
        byte[] whole = Files.readAllBytes(file);
        String digest = new Sha256().add(Arrays.copyOf(large, 256)).add(new byte[] {1, 2}).hex();
        for (boolean mapped : new boolean[] {false, true}) {
            Files.write(file, whole);
            try (Shard shard = Shard.open(file); Shard cut = Shard.open(file)) {
                if (mapped) {
                    cut.data(cut.tensors().get("b"));
                }
                assertEquals(digest, shard.startsSha256());
                byte[] other = whole.clone();
                other[other.length - 2]++;
                Files.write(file, other);
                assertEquals(digest, shard.startsSha256());
                Files.write(file, Arrays.copyOf(whole, whole.length / 2));
                for (Shard s : List.of(shard, cut)) {
                    assertTrue(assertThrows(InputException.class, s::startsSha256).getMessage()
                            .endsWith("model.safetensors: changed from " + whole.length + " to " + whole.length / 2 + " bytes while it was being read; run again when nothing writes to it"));
                }
                Files.delete(file);
                assertEquals(digest, shard.startsSha256());
            }
        }
    }
}
