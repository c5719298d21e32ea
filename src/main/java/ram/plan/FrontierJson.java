package ram.plan;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import ram.document.JsonDocument;

/// A frontier as a document.
public final class FrontierJson {
    /// The `schema` of a sweep.
    public static final String SCHEMA = "ram.sweep/1";

    private FrontierJson() {
    }

    /// In UTF-8, ending with a line break.
    public static byte[] write(Frontier f) {
        ObjectNode root = JsonDocument.object().put("schema", SCHEMA).put("smallest_bytes", f.smallest()).put("damage_in_nats", f.inNats()).put("damage_trust", Damage.TRUST);
        if (f.knee() >= 0) {
            root.put("knee", f.knee());
        }
        ArrayNode points = root.putArray("points");
        f.points().forEach(p -> points.add(point(p)));
        root.put("machines_rule", Devices.RULE);
        ArrayNode machines = root.putArray("machines");
        for (Frontier.Machine m : f.machines()) {
            ObjectNode o = machines.addObject().put("memory_gib", m.gib()).put("budget_bytes", m.budget());
            m.point().ifPresent(p -> o.set("plan", point(p)));
        }
        return JsonDocument.bytes(root);
    }

    private static ObjectNode point(Frontier.Point p) {
        ObjectNode o = JsonDocument.object().put("budget_bytes", p.budget()).put("file_bytes", p.bytes()).put("bits_per_weight", p.bitsPerWeight()).put("predicted_damage", p.damage())
                .put("price_per_byte", p.price()).put("proven", p.proven());
        ObjectNode shares = o.putObject("share_of_weights");
        p.shares().forEach((bits, share) -> shares.put(bits == 0 ? "dense" : String.valueOf(bits), share));
        return o;
    }
}
