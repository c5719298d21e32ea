package ram.convert;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import ram.Count;
import ram.format.Format;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.plan.Manifest.ModulePlan;
import ram.plan.PlanRequest;
import ram.profile.AnalysisOptions;

/// The README.md of an output folder, with front matter that the Hugging Face hub understands.
public final class ModelCard {
    private ModelCard() {
    }

    /// @param source the folder that the model came from; what its card says of license and origin is carried over
    public static String write(Path source, Manifest manifest) {
        StringBuilder card = new StringBuilder("---\n");
        for (String key : List.of("license", "license_name", "license_link", "base_model")) {
            SideFiles.frontMatter(source, key).or(() -> key.equals("license") ? SideFiles.license(source) : Optional.empty())
                    .ifPresent(value -> card.append(key).append(": ").append(value).append('\n'));
        }
        boolean quantized = manifest.modules().stream().anyMatch(m -> !m.format().isDense());
        card.append("library_name: mlx\npipeline_tag: text-generation\ntags:\n- mlx\n").append(quantized ? "- quantized\n" : "").append("---\n\n");
        card.append(quantized ? "# Quantized by ram " : "# Converted by ram ").append(manifest.toolVersion()).append("\n\n");
        card.append(String.format(Locale.ROOT, "%s of safetensors, %.3f bits per weight. Each module's format was chosen from the weights alone, without calibration data; "
                + "`manifest.json` says for each what it got and why, and `ram verify` proves these files against their source.%n%n",
                ByteSize.format(manifest.sizes().files()), manifest.sizes().bitsPerWeight()));
        card.append("| format (bits:group size) | modules | weights | bytes |\n|---|---:|---:|---:|\n");
        Map<Format, long[]> sums = new LinkedHashMap<>();
        for (ModulePlan m : manifest.modules()) {
            long[] sum = sums.computeIfAbsent(m.format(), _ -> new long[3]);
            sum[0]++;
            sum[1] += m.shape().elements();
            sum[2] += m.bytes();
        }
        sums.entrySet().stream().sorted((a, b) -> Long.compare(b.getValue()[2], a.getValue()[2])).forEach(e ->
                card.append(String.format(Locale.ROOT, "| %s | %,d | %,d | %,d |%n", e.getKey(), e.getValue()[0], e.getValue()[1], e.getValue()[2])));
        manifest.refinement().ifPresent(r -> card.append("\nThe codes of ").append(Count.of(r.path("modules").size(), "module"))
                .append(r.path("modules").size() == 1 ? " was" : " were").append(r.path("text").asText().startsWith("self") ? " refined on text that the model sampled from itself.\n" : " refined on text.\n"));
        manifest.evaluation().ifPresent(e -> card.append(evaluation(e)));
        card.append(manifest.architecture().known() ? "\nTo run it, with this folder as MODEL:\n\n    pip install mlx-lm\n    mlx_lm.generate --model MODEL --prompt \"Hello\"\n"
                : "\nNo class of mlx_lm is known to load the model_type " + manifest.architecture().modelType() + ".\n");
        card.append("\nTo make it again, with the source as MODEL:\n\n    ").append(command(manifest)).append('\n');
        return card.toString();
    }

    /// Figures of the document that an evaluation prints.
    private static String evaluation(JsonNode e) {
        StringBuilder out = new StringBuilder(String.format(Locale.ROOT, "%nOn %s of %s (%s):%n%n| | perplexity | median of sequences | mean KL | same top token |%n|---|---:|---:|---:|---:|%n",
                Count.of(e.path("sequences").asLong(), "window"), e.path("tokens").asText(), Count.of(e.path("predictions").asLong(), "prediction")));
        for (JsonNode m : e.path("models")) {
            JsonNode d = m.path("divergence");
            out.append(String.format(Locale.ROOT, "| %s | %.4f | %.4f | %s | %s |%n", m.path("name").asText(), m.path("perplexity").asDouble(),
                    m.path("sequence_perplexity").path("median").asDouble(), d.isObject() ? String.format(Locale.ROOT, "%.6f", d.path("mean_kl").asDouble()) : "",
                    d.isObject() ? String.format(Locale.ROOT, "%.2f %%", 100 * d.path("same_top").asDouble()) : ""));
        }
        return out.toString();
    }

    /// Words of a command line for a shell. Patterns are in quotes, and quotes within them are taken out of these.
    private static String words(List<String> arguments) {
        StringBuilder out = new StringBuilder();
        boolean pattern = false;
        for (String word : arguments) {
            out.append(' ').append(pattern ? "'" + word.replace("'", "'\\''") + "'" : word);
            pattern = word.equals("--keep") || word.equals("--set");
        }
        return out.toString();
    }

    private static String command(Manifest manifest) {
        StringBuilder analysis = new StringBuilder(manifest.architecture().requantized() ? " --requantize" : "");
        manifest.analysis().forEach((key, value) -> {
            switch (key) {
                case "dtype" -> analysis.append(" --dtype ").append(value);
                case "exact" -> analysis.append(value.equals("true") ? " --exact" : "");
                case AnalysisOptions.KEPT_NON_FINITE -> analysis.append(" --keep-nonfinite");
                case AnalysisOptions.REWRITE -> analysis.append(" --rewrite");
                default -> { }
            }
        });
        StringBuilder command = new StringBuilder();
        manifest.predictedFor().ifPresent(measured -> command.append("ram analyze MODEL -o PROFILE --quantizer ").append(measured).append(analysis).append("\n    "));
        command.append("ram quantize MODEL -o OUT").append(manifest.predictedFor().isPresent() ? " --profile PROFILE" : "");
        PlanRequest request = PlanRequest.of(manifest);
        List<String> goal = request.goal();
        List<String> arguments = request.arguments();
        command.append(words(goal)).append(" --quantizer ").append(manifest.planning().getOrDefault("quantizer", "mse")).append(analysis);
        manifest.refinement().ifPresent(r -> command.append(" --refine ").append(r.path("text").asText().replaceFirst("^tokens:", "tokens:FILE:")));
        return command.append(words(arguments.subList(goal.size(), arguments.size()))).toString();
    }
}
