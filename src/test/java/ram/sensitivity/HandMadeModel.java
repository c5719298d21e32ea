package ram.sensitivity;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import ram.layout.Architecture;
import ram.layout.Kind;
import ram.layout.Layout;
import ram.layout.Module;
import ram.numeric.Workers;
import ram.safetensors.DType;
import ram.safetensors.LittleEndian;
import ram.safetensors.Shape;
import ram.tensor.TensorView;

/// A decoder of one layer with weights that a test chooses.
final class HandMadeModel {
    /// A float32 tensor in memory.
    private record Floats(Shape shape, float[] data) implements TensorView {
        @Override
        public DType dtype() {
            return DType.F32;
        }

        @Override
        public void read(long first, MemorySegment target) {
            for (int i = 0; i < target.byteSize() / 4; i++) {
                target.set(LittleEndian.FLOAT, 4L * i, data[(int) first + i]);
            }
        }

        @Override
        public List<String> sources() {
            return List.of("memory");
        }
    }

    final List<Module> modules = new ArrayList<>();
    final List<Layout.Plain> plain = new ArrayList<>();
    final ObjectNode config = new ObjectMapper().createObjectNode();
    final Map<String, float[]> data = new HashMap<>();
    String family = "llama";
    Propagation.Result result;

    HandMadeModel matrix(String path, Kind kind, int rows, int columns, float[] values) {
        return add(path, kind, Shape.of(rows, columns), values);
    }

    HandMadeModel add(String path, Kind kind, Shape shape, float[] values) {
        int experts = shape.rank() == 3 ? (int) shape.dim(0) : 1;
        long rows = shape.rows() / experts;
        List<Module.Part> parts = new ArrayList<>();
        for (int e = 0; e < experts; e++) {
            parts.add(new Module.Part(path + e, e * rows, rows));
        }
        modules.add(new Module(path, kind, path.contains(".layers.") ? 0 : -1, new Floats(shape, values), parts, Optional.empty(),
                Optional.empty(), shape.rank() == 3, false));
        data.put(path, values);
        return this;
    }

    HandMadeModel vector(String name, float... values) {
        plain.add(new Layout.Plain(name, new Floats(Shape.of(values.length), values), "vector", false));
        data.put(name, values);
        return this;
    }

    Map<String, ModuleWeights> walk(int threads) {
        Layout layout = new Layout(new Architecture(family, family, true, Architecture.Structure.DENSE, true, List.of()), modules, plain,
                List.of(), List.of(), config);
        Map<String, ModuleWeights> out = new HashMap<>();
        try (Workers workers = new Workers(threads)) {
            result = Propagation.walk(layout, workers, (layer, list) -> list.forEach(w -> {
                assertEquals(layer, w.module().layer());
                out.put(w.module().path(), w);
            }));
        }
        assertEquals(modules.size(), out.size());
        return out;
    }

    double start() {
        return result.residualPower().get(0);
    }

    double added() {
        return result.residualPower().get(1) - start();
    }

    static float[] gaussian(int n, double std, Random random) {
        float[] w = new float[n];
        for (int i = 0; i < n; i++) {
            w[i] = (float) (std * random.nextGaussian());
        }
        return w;
    }

    static float[] filled(int n, double value) {
        float[] w = new float[n];
        Arrays.fill(w, (float) value);
        return w;
    }

    static double[] all(int n, double value) {
        double[] v = new double[n];
        Arrays.fill(v, value);
        return v;
    }

    static float[] diagonal(int rows, int columns, double value) {
        float[] w = new float[rows * columns];
        for (int i = 0; i < rows; i++) {
            w[i * columns + i] = (float) value;
        }
        return w;
    }

    static Term term(Map<String, ModuleWeights> weights, String path) {
        ModuleWeights w = weights.get(path);
        assertEquals(ModuleWeights.Source.PROPAGATED, w.source(), path);
        return w.parts().getFirst().getFirst();
    }
}
