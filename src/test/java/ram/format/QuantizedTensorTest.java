package ram.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.tensor.TensorView;

class QuantizedTensorTest {
    private record View(Golden golden, String name, boolean isMapped) implements TensorView {
        @Override
        public DType dtype() {
            return golden.info(name).dtype();
        }

        @Override
        public Shape shape() {
            return golden.info(name).shape();
        }

        @Override
        public void read(long first, MemorySegment target) {
            MemorySegment.copy(golden.data(name), first * dtype().bytes(), target, 0, target.byteSize());
        }

        @Override
        public List<String> sources() {
            return List.of(name);
        }

        @Override
        public Optional<MemorySegment> mapped(long first, long count) {
            return isMapped ? Optional.of(golden.data(name).asSlice(first * dtype().bytes(), count * dtype().bytes())) : Optional.empty();
        }
    }

    /// Rows of experts are counted through; mapped or not makes no difference.
    @Test
    void anyRowsOfAnExpertStack() {
        Golden golden = Golden.open("affine_3d_bfloat16");
        Format format = Format.affine(3, 64);
        float[] whole = new float[32 * 256];
        new BlockCoder(format, Quantizer.RTN, DType.BF16).decode(golden.data("q.3.64.weight"), golden.data("q.3.64.scales"), golden.data("q.3.64.biases"), 32, 256, whole);
        for (boolean mapped : new boolean[] {true, false}) {
            QuantizedTensor tensor = QuantizedTensor.of(format, new View(golden, "q.3.64.weight", mapped), new View(golden, "q.3.64.scales", mapped), new View(golden, "q.3.64.biases", mapped));
            assertEquals(Shape.of(4, 8, 256), tensor.shape());
            float[] rows = new float[3 * 256];
            tensor.read(7, 3, rows);
            assertArrayEquals(Arrays.copyOfRange(whole, 7 * 256, 10 * 256), rows);
        }
    }

    @Test
    void floatsHaveNoBiases() {
        Golden golden = Golden.open("fp_bfloat16");
        QuantizedTensor tensor = QuantizedTensor.of(Format.NVFP4, new View(golden, "q.nvfp4.weight", true), new View(golden, "q.nvfp4.scales", true), null);
        float[] rows = new float[2 * 256];
        tensor.read(1, 2, rows);
        assertArrayEquals(Arrays.copyOfRange(golden.floats("deq.nvfp4"), 256, 3 * 256), rows);
    }

    @Test
    void partsThatDoNotFitAreRefused() {
        Golden golden = Golden.open("affine_bfloat16");
        View codes = new View(golden, "q.4.64.weight", true);
        View scales = new View(golden, "q.4.64.scales", true);
        View other = new View(golden, "q.4.32.biases", true);
        assertTrue(assertThrows(IllegalArgumentException.class, () -> QuantizedTensor.of(Format.affine(4, 64), codes, scales, other)).getMessage().startsWith("biases is BF16"));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> QuantizedTensor.of(Format.affine(4, 64), codes, scales, null)).getMessage().startsWith("biases is missing"));
    }
}
