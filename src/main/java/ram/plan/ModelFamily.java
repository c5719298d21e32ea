package ram.plan;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import ram.document.JsonDocument;

/// Several outputs that were made of one model in one pass; written as `family.json`, so that a reader can choose without opening each folder.
///
/// @param toolVersion version of the program that planned
/// @param members in the order in which they were asked for
public record ModelFamily(String toolVersion, List<Member> members) {
    /// The `schema` of an overview.
    public static final String SCHEMA = "ram.family/1";

    /// One output.
    ///
    /// @param folder its name beside the document
    /// @param budget in bytes
    /// @param bytes of all its safetensors files
    /// @param bitsPerWeight scales and biases included
    /// @param damage predicted mean KL divergence in nats per token
    /// @param measured mean KL divergence as measured, empty when it was not
    public record Member(String folder, long budget, long bytes, double bitsPerWeight, double damage, OptionalDouble measured) {
        public Member {
            Objects.requireNonNull(folder);
            Objects.requireNonNull(measured);
        }

        /// @param manifest of a plan with a budget
        public static Member of(String folder, Manifest manifest) {
            return new Member(folder, manifest.limit().budget().orElseThrow(), manifest.sizes().files(), manifest.sizes().bitsPerWeight(),
                    manifest.predictedDamage(), manifest.measured("divergence/mean_kl"));
        }

        /// The smallest usual memory in GiB that has room for the weights by the rule of [Devices]; empty when none is enough.
        public OptionalInt memoryGiB() {
            return Devices.smallestFor(bytes);
        }
    }

    public ModelFamily {
        Objects.requireNonNull(toolVersion);
        members = List.copyOf(members);
    }

    /// The document.
    public byte[] json() {
        ObjectNode root = JsonDocument.object().put("schema", SCHEMA).put("tool_version", toolVersion);
        ArrayNode list = root.putArray("members");
        for (Member m : members) {
            ObjectNode o = list.addObject().put("folder", m.folder()).put("budget_bytes", m.budget()).put("file_bytes", m.bytes())
                    .put("bits_per_weight", m.bitsPerWeight()).put("predicted_damage", m.damage());
            m.measured().ifPresent(kl -> o.put("mean_kl", kl));
            m.memoryGiB().ifPresent(g -> o.put("memory_gib", g));
        }
        return JsonDocument.bytes(root);
    }
}
