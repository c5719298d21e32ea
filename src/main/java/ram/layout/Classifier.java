package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import ram.format.Format;
import ram.tensor.TensorView;

/// What a module or tensor of a family is, from its name.
final class Classifier {
    /// First match wins; matched against the module's path.
    private static final Map<Pattern, Kind> KINDS = new LinkedHashMap<>();

    static {
        kind("(^|\\.)lm_head$|(^|\\.)output$|^head$|_head$", Kind.HEAD);
        kind("shared_expert_gate$", Kind.SHARED_EXPERT_GATE);
        kind("\\.(mlp|feed_forward|block_sparse_moe|ffn|moe|mixer)\\.gate(\\.gate_proj|\\.gate|\\.wg)?$|(^|\\.)router(\\.\\w+)?$|classifier$", Kind.ROUTER);
        kind("linear_attn\\.|\\.(mamba|rg_lru)\\.|\\.temporal_block\\.linear_|layers\\.\\d+\\.mixer\\.(in_proj|out_proj|x_proj|dt_proj|bcdt_proj)$|\\.conv\\.(in_proj|out_proj)$"
                + "|\\.self_attn\\.([fg]_[ab]_proj|b_proj)$|\\.attn\\.(r_proj|\\w_lora\\..*)$", Kind.LINEAR_ATTENTION);
        kind("\\.(q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_a_proj|kv_b_proj|embed_q|unembed_out|kv_up_proj|kv_down_proj)$|\\.indexer\\.", Kind.LATENT);
        kind("\\.(qkv_proj|Wqkv|query_key_value|c_attn|wqkv|att_proj|W_pack|in_proj_qkv)$|(self_attn|attention|attn)\\.qkv$", Kind.QKV);
        kind("\\.(gate_up_proj|ff_proj|proj_1|input_linear|gate_and_up_proj)$", Kind.GATE_UP);
        kind("(attn|attention|mixer)\\.(q_proj|query|wq|c_q|q)$|\\.(q_proj|wq)$", Kind.Q);
        kind("(attn|attention|mixer)\\.(k_proj|key|wk|c_k|k)$|\\.(k_proj|wk)$", Kind.K);
        kind("(attn|attention|mixer)\\.(v_proj|value|wv|c_v|v)$|\\.(v_proj|wv)$", Kind.V);
        kind("(attn|attention|mixer|norm_attn_norm\\.attn)\\.(o_proj|out_proj|dense|wo|c_proj|output|proj|attn_out)$|\\.(o_proj|wo|attn_out)$", Kind.O);
        kind("\\.(gate_proj|w1|c_fc_0)$", Kind.GATE);
        kind("\\.(up_proj|w3|v1|fc1|c_fc|c_fc_1|dense_h_to_4h|fc_in)$|\\.ffn\\.key$", Kind.UP);
        kind("\\.(down_proj|w2|fc2|c_proj|dense_4h_to_h|fc_out|output_linear|ff_out|proj_2)$|\\.ffn\\.value$", Kind.DOWN);
    }

    private final Family family;
    private final Family.Paths modules;
    private final Family.Paths embeddings;
    private final Family.Paths raw;
    private final Family.Paths keepDType;
    private final Family.Paths dense;
    private final List<Family.Preset> presets;
    /// Those of names that mean something else in this family.
    private final Map<Pattern, Kind> ownKinds;

    Classifier(Family family) {
        this.family = family;
        this.modules = family.modules();
        this.embeddings = family.embeddings();
        this.raw = family.raw();
        this.keepDType = family.keepDType();
        this.dense = family.dense();
        this.presets = family.presets();
        this.ownKinds = family.kinds();
    }

    private static void kind(String regex, Kind kind) {
        KINDS.put(Pattern.compile(regex), kind);
    }

    /// The lists know the modules of usual configurations. A projection beside them (queries without a low rank, say) is one, too: what is named so is a
    /// linear layer in every class of mlx_lm, or listed as raw.
    boolean isModule(String path) {
        return modules.contains(path) || path.endsWith("_proj") && !raw.contains(path + ".weight");
    }

    Kind kind(String path) {
        if (family.head().is(path)) {
            return Kind.HEAD;
        }
        if (embeddings.contains(path)) {
            return Kind.EMBEDDING;
        }
        Optional<Kind> own = first(ownKinds, p -> p.matcher(path).matches());
        return own.or(() -> first(KINDS, p -> p.matcher(path).find())).orElse(Kind.OTHER);
    }

    private static Optional<Kind> first(Map<Pattern, Kind> kinds, Predicate<Pattern> matches) {
        return kinds.entrySet().stream().filter(e -> matches.test(e.getKey())).map(Map.Entry::getValue).findFirst();
    }

    Optional<Format> preset(String path) {
        return settings(path).map(p -> Format.affine(p.settings().path("bits").asInt(4), p.settings().path("group_size").asInt(64)));
    }

    private Optional<Family.Preset> settings(String path) {
        return presets.stream().filter(p -> p.matches(path)).findFirst();
    }

    /// A normalised head is divided again at every load, which would destroy packed codes.
    Optional<String> mustStayDense(String path, TensorView view, JsonNode scope) {
        for (JsonNode step : family.steps()) {
            boolean head = family.head().is(path);
            if (head && step.path("do").asText().equals("normalize") && family.name().startsWith("bailing") && scope.path("norm_head").asBoolean(false)) {
                return Optional.of("mlx_lm normalises the head again at every load");
            }
        }
        if (dense.contains(path)) {
            return Optional.of("mlx_lm does not load it quantized");
        }
        return view.shape().columns() % 32 == 0 ? Optional.empty() : Optional.of("no group size divides rows of " + view.shape().columns());
    }

    boolean isExpert(String path) {
        return path.matches(".*\\.(switch_mlp|switch_glu|experts)\\.\\w+$");
    }

    boolean isSharedExpert(String path) {
        return path.matches(".*\\.shared_(experts?|mlp)\\..*|.*\\.share_expert\\..*");
    }

    boolean keepDType(String name) {
        return keepDType.contains(name);
    }

    /// Why a tensor that is no module is written as it is.
    String why(String name, TensorView view) {
        if (!view.dtype().isFloating()) {
            return view.dtype() + " is not a weight";
        }
        if (view.shape().rank() < 2) {
            return name.endsWith(".bias") ? "bias" : name.matches(".*(norm|ln_\\d|ln_f).*") ? "norm" : "one-dimensional";
        }
        if (raw.contains(name)) {
            return "mlx_lm cannot quantize it";
        }
        return "unknown to mlx_lm's " + family.name() + ", kept as it is";
    }

    Architecture.Structure structure(List<Module> found, List<String> names) {
        boolean attention = found.stream().anyMatch(m -> m.kind() == Kind.Q || m.kind() == Kind.QKV || m.kind() == Kind.LATENT);
        boolean other = found.stream().anyMatch(m -> m.kind() == Kind.LINEAR_ATTENTION) || names.stream().anyMatch(n -> n.matches(".*(conv1d|conv_1d|\\.conv)\\.weight"));
        if (attention && other) {
            return Architecture.Structure.HYBRID;
        }
        return found.stream().anyMatch(Module::expert) || names.stream().anyMatch(n -> n.matches(".*\\.(switch_mlp|experts)\\..*"))
                ? Architecture.Structure.MIXTURE_OF_EXPERTS : Architecture.Structure.DENSE;
    }
}
