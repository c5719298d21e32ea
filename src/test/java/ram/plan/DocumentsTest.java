package ram.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.InputException;
import ram.document.JsonDocument;
import ram.profile.Profile;
import ram.profile.ProfileJson;

class DocumentsTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Profile PROFILE = Profiles.mixture(2, 128, 4, 9);
    private static final Manifest MANIFEST = Planner.plan(PROFILE, PlanRequest.defaults().within(new Limit.BitsPerWeight(5)).withRules(List.of(FormatRule.set("q_proj=6:64"))))
            .withFiles(List.of(), List.of(new Manifest.OutputFile("model.safetensors", 12, "ab".repeat(32)))).withEvaluation(JsonDocument.object().put("kl", 0.1))
            .withWrittenErrors(Map.of("lm_head", 0.001));

    @TempDir
    private Path folder;

    @Test
    void profilesAreReadBackAsTheyWere() throws Exception {
        byte[] bytes = ProfileJson.write(PROFILE);
        Path file = Files.write(folder.resolve("profile.json"), bytes);
        Profile back = ProfileJson.read(file);
        assertEquals(PROFILE, back);
        assertArrayEquals(bytes, ProfileJson.write(back));
        assertArrayEquals(ManifestJson.write(Planner.plan(PROFILE, PlanRequest.defaults().within(new Limit.BitsPerWeight(5)))),
                ManifestJson.write(Planner.plan(back, PlanRequest.defaults().within(new Limit.BitsPerWeight(5)))));
    }

    @Test
    void manifestsAreReadBackAsTheyWere() throws Exception {
        byte[] bytes = ManifestJson.write(MANIFEST);
        Path file = Files.write(folder.resolve("manifest.json"), bytes);
        Manifest back = ManifestJson.read(file);
        assertEquals(MANIFEST, back);
        assertArrayEquals(bytes, ManifestJson.write(back));
    }

    @Test
    void everyDamagedFieldIsRefusedByName() throws Exception {
        for (boolean manifest : new boolean[] {false, true}) {
            ObjectNode good = (ObjectNode) MAPPER.readTree(manifest ? ManifestJson.write(MANIFEST) : ProfileJson.write(PROFILE));
            for (var field : List.copyOf(good.properties())) {
                ObjectNode bad = good.deepCopy();
                bad.set(field.getKey(), field.getValue().isTextual() ? MAPPER.getNodeFactory().numberNode(1) : MAPPER.getNodeFactory().nullNode());
                refused(manifest, bad, field.getKey());
                if (!List.of("evaluation", "files").contains(field.getKey()) || !manifest) {
                    ObjectNode without = good.deepCopy();
                    without.remove(field.getKey());
                    refused(manifest, without, field.getKey());
                }
            }
            ObjectNode module = (ObjectNode) good.withArray("modules").get(0);
            for (var field : List.copyOf(module.properties())) {
                ObjectNode bad = good.deepCopy();
                ((ObjectNode) bad.withArray("modules").get(0)).set(field.getKey(), MAPPER.createObjectNode().put("x", -1));
                refused(manifest, bad, "modules[0]");
            }
            ObjectNode more = good.deepCopy();
            more.put("surprise", 1);
            refused(manifest, more, "surprise");
        }
    }

    private void refused(boolean manifest, JsonNode document, String named) throws Exception {
        Path file = Files.write(folder.resolve("bad.json"), MAPPER.writeValueAsBytes(document));
        InputException e = assertThrows(InputException.class, () -> {
            if (manifest) {
                ManifestJson.read(file);
            } else {
                ProfileJson.read(file);
            }
        }, named);
        assertTrue(e.getMessage().contains("bad.json") && e.getMessage().contains(named), () -> named + ": " + e.getMessage());
    }

    @Test
    void hostileFilesAreRefused() throws Exception {
        String head = "{\"schema\":\"ram.profile/1\",\"x\":";
        for (String text : List.of("", "[]", "{", "null", "{\"schema\":\"ram.profile/2\"}", head + "[".repeat(5000), head + "NaN}", head + "1,\"x\":1}", "{}{}", "\0\1\2")) {
            Path file = Files.write(folder.resolve("bad.json"), text.getBytes(StandardCharsets.UTF_8));
            InputException e = assertThrows(InputException.class, () -> ProfileJson.read(file), text);
            assertTrue(e.getMessage().contains("bad.json"));
            assertThrows(InputException.class, () -> ManifestJson.read(file));
        }
    }

    @Test
    void frontierFallsAndHasAKnee() {
        Profile p = Profiles.llama(16, 256, false, 5);
        PlanRequest request = PlanRequest.defaults();
        Frontier f = Frontier.solve(p, request, 200);
        for (int i = 1; i < 200; i++) {
            assertTrue(f.points().get(i).damage() <= f.points().get(i - 1).damage());
            assertTrue(f.points().get(i).bytes() <= f.points().get(i).budget());
        }
        assertEquals(0, f.points().getLast().damage());
        assertEquals(farthestFromChord(f.points()), f.knee());
        Frontier.Point middle = f.points().get(77);
        Manifest same = Planner.plan(p, request.withBudget(middle.budget()));
        assertEquals(middle.bytes(), same.sizes().files());
        assertEquals(middle.damage(), same.solver().objective());
    }

    /// By the distance of points to a line, of which the one below it is left: the same point as by heights above the chord.
    private static int farthestFromChord(List<Frontier.Point> points) {
        List<double[]> at = points.stream().filter(p -> p.damage() > 0).map(p -> new double[] {p.bytes(), Math.log(p.damage())}).toList();
        double[] first = at.getFirst();
        double[] last = at.getLast();
        int best = -1;
        double most = 0;
        for (int i = 0; i < at.size(); i++) {
            double x = (at.get(i)[0] - first[0]) / (last[0] - first[0]);
            double y = (at.get(i)[1] - last[1]) / (first[1] - last[1]);
            // the chord runs from (0, 1) to (1, 0)
            double distance = (1 - x - y) / Math.sqrt(2);
            if (distance > most) {
                most = distance;
                best = i;
            }
        }
        return best;
    }

    @Test
    void explainsAModule() {
        PlanRequest request = PlanRequest.defaults().within(new Limit.BitsPerWeight(5));
        Explain e = Explain.of(PROFILE, request, "model.layers.0.mlp.switch_mlp.up_proj");
        assertEquals(1, e.curve().stream().filter(Explain.Point::chosen).count());
        assertTrue(e.weightShare() > 0 && e.weightShare() < 1 && e.price() > 0);
        assertTrue(e.atLess().isPresent() && e.atMore().isPresent());
        assertTrue(e.rule().endsWith("."));
    }
}
