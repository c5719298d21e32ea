package ram.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.layout.Architecture.Structure;

/// Parameter counts as published. What MLX does not load (vision towers, layers of multi-token prediction) is not counted: Llama 4 and GLM-4.7 publish
/// 109 B, 402 B and 358 B with them.
class PublishedModelsTest {
    @TempDir
    Path folder;

    @ParameterizedTest(name = "{0}")
    @CsvSource({
        "Qwen3-8B,            8.19,  399,   DENSE",
        "Qwen3-30B-A3B,       30.53, 18867, MIXTURE_OF_EXPERTS",
        "Qwen2-57B-A14B,      57.41, 0,     MIXTURE_OF_EXPERTS",
        "Mixtral-8x7B,        46.70, 995,   MIXTURE_OF_EXPERTS",
        "GLM-4.7,             352.8, 0,     MIXTURE_OF_EXPERTS",
        "GLM-4.7-Flash,       29.94, 0,     MIXTURE_OF_EXPERTS",
        "Llama-4-Scout,       107.8, 0,     MIXTURE_OF_EXPERTS",
        "Llama-4-Maverick,    400.7, 0,     MIXTURE_OF_EXPERTS",
        "Qwen3.5-397B-A17B,   396.3, 0,     HYBRID",
        "Qwen3.5-35B-A3B,     34.66, 0,     HYBRID",
        "DeepSeek-V3,         671.0, 0,     MIXTURE_OF_EXPERTS",
        "gpt-oss-20b,         20.91, 0,     MIXTURE_OF_EXPERTS",
    })
    void countsAreThosePublished(String name, double billions, int tensors, Structure structure) throws IOException {
        PublishedModels.write(folder, name);
        try (Model model = Model.open(folder)) {
            Layout layout = model.layout();
            long parameters = layout.modules().stream().mapToLong(m -> m.weight().shape().elements()).sum()
                    + layout.plain().stream().mapToLong(p -> p.view().shape().elements()).sum()
                    + layout.prequantized().stream().mapToLong(p -> p.weight().shape().elements() * 32 / p.format().bits()).sum();
            assertEquals(billions, parameters / 1e9, billions * 0.003);
            if (tensors > 0) {
                assertEquals(tensors, model.checkpoint().tensors().size());
            }
            assertEquals(structure, layout.architecture().structure());
            assertTrue(layout.architecture().known());
            assertEquals(List.of(), layout.architecture().assumptions());
            assertEquals(List.of(), layout.plain().stream().filter(p -> p.why().contains("unknown")).map(Layout.Plain::name).toList());
            assertEquals(List.of(), layout.modules().stream().filter(m -> m.kind() == Kind.OTHER).map(Module::path).limit(5).toList());
        }
    }
}
