package ram.layout;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ram.format.Format;
import ram.safetensors.Checkpoint;
import ram.tensor.StoredTensor;

/// Interim: plain names only, until the rule engine lands.
public final class Layouts {
    private Layouts() {
    }

    public static Layout of(Checkpoint checkpoint, ModelConfig config) {
        List<Module> modules = new ArrayList<>();
        List<Layout.Plain> plain = new ArrayList<>();
        for (String name : checkpoint.tensors().keySet()) {
            StoredTensor t = StoredTensor.of(checkpoint, name);
            if (t.shape().rank() == 2 && name.endsWith(".weight")) {
                String path = name.substring(0, name.length() - 7);
                Matcher m = Pattern.compile("layers\\.(\\d+)\\.").matcher(name);
                int layer = m.find() ? Integer.parseInt(m.group(1)) : -1;
                String last = path.substring(path.lastIndexOf('.') + 1);
                Kind kind = switch (last) {
                    case "q_proj" -> Kind.Q;
                    case "k_proj" -> Kind.K;
                    case "v_proj" -> Kind.V;
                    case "o_proj" -> Kind.O;
                    case "gate_proj" -> Kind.GATE;
                    case "up_proj" -> Kind.UP;
                    case "down_proj" -> Kind.DOWN;
                    case "embed_tokens" -> Kind.EMBEDDING;
                    case "lm_head" -> Kind.HEAD;
                    default -> Kind.OTHER;
                };
                modules.add(new Module(path, kind, layer, t, List.of(new Module.Part(name, 0, t.shape().rows())), Optional.<Format>empty(), Optional.empty(), false, false));
            } else {
                plain.add(new Layout.Plain(name, t, "1-D", false));
            }
        }
        ObjectNode out = config.json().deepCopy();
        return new Layout(new Architecture(config.modelType(), config.modelType(), true, Architecture.Structure.DENSE, true, List.of()), modules, plain, List.of(), List.of(), out);
    }
}
