package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ram.Schemas;
import ram.eval.TinyModel;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// An analysis that is done in parts is that of a single run.
class PartsTest {
    private static final Path STORIES = Path.of("src/test/resources/ram/eval/stories260k");

    @TempDir
    Path folder;

    private Path part(Path model, String part, String name, String... options) {
        Path file = folder.resolve(name);
        List<Object> args = new ArrayList<>(List.of("analyze", model, "--part", part, "-o", file, "--quiet"));
        args.addAll(List.of(options));
        Cli.Result r = Cli.run(args.toArray());
        assertEquals(0, r.exitCode(), r.err());
        return file;
    }

    private static Cli.Result merge(Path output, List<Path> parts) {
        List<Object> args = new ArrayList<>(List.of("merge", "-o", output, "--force"));
        args.addAll(parts);
        return Cli.run(args.toArray());
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-qwen3", "stories260k", "experts"})
    void partsMakeTheProfileOfASingleRun(String name) throws IOException {
        Path model = switch (name) {
            case "tiny-qwen3" -> Cli.TINY;
            case "stories260k" -> STORIES;
            default -> new TinyModel("mixtral", "").write(folder.resolve("model"));
        };
        Path single = folder.resolve("single.json");
        assertEquals(0, Cli.run("analyze", model, "-o", single, "--quiet", "--hash").exitCode());
        Path merged = folder.resolve("merged.json");
        for (int n : new int[] {1, 2, 3, 7}) {
            List<Path> parts = new ArrayList<>();
            List<Long> work = new ArrayList<>();
            for (int i = 1; i <= n; i++) {
                parts.add(part(model, i + "/" + n, "part-" + i + "-of-" + n, "--hash", "--threads", String.valueOf(1 + i % 3)));
                JsonNode document = new ObjectMapper().readTree(parts.getLast().toFile());
                assertEquals(List.of(), Schemas.errors(Schemas.schema("part"), document));
                work.add(weights(document));
            }
            Collections.reverse(parts);
            Cli.Result r = merge(merged, parts);
            assertEquals(0, r.exitCode(), r.err());
            assertArrayEquals(Files.readAllBytes(single), Files.readAllBytes(merged), n + " parts");
            long mean = weights(new ObjectMapper().readTree(single.toFile())) / n;
            long largest = largestMatrix(new ObjectMapper().readTree(single.toFile()));
            work.forEach(w -> assertTrue(Math.abs(w - mean) <= largest, () -> w + " weights in a part, " + mean + " on average"));
        }
    }

    private static long weights(JsonNode document) {
        return document.path("modules").valueStream().flatMap(m -> m.path("tensors").valueStream()).mapToLong(t -> t.path("rows").asLong() * t.path("columns").asLong()).sum();
    }

    private static long largestMatrix(JsonNode document) {
        return document.path("modules").valueStream().flatMap(m -> m.path("tensors").valueStream()).mapToLong(t -> t.path("rows").asLong() * t.path("columns").asLong()).max().orElse(0);
    }

    @Test
    void morePartsThanMatrices() throws IOException {
        int n = 40;
        List<Path> parts = new ArrayList<>();
        for (int i = 1; i <= n; i++) {
            parts.add(part(STORIES, i + "/" + n, "part-" + i));
        }
        Cli.Result r = merge(folder.resolve("merged.json"), parts);
        assertEquals(0, r.exitCode(), r.err());
        assertEquals(Cli.run("analyze", STORIES, "--json", "--quiet").out(), Files.readString(folder.resolve("merged.json")));
    }

    @Test
    void incompleteAndForeignPartsAreRefused() throws IOException {
        Path one = part(STORIES, "1/3", "one");
        Path two = part(STORIES, "2/3", "two");
        Path three = part(STORIES, "3/3", "three");
        refused(List.of(one, three), one + ": is one of 3 parts, and part 2/3 is not given; analyze with --part 2/3 and give all parts");
        refused(List.of(two), two + ": is one of 3 parts, and parts 1/3, 3/3 are not given; analyze with --part 1/3 and so on and give all parts");
        refused(List.of(one, two, three, two), two + ": is part 2/3, and so is " + two + "; give each part once");
        refused(List.of(one, part(STORIES, "2/4", "quarter")), folder.resolve("quarter") + ": is part 2/4 and not one of 3 like " + one + "; give the parts of one analysis");
        refused(List.of(one, part(Cli.TINY, "2/3", "tiny")), folder.resolve("tiny") + ": was measured on another model than " + one + "; give the parts of one analysis");
        refused(List.of(one, part(STORIES, "2/3", "rtn", "--quantizer", "rtn")),
                folder.resolve("rtn") + ": was measured with other options than " + one + "; give the parts of one analysis");
        refused(List.of(one, part(STORIES, "2/3", "hashed", "--hash")),
                folder.resolve("hashed") + ": was measured with other options than " + one + "; give the parts of one analysis");
        Path older = Files.writeString(folder.resolve("older"), Files.readString(two).replaceFirst("\"tool_version\" : \"[^\"]*\"", "\"tool_version\" : \"0.0.1\""));
        assertTrue(merge(folder.resolve("out"), List.of(one, older)).sentence().startsWith("ram: " + older + ": was written by ram 0.0.1, not by "));
        Path other = Files.writeString(folder.resolve("other"), Files.readString(two).replaceFirst("\"logit_power\" : ", "\"logit_power\" : 1"));
        refused(List.of(one, other), other + ": was measured on weights with other values than " + one + "; give the parts of one analysis");
        Path profile = folder.resolve("profile");
        assertEquals(0, merge(profile, List.of(one, two, three)).exitCode());
        refused(List.of(one, profile), profile + ": has the schema 'ram.profile/1', but ram.part/1 is needed; give the right file or create it again with this version");
        Path none = Files.writeString(folder.resolve("none"), "{\"a\": 1}");
        refused(List.of(one, none), none + ": is no document of ram, as it names no schema, where ram.part/1 is needed; give the right file");
        Path twice = Files.writeString(folder.resolve("twice"), Files.readString(two).replace("\"part\" : \"2/3\"", "\"part\" : \"1/3\""));
        assertEquals(5, merge(folder.resolve("out"), List.of(twice, Files.copy(two, folder.resolve("copy")), three)).exitCode());
        assertFalse(Files.exists(folder.resolve("out")));
    }

    /// Wholes and parts say how much they hold.
    @Test
    void aSingleMatrixIsOne() throws IOException {
        Path model = Files.createDirectory(folder.resolve("single"));
        Files.writeString(model.resolve("config.json"), Files.readString(Cli.TINY.resolve("config.json")).replaceFirst("\"num_hidden_layers\": *\\d+", "\"num_hidden_layers\": 0"));
        new SafetensorsFile().bfloat16("model.embed_tokens.weight", Shape.of(2, 64), new float[128]).bfloat16("model.norm.weight", Shape.of(64), new float[64]).write(model.resolve("model.safetensors"));
        Path whole = folder.resolve("whole");
        assertEquals("wrote " + whole + ": 1 module, 1 matrix\n", Cli.run("analyze", model, "-o", whole).out());
        Path half = folder.resolve("half");
        assertEquals("wrote " + half + ": part 1/1, 1 matrix\n", Cli.run("analyze", model, "--part", "1/1", "-o", half).out());
    }

    private void refused(List<Path> parts, String why) {
        Cli.Result r = merge(folder.resolve("out"), parts);
        assertEquals("ram: " + why, r.sentence());
        assertEquals(5, r.exitCode());
        assertFalse(Files.exists(folder.resolve("out")));
    }

    @Test
    void aPartIsNoProfile() {
        Path part = part(STORIES, "1/2", "part.json");
        String sentence = "ram: " + part + ": is one part of an analysis; join all parts with 'ram merge' and give the profile that it writes";
        for (Object[] args : List.<Object[]>of(new Object[] {"plan", part, "--budget", "1MB"},
                new Object[] {"quantize", STORIES, "--profile", part, "--budget", "1MB", "-o", folder.resolve("out")}, new Object[] {"sweep", part})) {
            Cli.Result r = Cli.run(args);
            assertEquals(5, r.exitCode());
            assertEquals(sentence, r.sentence());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/999999"})
    void partTypos(String part) {
        Cli.Result r = Cli.run("analyze", STORIES, "--part=" + part, "-o", folder.resolve("out"));
        assertEquals(2, r.exitCode());
        assertTrue(r.err().contains("--part"), r.err());
    }

    /// A share follows importance through matrices that it does not measure; it must not carry on with what is not a number.
    @ParameterizedTest
    @ValueSource(strings = {"model.layers.0.self_attn.q_proj.weight", "model.layers.1.block_sparse_moe.experts.2.w1.weight", "model.norm.weight", "lm_head.weight"})
    void noPartIsMadeFromWeightsThatAreNotNumbers(String tensor) throws IOException {
        Path model = new TinyModel("mixtral", "").write(folder.resolve("model"));
        byte[] file = Files.readAllBytes(model.resolve("model.safetensors"));
        int header = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getInt() + 8;
        JsonNode json = new ObjectMapper().readTree(file, 8, header - 8);
        int at = header + json.path(tensor).path("data_offsets").path(0).asInt();
        file[at + 2] = (byte) 0xc0;
        file[at + 3] = 0x7f;
        Files.write(model.resolve("model.safetensors"), file);
        int refused = 0;
        for (int i = 1; i <= 4; i++) {
            Path out = folder.resolve("part-" + i);
            Cli.Result r = Cli.run("analyze", model, "--part", i + "/4", "-o", out, "--quiet");
            if (r.exitCode() != 0) {
                assertEquals(5, r.exitCode(), r.err());
                assertTrue(r.sentence().contains(tensor.replace(".weight", "")), r.err());
                assertFalse(Files.exists(out));
                refused++;
            } else {
                assertFalse(Files.readString(out).contains("NaN"));
            }
        }
        assertTrue(refused > 0);
    }
}
