package ram.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import ram.InputException;
import ram.format.Format;
import ram.format.QuantizedTensor;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// A file that gets shorter after it was opened. However a tensor is looked at, the sentence names it and its file.
class CutFileTest {
    private static final int EXPERTS = 4;
    private static final int ROWS = 96;
    private static final int COLUMNS = 128;

    @TempDir
    Path folder;

    private Path file() {
        return folder.resolve("model.safetensors");
    }

    private void cutOff(long bytes) throws IOException {
        try (RandomAccessFile f = new RandomAccessFile(file().toFile(), "rw")) {
            f.setLength(f.length() - bytes);
        }
    }

    private void assertNamed(String tensor, String how, Rows rows) {
        InputException e = assertThrows(InputException.class, () -> {
            for (RowBlocks.Block block : RowBlocks.of(rows)) {
                assertEquals(0, block.values()[0], how);
            }
        }, how);
        assertEquals(file() + ": tensor '" + tensor + "' cannot be read; the file was truncated while it was in use or the disk failed, run again when nothing writes to it or download it again",
                e.getMessage(), how);
    }

    /// The second tensor of two of the same size is gone.
    @ParameterizedTest
    @EnumSource(names = {"BF16", "F16", "F32", "F8_E4M3"})
    void everyViewNamesTheTensorBehindIt(DType type) throws IOException {
        Shape shape = Shape.of(EXPERTS, ROWS, COLUMNS);
        byte[] zeros = new byte[Math.toIntExact(shape.elements() * type.bytes())];
        new SafetensorsFile().add("experts.down", type, shape, zeros).add("experts.up", type, shape, zeros).write(file());
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            TensorView down = StoredTensor.of(checkpoint, "experts.down");
            TensorView up = StoredTensor.of(checkpoint, "experts.up");
            Map<String, TensorView> views = new LinkedHashMap<>();
            views.put("as it is", up);
            views.put("a half of each expert", Views.split(up, 1, 2, false).get(1));
            views.put("every second row", Views.split(up, 1, 2, true).get(1));
            views.put("turned", Views.swapAxes(up, 1, 2));
            views.put("a half, turned", Views.swapAxes(Views.split(up, 2, 2, false).get(0), 1, 2));
            views.put("stacked", Views.stack(List.of(down, up)));
            views.put("stacked and turned", Views.swapAxes(Views.stack(List.of(down, up)), 2, 3));
            views.put("under another type", Views.reinterpret(up, DType.F8_E4M3, Shape.of(EXPERTS * ROWS, (long) COLUMNS * type.bytes())));
            views.put("stacked, each turned", Views.stack(List.of(Views.swapAxes(down, 1, 2), Views.swapAxes(up, 1, 2))));
            if (type.isMlxFloat()) {
                views.put("computed", Views.scale(up, 0.5));
            }
            Rows.of(up).read(0, 1, new float[COLUMNS]);
            cutOff(zeros.length);
            views.forEach((how, view) -> assertNamed("experts.up", how, Rows.of(view)));
        }
    }

    /// Of a quantized weight the codes are whole and the scales are not.
    @Test
    void whatADecodedWeightLacksIsNamed() throws IOException {
        Format format = Format.affine(4, 64);
        Shape codes = Shape.of(ROWS * COLUMNS, COLUMNS * 4 / 32);
        Shape scales = Shape.of(ROWS * COLUMNS, COLUMNS / 64);
        new SafetensorsFile().add("q.weight", DType.U32, codes, new byte[Math.toIntExact(codes.elements() * 4)]).add("q.biases", DType.F32, scales, new byte[Math.toIntExact(scales.elements() * 4)])
                .add("q.scales", DType.F32, scales, new byte[Math.toIntExact(scales.elements() * 4)]).write(file());
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            QuantizedTensor tensor = QuantizedTensor.of(format, StoredTensor.of(checkpoint, "q.weight"), StoredTensor.of(checkpoint, "q.scales"), StoredTensor.of(checkpoint, "q.biases"));
            tensor.read(0, 1, new float[COLUMNS]);
            cutOff(4 * scales.elements());
            assertNamed("q.scales", "decoded", tensor);
        }
    }
}
