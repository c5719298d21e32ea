package ram.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.numeric.Decoder;
import ram.safetensors.Checkpoint;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

class StackTest {
    private static final int ROWS = 5;
    private static final int COLUMNS = 7;

    private static float[] upTo(int end) {
        float[] values = new float[end];
        for (int i = 0; i < end; i++) {
            values[i] = i;
        }
        return values;
    }

    /// With a tensor `a` whose elements are 0, 1, 2, …
    private static Checkpoint countingUp(Path folder, long... dims) throws IOException {
        Shape shape = Shape.of(dims);
        new SafetensorsFile().floats("a", shape, upTo(Math.toIntExact(shape.elements()))).write(folder.resolve("model.safetensors"));
        return Checkpoint.open(folder);
    }

    /// Stored experts, the second of them stored turned around: only what lies in one file as it is delivered is read where it lies.
    @Test
    void anyRowsAreTheSameMappedOrNot(@TempDir Path folder) throws IOException {
        float[] all = upTo(3 * ROWS * COLUMNS);
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

    /// Halves of experts, as checkpoints fuse gate and up: rows of one expert lie side by side, those of two do not.
    @Test
    void halvesOfEachExpert(@TempDir Path folder) throws IOException {
        try (Checkpoint checkpoint = countingUp(folder, 3, 4, COLUMNS)) {
            TensorView up = Views.split(StoredTensor.of(checkpoint, "a"), 1, 2, false).getLast();
            assertEquals(Shape.of(3, 2, COLUMNS), up.shape());
            for (int first = 0; first < 6 * COLUMNS; first++) {
                for (int count = 1; count <= 6 * COLUMNS - first; count++) {
                    float[] expected = new float[count];
                    for (int i = 0; i < count; i++) {
                        int element = first + i;
                        expected[i] = element / (2 * COLUMNS) * 4 * COLUMNS + 2 * COLUMNS + element % (2 * COLUMNS);
                    }
                    float[] found = new float[count + 1];
                    up.read(first, found, 1, count);
                    assertArrayEquals(expected, Arrays.copyOfRange(found, 1, count + 1));
                    byte[] bytes = new byte[4 * count];
                    up.read(first, MemorySegment.ofArray(bytes));
                    Decoder.decode(DType.F32, MemorySegment.ofArray(bytes), 0, found, 0, count);
                    assertArrayEquals(expected, Arrays.copyOf(found, count));
                    assertEquals(first / (2 * COLUMNS) == (first + count - 1) / (2 * COLUMNS), up.mapped(first, count).isPresent());
                }
            }
        }
    }

    /// What is held reads as what it was gathered from, and what lies in a file is not held.
    @Test
    void heldRowsAreTheSame(@TempDir Path folder) throws IOException {
        try (Checkpoint checkpoint = countingUp(folder, 3, 4, COLUMNS); Arena arena = Arena.ofConfined()) {
            TensorView turned = Views.swapAxes(StoredTensor.of(checkpoint, "a"), -1, -2);
            Rows held = Rows.held(turned, COLUMNS, 2 * COLUMNS, 1000, arena);
            float[] expected = new float[COLUMNS * 4];
            float[] found = new float[expected.length];
            Rows.of(turned).read(COLUMNS + 3, COLUMNS, expected);
            held.read(3, COLUMNS, found);
            assertArrayEquals(expected, found);
            assertEquals(2 * COLUMNS, held.rows());
        }
    }

    /// Parts of parts: offsets of slices, stacks and other types add up.
    @Test
    void mappedElementsAreThoseThatAreRead(@TempDir Path folder) throws IOException {
        try (Checkpoint checkpoint = countingUp(folder, 6, COLUMNS)) {
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
