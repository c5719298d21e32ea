package ram.refine;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.SortedMap;

/// What the manifest says about refinement.
public final class RefineDocument {
    private RefineDocument() {
    }

    /// @param gains by module; quantized modules that are not in it were left to `mse`
    public static ObjectNode of(Refinement how, SortedMap<String, Gain> gains) {
        ObjectNode root = JsonNodeFactory.instance.objectNode().put("text", how.toString());
        ObjectNode modules = root.putObject("modules");
        gains.forEach((path, g) -> modules.putObject(path).put("output_error_ratio", g.ratio()).put("rows", g.rows()).put("compensated_rows", g.compensated())
                .put("tokens", g.tokens()).put("plain_experts", g.plainExperts()).put("dead_columns", g.deadColumns()).put("lifted_pivots", g.liftedPivots()));
        return root;
    }
}
