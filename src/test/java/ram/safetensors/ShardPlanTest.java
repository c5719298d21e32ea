package ram.safetensors;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.safetensors.ShardPlan.Entry;

class ShardPlanTest {
    private static final long GIB = 1L << 30;

    private static Entry bytes(String name, long bytes) {
        return new Entry(name, DType.U8, Shape.of(bytes));
    }

    private static JsonNode header(ShardPlan.ShardFile file) throws Exception {
        long length = ByteBuffer.wrap(file.head()).order(ByteOrder.LITTLE_ENDIAN).getLong();
        assertEquals(file.head().length, length + 8);
        assertEquals(0, length % 8);
        return new ObjectMapper().readTree(file.head(), 8, (int) length);
    }

    @Test
    void cutsGreedilyInTheGivenOrder() throws Exception {
        ShardPlan plan = ShardPlan.of(List.of(bytes("a", 6 * GIB), bytes("b", 3 * GIB), bytes("c", 2 * GIB), bytes("d", 1), bytes("e", 0)));
        assertEquals(List.of("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"),
                plan.shards().stream().map(ShardPlan.ShardFile::fileName).toList());
        assertEquals("model-00002-of-00003.safetensors", plan.weightMap().get("c"));
        assertEquals(3 * GIB, header(plan.shards().get(1)).at("/c/data_offsets/0").asLong());
        assertEquals(5 * GIB, header(plan.shards().get(1)).at("/c/data_offsets/1").asLong());
        assertEquals("mlx", header(plan.shards().get(2)).at("/__metadata__/format").asText());
        assertEquals(11 * GIB + 1, plan.dataBytes());
    }

    @Test
    void theSizeIsTheSumOfEntriesAndFiles() {
        for (int n : new int[] {0, 1, 9, 300}) {
            List<Entry> entries = new ArrayList<>();
            long cost = 0;
            for (int i = 0; i < n; i++) {
                entries.add(new Entry("model.layers." + i + ".wéight\"\n", DType.BF16, Shape.of(i * 1000L, 1L << 12)));
                cost += ShardPlan.costBytes(entries.getLast());
            }
            ShardPlan plan = ShardPlan.of(entries);
            assertEquals(cost + plan.shards().size() * ShardPlan.FILE_BYTES, plan.totalBytes());
            assertTrue(plan.shards().size() * ShardPlan.FILE_BYTES <= ShardPlan.mostFileBytes(plan.totalBytes()));
        }
    }

    @Test
    void manyFilesStayWithinTheirBound() {
        List<Entry> entries = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            entries.add(bytes("t" + i, i % 2 == 0 ? 5 * GIB : 1));
        }
        ShardPlan plan = ShardPlan.of(entries);
        assertEquals(40, plan.shards().size());
        assertTrue(40 * ShardPlan.FILE_BYTES <= ShardPlan.mostFileBytes(plan.totalBytes()));
    }

    @Test
    void whatItPlansCanBeReadBack(@TempDir Path folder) throws Exception {
        List<Entry> entries = List.of(new Entry("a", DType.F32, Shape.of(3, 5)), new Entry("weird \" \\ name é", DType.U8, Shape.of()), new Entry("empty", DType.BF16, Shape.of(0, 4)));
        ShardPlan.ShardFile file = ShardPlan.of(entries).shards().getFirst();
        Path path = folder.resolve(file.fileName());
        Files.write(path, file.head());
        try (RandomAccessFile out = new RandomAccessFile(path.toFile(), "rw")) {
            out.setLength(file.fileBytes());
        }
        try (Shard shard = Shard.open(path)) {
            for (ShardPlan.Placed p : file.tensors()) {
                TensorInfo info = shard.tensors().get(p.entry().name());
                assertEquals(new TensorInfo(p.entry().name(), p.entry().dtype(), p.entry().shape(), p.offset()), info);
            }
            assertEquals(3, shard.tensors().size());
        }
    }

    @Test
    void refusesTwoTensorsOfOneName() {
        assertThrows(IllegalArgumentException.class, () -> ShardPlan.of(List.of(bytes("a", 1), bytes("a", 2))));
    }
}
