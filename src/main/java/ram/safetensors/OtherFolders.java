package ram.safetensors;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import ram.InputException;

/// What is given for a model and is something else: each kind is refused with what to give instead.
final class OtherFolders {
    private static final Pattern LORA = Pattern.compile("(^|\\.)lora_[ABab](\\.|$)");
    private static final Pattern MISTRAL = Pattern.compile("layers\\.\\d+\\.attention\\.wq\\.weight");
    private static final String WRAPPED = "base_model.model.";
    private static final String COMPILED = "_orig_mod.";

    private static final String ADAPTER = "is an adapter (LoRA), not a model; merge it into its model first, and give the merged one";

    private OtherFolders() {
    }

    static void refuseFile(Path file) {
        if (isGguf(file) && Files.exists(file)) {
            throw InputException.in(file, "is a GGUF file, which ram does not read; give the folder of the original Hugging Face model");
        }
    }

    /// Before the weights are looked for, as some pipelines have *.safetensors files at their root.
    static void refusePipeline(Path folder) {
        if (Files.exists(folder.resolve("model_index.json")) && !Files.exists(folder.resolve("config.json"))) {
            throw InputException.in(folder, "is a diffusers pipeline, not a language model; give the folder of a language model");
        }
    }

    /// Of a folder without any *.safetensors file.
    static String whyWithoutWeights(Path folder) throws IOException {
        if (Files.exists(folder.resolve("family.json"))) {
            return "holds several models, each in a folder of its own; give one of these";
        }
        Path snapshots = folder.resolve("snapshots");
        if (Files.isDirectory(snapshots)) {
            List<String> names = names(snapshots);
            return "is the root of a Hugging Face cache entry; " + (names.size() == 1 ? "give its folder snapshots/" + names.getFirst() : "give one of the folders in its folder snapshots");
        }
        if (Files.exists(folder.resolve("adapter_config.json"))) {
            return ADAPTER;
        }
        if (names(folder).stream().anyMatch(n -> isGguf(Path.of(n)))) {
            return "holds GGUF files, which ram does not read; give the folder of the original Hugging Face model";
        }
        return "holds no *.safetensors file; if the model has only *.bin files, convert it to safetensors first";
    }

    /// @param shards all of the files
    /// @param tensors all of their names
    static void refuseTensors(Path folder, List<Shard> shards, Collection<String> tensors) {
        boolean lora = tensors.stream().anyMatch(n -> LORA.matcher(n).find()) && tensors.stream().allMatch(n -> n.startsWith(WRAPPED) || LORA.matcher(n).find());
        if (lora || areNamed(shards, "adapter")) {
            throw InputException.in(folder, ADAPTER);
        }
        if (areNamed(shards, "consolidated") && tensors.stream().anyMatch(n -> MISTRAL.matcher(n).matches())) {
            throw InputException.in(folder, "holds the model in Mistral's own format alone; download the files of the Hugging Face format (model*.safetensors and config.json) too");
        }
        if (!tensors.isEmpty() && tensors.stream().allMatch(n -> n.startsWith(COMPILED))) {
            throw InputException.in(folder, "holds tensors whose names all begin with " + COMPILED + ", as torch.compile has them; save the original module (its _orig_mod) instead");
        }
    }

    private static boolean areNamed(List<Shard> shards, String start) {
        return !shards.isEmpty() && shards.stream().allMatch(s -> s.file().getFileName().toString().startsWith(start));
    }

    private static boolean isGguf(Path file) {
        return file.toString().toLowerCase(Locale.ROOT).endsWith(".gguf");
    }

    private static List<String> names(Path folder) throws IOException {
        Set<String> names = new TreeSet<>();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
            files.forEach(f -> names.add(f.getFileName().toString()));
        }
        return List.copyOf(names);
    }
}
