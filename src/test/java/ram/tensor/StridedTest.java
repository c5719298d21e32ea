package ram.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import ram.safetensors.DType;
import ram.safetensors.Shape;

class StridedTest {
    private record Bytes(DType dtype, Shape shape, byte[] data) implements TensorView {
        @Override
        public void read(long first, MemorySegment target) {
            MemorySegment.copy(MemorySegment.ofArray(data), first * dtype.bytes(), target, 0, target.byteSize());
        }

        @Override
        public List<String> sources() {
            return List.of("bytes");
        }
    }

    /// Tiles end inside both axes; pieces start and end inside rows and matrices.
    @ParameterizedTest
    @EnumSource(names = {"U8", "BF16", "F32", "I64"})
    void transposedMatricesInPieces(DType dtype) {
        int matrices = 2;
        int rows = 150;
        int columns = 203;
        int size = dtype.bytes();
        byte[] data = new byte[matrices * rows * columns * size];
        new Random(7).nextBytes(data);
        byte[] expected = new byte[data.length];
        for (int m = 0; m < matrices; m++) {
            for (int r = 0; r < rows; r++) {
                for (int c = 0; c < columns; c++) {
                    System.arraycopy(data, ((m * rows + r) * columns + c) * size, expected, ((m * columns + c) * rows + r) * size, size);
                }
            }
        }
        TensorView view = Views.swapAxes(new Bytes(dtype, Shape.of(matrices, rows, columns), data), -1, -2);
        for (int piece : new int[] {1_000, 29_999, matrices * rows * columns}) {
            byte[] found = new byte[data.length];
            for (int first = 0; first < matrices * rows * columns; first += piece) {
                int count = Math.min(piece, matrices * rows * columns - first);
                view.read(first, MemorySegment.ofArray(found).asSlice((long) first * size, (long) count * size));
            }
            assertArrayEquals(expected, found, "pieces of " + piece);
        }
    }
}
