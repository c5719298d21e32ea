package ram.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

class StackTest {
    private static final int ROWS = 5;
    private static final int COLUMNS = 7;

    /// Stored experts, the second of them stored turned around: only what lies in one file as it is delivered is read where it lies.
    @Test
    void anyRowsAreTheSameMappedOrNot(@TempDir Path folder) throws IOException {
        float[] all = new float[3 * ROWS * COLUMNS];
        for (int i = 0; i < all.length; i++) {
            all[i] = i;
        }
        float[] turned = new float[ROWS * COLUMNS];
        for (int i = 0; i < turned.length; i++) {
            turned[i % COLUMNS * ROWS + i / COLUMNS] = all[turned.length + i];
        }
        new SafetensorsFile().floats("a", Shape.of(ROWS, COLUMNS), Arrays.copyOf(all, turned.length)).floats("b", Shape.of(COLUMNS, ROWS), turned)
                .floats("c", Shape.of(ROWS, COLUMNS), Arrays.copyOfRange(all, 2 * turned.length, all.length)).write(folder.resolve("model.safetensors"));
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            TensorView stack = Views.stack(List.of(StoredTensor.of(checkpoint, "a"), Views.swapAxes(StoredTensor.of(checkpoint, "b"), 0, 1), StoredTensor.of(checkpoint, "c")));
            assertEquals(Shape.of(3, ROWS, COLUMNS), stack.shape());
            for (int first = 0; first < 3 * ROWS; first++) {
                for (int count = 1; count <= 3 * ROWS - first; count++) {
                    float[] rows = new float[count * COLUMNS];
                    Rows.of(stack).read(first, count, rows);
                    assertArrayEquals(Arrays.copyOfRange(all, first * COLUMNS, (first + count) * COLUMNS), rows, first + " + " + count);
                    boolean inOne = first / ROWS == (first + count - 1) / ROWS && first / ROWS != 1;
                    assertEquals(inOne, stack.mapped((long) first * COLUMNS, (long) count * COLUMNS).isPresent(), first + " + " + count);
                }
            }
        }
    }

    /// Parts of parts: offsets of slices, stacks and other types add up.
    @Test
    void mappedElementsAreThoseThatAreRead(@TempDir Path folder) throws IOException {
        float[] values = new float[6 * COLUMNS];
        for (int i = 0; i < values.length; i++) {
            values[i] = i;
        }
        new SafetensorsFile().floats("a", Shape.of(6, COLUMNS), values).write(folder.resolve("model.safetensors"));
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            TensorView stored = StoredTensor.of(checkpoint, "a");
            TensorView halves = Views.stack(List.of(Views.slice(stored, 0, 4, 2, 1), Views.slice(stored, 0, 1, 2, 1)));
            TensorView bytes = Views.reinterpret(halves, DType.U8, Shape.of(2, 2, 4 * COLUMNS));
            for (TensorView view : List.of(stored, halves, bytes)) {
                long row = view.shape().columns();
                MemorySegment read = MemorySegment.ofArray(new byte[Math.toIntExact(row * view.dtype().bytes())]);
                for (long r = 0; r < view.shape().rows(); r++) {
                    view.read(r * row, read);
                    assertEquals(-1, read.mismatch(view.mapped(r * row, row).orElseThrow()));
                }
            }
            assertTrue(halves.mapped(COLUMNS, COLUMNS).isPresent());
            assertFalse(halves.mapped(COLUMNS, 2 * COLUMNS).isPresent());
        }
    }
}
