package ram.rewrite;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import ram.format.Format;
import ram.layout.Kind;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.Module;

/// A matrix whose rows make values, and the only one whose columns read them: `up` and `down`, or `v` and `o`.
///
/// @param heads of the queries for each head of the values; 1 for a feed-forward network
/// @param headSize rows of `writer` that belong to one head of the values; all for a feed-forward network
/// @param bias of the writer
record Pair(Module writer, Module reader, int heads, int headSize, Optional<Layout.Plain> bias) {
    /// Types whose feed-forward network is down(act(gate x) · up x) and whose attention is o(mix of v x), with nothing between, in every configuration.
    static final List<String> FAMILIES = List.of("llama", "mistral", "mixtral", "olmoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe");

    private static final Set<String> FEED_FORWARD = Set.of("gate_proj", "up_proj", "down_proj");
    private static final Set<String> ATTENTION = Set.of("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm");

    static boolean isKnown(Model model) {
        return FAMILIES.contains(model.config().modelType());
    }

    /// In the order of the model; none for a family that is not known.
    static List<Pair> of(Model model) {
        List<Pair> out = new ArrayList<>();
        if (!isKnown(model)) {
            return out;
        }
        Map<String, Module> modules = new HashMap<>();
        model.layout().modules().forEach(m -> modules.put(m.path(), m));
        Map<String, Layout.Plain> plain = new HashMap<>();
        model.layout().plain().forEach(p -> plain.put(p.name(), p));
        Map<String, Set<String>> names = new HashMap<>();
        modules.keySet().forEach(path -> add(names, path));
        plain.keySet().forEach(name -> add(names, name.substring(0, Math.max(0, name.lastIndexOf('.')))));
        model.layout().prequantized().forEach(p -> add(names, p.path()));
        for (Module reader : model.layout().modules()) {
            int dot = reader.path().lastIndexOf('.');
            String prefix = reader.path().substring(0, Math.max(0, dot));
            boolean down = reader.kind() == Kind.DOWN && reader.path().endsWith(".down_proj");
            boolean o = reader.kind() == Kind.O && reader.path().endsWith(".o_proj");
            if (!down && !o || !(down ? FEED_FORWARD : ATTENTION).containsAll(names.get(prefix))) {
                continue;
            }
            Module writer = modules.get(prefix + (down ? ".up_proj" : ".v_proj"));
            if (writer == null || writer.kind() != (down ? Kind.UP : Kind.V) || down && !modules.containsKey(prefix + ".gate_proj")) {
                continue;
            }
            Optional<Layout.Plain> bias = Optional.ofNullable(plain.get(writer.path() + ".bias"));
            pair(model.config().json(), writer, reader, o, bias).filter(Pair::usable).ifPresent(out::add);
        }
        return out;
    }

    private static void add(Map<String, Set<String>> names, String path) {
        int dot = path.lastIndexOf('.');
        if (dot > 0) {
            names.computeIfAbsent(path.substring(0, dot), _ -> new HashSet<>()).add(path.substring(dot + 1));
        }
    }

    private static Optional<Pair> pair(JsonNode config, Module writer, Module reader, boolean attention, Optional<Layout.Plain> bias) {
        int rows = Math.toIntExact(writer.parts().getFirst().rows());
        if (!attention) {
            return Optional.of(new Pair(writer, reader, 1, rows, bias));
        }
        int queries = config.path("num_attention_heads").asInt(0);
        int values = config.path("num_key_value_heads").asInt(queries);
        boolean clipped = config.path("clip_qkv").isNumber();
        if (clipped || queries < 1 || values < 1 || queries % values != 0 || rows % values != 0) {
            return Optional.empty();
        }
        return Optional.of(new Pair(writer, reader, queries / values, rows / values, bias));
    }

    private boolean usable() {
        boolean floats = writer.weight().dtype().isMlxFloat() && reader.weight().dtype().isMlxFloat();
        boolean alike = writer.parts().size() == reader.parts().size() && writer.parts().stream().allMatch(p -> p.rows() == channels())
                && reader.parts().stream().allMatch(p -> p.rows() == reader.parts().getFirst().rows());
        boolean biased = bias.isEmpty() || bias.get().view().dtype().isMlxFloat() && bias.get().view().shape().elements() == writer.weight().shape().rows();
        return floats && alike && biased && columns() == (long) channels() * heads && reader.mustStayDense().isEmpty() && Format.affine(4, groupSize()).fits(reader.weight().shape());
    }

    /// Rows of one part of the writer.
    int channels() {
        return Math.toIntExact(writer.parts().getFirst().rows());
    }

    int columns() {
        return Math.toIntExact(reader.weight().shape().columns());
    }

    int groupSize() {
        return columns() % 64 == 0 ? 64 : 32;
    }

    /// The row of the writer that makes what a column of the reader reads.
    int channel(int column) {
        return column / headSize / heads * headSize + column % headSize;
    }
}
