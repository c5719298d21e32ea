package ram.verify;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import ram.format.Format;
import ram.layout.ExpectedTensors;
import ram.layout.Layouts;
import ram.layout.ModelClass;
import ram.layout.ModelConfig;
import ram.safetensors.Checkpoint;
import ram.safetensors.Shape;

/// What mlx_lm would stop at when it loads a folder, or leave out without a word: judged by config.json and headers alone.
public final class LoadCheck {
    private static final Pattern UNSTACKED = Pattern.compile("\\.experts\\.\\d+\\.[\\w.]+\\.scales$");

    private final Checkpoint checkpoint;
    private final ModelConfig config;
    private final Consumer<String> complain;

    private LoadCheck(Checkpoint checkpoint, ModelConfig config, Consumer<String> complain) {
        this.checkpoint = checkpoint;
        this.config = config;
        this.complain = complain;
    }

    /// One sentence for each thing that is wrong.
    public static List<String> problems(Checkpoint checkpoint, ModelConfig config) {
        List<String> problems = new ArrayList<>();
        of(checkpoint, config, problems::add);
        return List.copyOf(problems);
    }

    /// @param complain is told each thing that is wrong, in one sentence
    /// @return the quantized modules by path; those whose tensors do not fit their format are left out
    static SortedMap<String, Format> of(Checkpoint checkpoint, ModelConfig config, Consumer<String> complain) {
        return new LoadCheck(checkpoint, config, complain).run();
    }

    private SortedMap<String, Format> run() {
        SortedMap<String, Format> formats = StoredFormats.read(checkpoint, config, complain);
        ModelClass.missingKeys(config).forEach(complain);
        head();
        layers();
        formats.keySet().stream().filter(p -> ModelClass.isRaw(config, p + ".weight"))
                .forEach(p -> complain.accept("module " + p + " is quantized, which mlx_lm does not do to it; it would refuse the scales"));
        ExpectedTensors.problems(config, decodedShapes(formats)).forEach(complain);
        return formats;
    }

    private void head() {
        boolean tied = ModelClass.refusesHead(config);
        for (String name : checkpoint.tensors().keySet()) {
            if (tied && name.matches("(language_model\\.)?lm_head\\.(weight|scales|biases)")) {
                complain.accept("tensor '" + name + "' is stored although config.json ties the head to the embedding; mlx_lm would refuse or ignore it");
            }
            if (UNSTACKED.matcher(name).find() && !ModelClass.isModule(config, name.substring(0, name.lastIndexOf('.')))) {
                complain.accept("tensor '" + name + "' belongs to a single expert; mlx_lm loads quantized experts only as one stack");
            }
        }
    }

    /// That no layer is missing.
    private void layers() {
        Layouts.missingLayer(checkpoint.tensors().keySet(), ModelClass.scope(config)).ifPresent(l -> complain.accept("layer " + l + " is missing, though config.json counts more layers than that; mlx_lm would miss its parameters"));
    }

    /// As a class sees them: a quantized module is its weight.
    private Map<String, Shape> decodedShapes(SortedMap<String, Format> formats) {
        Map<String, Shape> out = new TreeMap<>();
        checkpoint.tensors().forEach((name, t) -> out.put(name, t.shape()));
        formats.forEach((path, format) -> {
            out.remove(path + ".scales");
            out.remove(path + ".biases");
            out.computeIfPresent(path + ".weight", (_, codes) -> format.decodedShape(codes));
        });
        return out;
    }
}
