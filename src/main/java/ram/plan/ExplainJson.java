package ram.plan;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import ram.document.JsonDocument;

/// Explanations as documents, `ram.explain/1`.
public final class ExplainJson {
    /// The `schema` of an explanation.
    public static final String SCHEMA = "ram.explain/1";

    private ExplainJson() {
    }

    /// One module.
    public static byte[] write(Explain e) {
        ObjectNode root = JsonDocument.object().put("schema", SCHEMA).put("module", e.module().path()).put("format", e.module().format().toString()).put("bytes", e.module().bytes())
                .put("why", e.module().why().label()).put("rule", e.rule());
        ArrayNode curve = root.putArray("curve");
        for (Explain.Point p : e.curve()) {
            ObjectNode o = curve.addObject().put("format", p.format().toString()).put("bytes", p.bytes()).put("relative_error", p.relativeError()).put("predicted_damage", p.damage())
                    .put("allowed", p.allowed()).put("chosen", p.chosen());
            if (Double.isFinite(p.sqnrDb())) {
                o.put("sqnr_db", p.sqnrDb());
            }
        }
        root.put("weight_share", e.weightShare()).put("sensitivity_source", e.sensitivitySource());
        ObjectNode ingredients = root.putObject("ingredients");
        e.ingredients().forEach(ingredients::put);
        root.put("price_per_byte", e.price());
        e.atLess().ifPresent(f -> root.put("format_at_5_percent_less", f.toString()));
        e.atMore().ifPresent(f -> root.put("format_at_5_percent_more", f.toString()));
        return JsonDocument.bytes(root);
    }

    /// All modules that got more than their cheapest choice.
    public static byte[] write(Payoffs all) {
        ObjectNode root = JsonDocument.object().put("schema", SCHEMA).put("price_per_byte", all.price()).put("at_cheapest", all.cheapest());
        ArrayNode modules = root.putArray("modules");
        for (Payoffs.Payoff p : all.modules()) {
            modules.addObject().put("module", p.module().path()).put("cheapest", p.cheapest().toString()).put("format", p.module().format().toString()).put("bytes_spent", p.bytes())
                    .put("damage_saved", p.saved()).put("saved_per_byte", p.perByte()).put("why", p.why(all.price()));
        }
        return JsonDocument.bytes(root);
    }
}
