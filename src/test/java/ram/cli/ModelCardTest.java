package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import ram.convert.ModelCard;
import ram.plan.Manifest;
import ram.plan.ManifestJson;

/// The card is valid for the hub whatever the source's card looks like.
class ModelCardTest {
    @TempDir
    static Path folder;

    private static Manifest manifest;

    @BeforeAll
    static void plan() {
        Path profile = Cli.analyzed(folder);
        assertEquals(0, Cli.run("plan", profile, "--budget", "1MB", "-o", folder.resolve("manifest.json"), "--quiet").exitCode());
        manifest = ManifestJson.read(folder.resolve("manifest.json"));
    }

    private Map<String, Object> frontMatter(String card) {
        assertTrue(card.startsWith("---\n"), card);
        return new Yaml(new SafeConstructor(new LoaderOptions())).load(card.substring(4, card.indexOf("\n---\n", 4)));
    }

    private Map<String, Object> cardOf(Path source, String readme) throws IOException {
        Files.createDirectories(source);
        Files.writeString(source.resolve("README.md"), readme);
        return frontMatter(ModelCard.write(source, manifest));
    }

    @Test
    void valuesListsAndOrigin(@TempDir Path source) throws IOException {
        Map<String, Object> plain = cardOf(source, "---\nlicense: apache-2.0\nbase_model: Qwen/Qwen3-0.6B\nlicense_link: https://example.org/a#b\n---\n# X\n");
        assertEquals("apache-2.0", plain.get("license"));
        assertEquals("Qwen/Qwen3-0.6B", plain.get("base_model"));
        assertEquals("https://example.org/a#b", plain.get("license_link"));
        assertEquals("mlx", plain.get("library_name"));
        assertEquals(List.of("mlx", "quantized"), plain.get("tags"));
        assertEquals(List.of("a/b", "c/d-1.5"), cardOf(source, "---\nbase_model:\n- a/b\n  - c/d-1.5\ntags: x\n---\n").get("base_model"));
        assertEquals(List.of("a/b"), cardOf(source, "---\nbase_model: [a/b]\n---\n").get("base_model"));
    }

    @Test
    void whatCannotBeCarriedOverIsLeftOut(@TempDir Path source) throws IOException {
        for (String value : List.of("|", ">-", "[a,", "{a", "*x", "&x y", "# nothing")) {
            assertFalse(cardOf(source, "---\nlicense_name: " + value + "\nlicense: mit\n---\n").containsKey("license_name"), value);
        }
    }

    @Test
    void theTextOfALicenseStandsInForItsName(@TempDir Path source) throws IOException {
        Files.writeString(source.resolve("LICENSE"), "\n                                 Apache License\n                           Version 2.0, January 2004\n");
        assertEquals("apache-2.0", cardOf(source, "# No front matter\n").get("license"));
        assertEquals("other", cardOf(source, "---\nlicense: other\n---\n").get("license"));
        Files.writeString(source.resolve("LICENSE"), "My own terms");
        assertFalse(cardOf(source, "# None\n").containsKey("license"));
    }

    @Test
    void theCardSaysHowToRunAndToMakeIt(@TempDir Path source) {
        String card = ModelCard.write(source, manifest);
        assertTrue(card.contains("mlx_lm.generate --model MODEL") && card.contains("ram quantize MODEL -o OUT --budget 1000000 --quantizer mse"), card);
        assertTrue(card.contains("| format (bits:group size) | modules | weights | bytes |") && card.contains("manifest.json"), card);
    }

    /// Whatever options it was made with, the last line of the card names those that it takes.
    @ParameterizedTest
    @ValueSource(strings = {"--budget 1MB --dtype float16", "--budget 1MB --mlx-version 0.18 --exact", "--max-kl 0.02 --keep layers.0.mlp", "--policy uniform --bits 3 --group 32 --quantizer rtn --allow-unsafe",
        "--budget 900kB --refine self:sequences=4,length=32,passes=1 --formats affine,mxfp4", "--target knee --rewrite"})
    void makesItAgain(String options, @TempDir Path dir) throws IOException {
        Path first = dir.resolve("first");
        List<Object> words = new ArrayList<>(List.of("quantize", Cli.TINY, "-o", first, "--quiet"));
        words.addAll(List.of(options.split(" ")));
        Cli.Result made = Cli.run(words.toArray());
        assertEquals(0, made.exitCode(), made.err());
        String command = Files.readAllLines(first.resolve("README.md")).getLast().strip();
        assertTrue(command.startsWith("ram quantize MODEL -o OUT "), command);
        Path second = dir.resolve("second");
        List<Object> again = new ArrayList<>();
        for (String word : command.substring("ram ".length()).split(" ")) {
            again.add(word.equals("MODEL") ? Cli.TINY : word.equals("OUT") ? second : word.replace("'", ""));
        }
        Cli.Result remade = Cli.run(again.toArray());
        assertEquals(0, remade.exitCode(), command + "\n" + remade.err());
        for (String name : List.of("model.safetensors", "config.json")) {
            assertArrayEquals(Files.readAllBytes(first.resolve(name)), Files.readAllBytes(second.resolve(name)), command);
        }
    }
}
