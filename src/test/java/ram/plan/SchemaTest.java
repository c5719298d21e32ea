package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import ram.Schemas;
import ram.format.Format;
import ram.layout.Kind;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.safetensors.DType;

/// The written documents satisfy the published schemas.
class SchemaTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    @Test
    void writtenDocumentsSatisfyTheSchemas() throws Exception {
        for (Profile p : List.of(Profiles.llama(2, 128, true, 1), Profiles.mixture(2, 128, 4, 2))) {
            JsonNode profile = MAPPER.readTree(ProfileJson.write(p));
            assertEquals(List.of(), Schemas.errors(Schemas.schema("profile"), profile));
            for (Policy policy : Policy.values()) {
                PlanRequest request = PlanRequest.defaults().withModes(EnumSet.allOf(Format.Mode.class)).withPolicy(policy, 4, 64);
                Manifest m = Planner.plan(p, policy.isPriced() ? request.within(new Limit.BitsPerWeight(6)) : request);
                assertEquals(List.of(), Schemas.errors(Schemas.schema("manifest"), MAPPER.readTree(ManifestJson.write(m))));
                Manifest finished = m.withWrittenErrors(Map.of(m.modules().getFirst().path(), 0.01)).withEvaluation(MAPPER.createObjectNode().put("kl", 0.1))
                        .withFiles(List.of(), List.of(new Manifest.OutputFile("model.safetensors", m.sizes().files(), "00".repeat(32))));
                assertEquals(List.of(), Schemas.errors(Schemas.schema("manifest"), MAPPER.readTree(ManifestJson.write(finished))));
            }
        }
    }

    @Test
    void theCheckFindsMistakes() throws Exception {
        ObjectNode profile = (ObjectNode) MAPPER.readTree(ProfileJson.write(Profiles.llama(1, 128, true, 1)));
        ((ObjectNode) profile.withArray("modules").get(0)).put("kind", "unheard");
        assertFalse(Schemas.errors(Schemas.schema("profile"), profile).isEmpty());
    }

    @Test
    void schemasListEveryName() throws Exception {
        for (String document : List.of("profile", "manifest")) {
            JsonNode defs = Schemas.schema(document).get("$defs");
            for (Kind k : Kind.values()) {
                assertEquals(List.of(), Schemas.errors(defs.get("kind"), MAPPER.getNodeFactory().textNode(k.label())));
            }
            for (DType d : DType.values()) {
                assertEquals(List.of(), Schemas.errors(defs.get("dtype"), MAPPER.getNodeFactory().textNode(d.name())));
            }
            for (Format f : Format.allAffine()) {
                assertEquals(List.of(), Schemas.errors(defs.get("format"), MAPPER.getNodeFactory().textNode(f.toString())));
            }
        }
        for (Policy p : Policy.values()) {
            assertEquals(List.of(), Schemas.errors(Schemas.schema("manifest").at("/properties/policy"), MAPPER.getNodeFactory().textNode(p.label())));
        }
    }
}
