package ram.eval;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import ram.InputException;
import ram.Sha256;
import ram.format.Format;
import ram.format.QuantizedTensor;
import ram.layout.ExpectedTensors;
import ram.layout.Layout;
import ram.layout.Layouts;
import ram.layout.ModelConfig;
import ram.layout.Module;
import ram.layout.QuantizationSettings;
import ram.numeric.Decoder;
import ram.safetensors.Checkpoint;
import ram.safetensors.MappedPages;
import ram.safetensors.TensorInfo;
import ram.tensor.Rows;
import ram.tensor.StoredTensor;
import ram.tensor.TensorView;
import ram.verify.LoadCheck;

/// The weights of a model folder: a Hugging Face checkpoint, or one that MLX has quantized.
final class FolderWeights implements WeightSource {
    private static final long DIGEST_BYTES = 1 << 20;

    private final Checkpoint checkpoint;
    private final ModelConfig config;
    private final List<String> notes;
    private final Map<String, TensorView> views = new TreeMap<>();
    /// Of what a checkpoint stores quantized; an MLX folder says it in config.json.
    private final Map<String, Format> formats = new HashMap<>();
    private String fingerprint;

    private FolderWeights(Checkpoint checkpoint, ModelConfig config) {
        this.checkpoint = checkpoint;
        // a family that cannot be run is the first thing to say
        NetworkReader.requireFamily(config);
        if (config.json().path("quantization").isObject()) {
            // already in the form that MLX loads
            require(LoadCheck.problems(checkpoint, config), "verify the folder");
            this.config = config;
            notes = NetworkReader.notes(config);
            checkpoint.tensors().keySet().forEach(name -> views.put(name, StoredTensor.of(checkpoint, name)));
            return;
        }
        Layout layout = Layouts.of(checkpoint, config);
        require(ExpectedTensors.problems(layout, config), "correct config.json, or download both again");
        // what an output would say: the keys that mlx_lm's class reads
        this.config = new ModelConfig(config.file(), layout.config());
        notes = Stream.concat(layout.architecture().assumptions().stream(), NetworkReader.notes(this.config).stream()).toList();
        for (Module module : layout.modules()) {
            views.put(module.path() + ".weight", module.weight());
        }
        for (Layout.Plain plain : layout.plain()) {
            views.put(plain.name(), plain.view());
        }
        for (Layout.Prequantized packed : layout.prequantized()) {
            views.putAll(packed.tensors());
            formats.put(packed.path(), packed.format());
        }
    }

    private void require(List<String> problems, String remedy) {
        if (!problems.isEmpty()) {
            throw InputException.in(checkpoint.folder(), InputException.firstOf(problems, "") + "; " + remedy);
        }
    }

    static FolderWeights open(Path folder) {
        Checkpoint checkpoint = Checkpoint.open(folder);
        try {
            return new FolderWeights(checkpoint, ModelConfig.read(folder));
        } catch (RuntimeException e) {
            checkpoint.close();
            throw e;
        }
    }

    @Override
    public ModelConfig config() {
        return config;
    }

    @Override
    public List<String> notes() {
        return notes;
    }

    @Override
    public Optional<Rows> matrix(String path) {
        TensorView weight = views.get(path + ".weight");
        if (weight == null) {
            return Optional.empty();
        }
        TensorView scales = views.get(path + ".scales");
        return Optional.of(scales == null ? dense(path, weight) : quantized(path, weight, scales));
    }

    private Rows dense(String path, TensorView weight) {
        if (!weight.dtype().isFloating()) {
            throw InputException.in(checkpoint.folder(), "tensor '" + path + ".weight' holds " + weight.dtype() + " without scales; its format is not known");
        }
        return Rows.of(weight);
    }

    private Rows quantized(String path, TensorView weight, TensorView scales) {
        Format format;
        try {
            format = formats.containsKey(path) ? formats.get(path) : QuantizationSettings.format(config.json().path("quantization"), path);
        } catch (IllegalArgumentException e) {
            throw InputException.in(config.file(), "module " + path + ": " + e.getMessage());
        }
        try {
            return QuantizedTensor.of(format, weight, scales, views.get(path + ".biases"));
        } catch (IllegalArgumentException _) {
            throw InputException.in(checkpoint.folder(), "module " + path + " does not have the tensors of the format " + format + " that config.json gives it; verify the folder");
        }
    }

    @Override
    public Optional<float[]> vector(String name) {
        TensorView view = views.get(name);
        if (view == null) {
            return Optional.empty();
        }
        float[] out = new float[Math.toIntExact(view.shape().elements())];
        MemorySegment bytes = MemorySegment.ofArray(new byte[Math.toIntExact(view.bytes())]);
        view.read(0, bytes);
        Decoder.decode(view.dtype(), bytes, 0, out, 0, out.length);
        return Optional.of(out);
    }

    /// From the configuration, and names, types, shapes and content of all tensors.
    @Override
    public String fingerprint() {
        if (fingerprint == null) {
            fingerprint = digest();
        }
        return fingerprint;
    }

    private String digest() {
        Sha256 digest = new Sha256().add(config.json().toString());
        for (TensorInfo info : checkpoint.tensors().values()) {
            digest.add(info.name() + info.dtype() + info.shape());
            MemorySegment data = checkpoint.data(info.name());
            for (long at = 0; at < data.byteSize(); at += DIGEST_BYTES) {
                MemorySegment part = data.asSlice(at, Math.min(DIGEST_BYTES, data.byteSize() - at));
                try {
                    digest.add(part.asByteBuffer());
                    MappedPages.touched(part.byteSize());
                } catch (InternalError e) {
                    throw MappedPages.unreadable(e, data);
                }
            }
        }
        return digest.hex();
    }

    @Override
    public void close() {
        checkpoint.close();
    }
}
