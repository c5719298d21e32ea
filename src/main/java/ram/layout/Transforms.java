package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.LongStream;
import ram.InputException;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.tensor.TensorView;
import ram.tensor.Views;

/// Applies a family's steps to the tensors of a checkpoint, in their order. Tensors stay views: nothing is read.
final class Transforms {
    private final JsonNode scope;
    private final Expressions expressions;
    private final Map<String, Boolean> flags = new LinkedHashMap<>();
    private final Map<String, String> dropped;
    private Map<String, TensorView> tensors;

    /// @param scope the part of config.json that the class reads
    /// @param defaults `scope` with the class's defaults filled in
    /// @param dropped is told each tensor that is left out, with the reason
    Transforms(Map<String, TensorView> tensors, JsonNode scope, JsonNode defaults, Map<String, String> dropped) {
        this.tensors = new LinkedHashMap<>(tensors);
        this.scope = scope;
        this.expressions = new Expressions(defaults);
        this.dropped = dropped;
    }

    /// @throws InputException when the tensors cannot be what the steps expect
    /// @throws IllegalStateException when the family's steps are not what [StepRules] knows
    Map<String, TensorView> apply(Family family) {
        StepRules.check(family);
        family.flags().properties().forEach(f -> flags.put(f.getKey(), flag(f.getValue())));
        for (JsonNode step : family.steps()) {
            if (applies(step)) {
                try {
                    apply(step);
                } catch (IllegalArgumentException e) {
                    throw new InputException("the tensors that match " + step.path("match").asText() + " are not those of a " + family.name() + " model: " + e.getMessage(), e);
                }
            }
        }
        return tensors;
    }

    private boolean flag(JsonNode f) {
        if (f.has("has")) {
            return tensors.containsKey(f.path("has").asText());
        }
        if (f.has("none_name")) {
            return !anyName(f.path("none_name").asText());
        }
        if (f.has("any_name")) {
            return anyName(f.path("any_name").asText());
        }
        if (f.has("any_last_dim_ne")) {
            Pattern pattern = Pattern.compile(f.path("any_last_dim_ne").path("re").asText());
            long value = f.path("any_last_dim_ne").path("value").asLong();
            return tensors.entrySet().stream().anyMatch(e -> pattern.matcher(e.getKey()).find() && e.getValue().shape().columns() != value);
        }
        JsonNode d = f.path("dim_gt");
        TensorView view = tensors.get(d.path("name").asText());
        return view != null && view.shape().rank() > 1 && view.shape().dim(d.path("a").asInt()) > view.shape().dim(d.path("b").asInt());
    }

    private boolean anyName(String regex) {
        Pattern pattern = Pattern.compile(regex);
        return tensors.keySet().stream().anyMatch(n -> pattern.matcher(n).find());
    }

    private boolean applies(JsonNode step) {
        for (JsonNode c : step.path("when")) {
            boolean holds;
            if (c.has("config")) {
                JsonNode value = scope.get(c.path("config").asText());
                holds = c.has("is") ? (value == null ? c.path("default") : value).equals(c.get("is"))
                        : Family.truthy(value, c.path("default")) == c.path("truthy").asBoolean();
            } else if (c.has("flag")) {
                holds = flags.get(c.path("flag").asText());
            } else if (c.has("has")) {
                holds = tensors.containsKey(c.path("has").asText());
            } else if (c.has("lacks")) {
                holds = !tensors.containsKey(c.path("lacks").asText());
            } else if (c.has("any")) {
                holds = anyName(c.path("any").asText());
            } else {
                holds = true; // layer_from is asked for each tensor
            }
            if (!holds) {
                return false;
            }
        }
        return true;
    }

    /// A tensor whose name a step matches.
    private record Hit(String name, TensorView view, MatchResult match) {
        /// `$1` and the like replaced by what the groups matched.
        String expand(String template) {
            StringBuilder out = new StringBuilder();
            for (int i = 0; i < template.length(); i++) {
                char c = template.charAt(i);
                if (c == '$' && i + 1 < template.length() && Character.isDigit(template.charAt(i + 1))) {
                    String group = match.group(template.charAt(++i) - '0');
                    out.append(group == null ? "" : group);
                } else {
                    out.append(c);
                }
            }
            return out.toString();
        }
    }

    private Pattern pattern(JsonNode step) {
        Matcher key = Pattern.compile("\\{([a-z_]+)}").matcher(step.path("match").asText());
        return Pattern.compile(key.replaceAll(m -> Matcher.quoteReplacement(expressions.text(m.group(1)))));
    }

    private List<Hit> hits(JsonNode step) {
        Pattern pattern = pattern(step);
        List<Hit> out = new ArrayList<>();
        tensors.forEach((name, view) -> {
            Matcher m = pattern.matcher(name);
            if (m.find() && layerAllows(step, name, m)) {
                out.add(new Hit(name, view, m.toMatchResult()));
            }
        });
        return out;
    }

    private boolean layerAllows(JsonNode step, String name, MatchResult m) {
        for (JsonNode c : step.path("when")) {
            if (c.has("layer_from")) {
                if (Layouts.index(m.group(1), name) < expressions.number(c.path("layer_from"))) {
                    return false;
                }
                boolean named = !c.has("containing");
                for (JsonNode part : c.path("containing")) {
                    named |= name.contains(part.asText());
                }
                if (!named) {
                    return false;
                }
            }
        }
        return true;
    }

    private static boolean only(JsonNode step, Shape shape) {
        return switch (step.path("only").asText("")) {
            case "" -> true;
            case "last_dim != 1" -> shape.rank() > 0 && shape.columns() != 1;
            case "ndim == 1" -> shape.rank() == 1;
            case "ndim == 3" -> shape.rank() == 3;
            case "ndim > 1" -> shape.rank() > 1;
            case "shape[-1] > shape[1]" -> shape.rank() > 1 && shape.dim(-1) > shape.dim(1);
            default -> throw new IllegalStateException(step.toString());
        };
    }

    private void apply(JsonNode step) {
        switch (step.path("do").asText()) {
            case "drop" -> hits(step).forEach(h -> {
                tensors.remove(h.name());
                h.view().sources().forEach(s -> dropped.putIfAbsent(s, step.path("why").asText()));
            });
            case "rename" -> {
                Pattern pattern = pattern(step);
                Map<String, TensorView> renamed = new LinkedHashMap<>();
                tensors.forEach((name, view) -> renamed.put(pattern.matcher(name).replaceAll(step.path("to").asText()), view));
                tensors = renamed;
            }
            case "stack" -> stack(step);
            case "split" -> hits(step).forEach(h -> {
                List<TensorView> parts = Views.split(h.view(), step.path("axis").asInt(), step.path("parts").size(), step.path("mode").asText().equals("interleaved"));
                tensors.remove(h.name());
                for (int i = 0; i < parts.size(); i++) {
                    tensors.put(h.expand(step.path("parts").get(i).asText()), parts.get(i));
                }
            });
            case "swap_axes" -> change(step, v -> Views.swapAxes(v, step.path("axes").get(0).asInt(), step.path("axes").get(1).asInt()));
            case "move_axis" -> change(step, v -> Views.moveAxis(v, step.path("from").asInt(), step.path("to").asInt()));
            case "reshape" -> change(step, v -> {
                long[] dims = new long[step.path("shape").size()];
                for (int i = 0; i < dims.length; i++) {
                    dims[i] = expressions.number(step.path("shape").get(i));
                }
                return Views.reshape(v, dims);
            });
            case "squeeze" -> change(step, Views::squeeze);
            case "add" -> change(step, v -> Views.add(v, step.path("value").asDouble()));
            case "multiply" -> change(step, v -> multiply(step.path("by").asText(), v));
            case "normalize" -> change(step, v -> Views.normalize(v, step.path("axis").asInt() == -1, (float) step.path("eps").asDouble()));
            case "copy" -> tensors.put(step.path("to").asText(), present(step.path("from").asText(), tensors.get(step.path("from").asText())));
            case "int4_packs" -> hits(step).forEach(h -> {
                tensors.remove(h.name());
                h.view().sources().forEach(s -> dropped.putIfAbsent(s, "shape of a packed tensor, which its data tells"));
                String to = h.expand(step.path("to").asText());
                TensorView packed = take(h.expand(step.path("packed").asText()));
                TensorView scale = take(h.expand(step.path("scale").asText()));
                tensors.put(to + ".weight", Views.reinterpret(packed, DType.U32, packed.shape()));
                tensors.put(to + ".scales", scale);
                tensors.put(to + ".biases", Views.scale(scale, -8));
            });
            case "mxfp4_blocks" -> hits(step).forEach(h -> {
                Shape s = h.view().shape();
                List<Long> dims = new ArrayList<>(s.dims().subList(0, s.rank() - 2));
                dims.add(s.dim(-2) * s.dim(-1) / 4);
                tensors.remove(h.name());
                tensors.put(h.expand(step.path("to").asText()), Views.reinterpret(h.view(), DType.U32, new Shape(dims)));
            });
            case "split_latent" -> hits(step).forEach(h -> splitLatent(step, h));
            case "unstack" -> hits(step).forEach(h -> {
                int experts = Math.toIntExact(expressions.number(step.path("count")));
                List<TensorView> parts = Views.split(h.view(), 0, experts, false);
                tensors.remove(h.name());
                for (int e = 0; e < experts; e++) {
                    TensorView part = parts.get(e);
                    tensors.put(h.expand(step.path("to").asText()).replace("{e}", String.valueOf(e)), step.path("transpose").asBoolean() ? Views.swapAxes(part, 0, 1) : part);
                }
            });
            case "split_qkv" -> hits(step).forEach(h -> splitQkv(step, h));
            default -> throw new IllegalStateException(step.toString());
        }
    }

    private TensorView take(String name) {
        return present(name, tensors.remove(name));
    }

    private static TensorView present(String name, TensorView view) {
        if (view == null) {
            throw new InputException("tensor '" + name + "' is missing; the checkpoint is incomplete, download it again");
        }
        return view;
    }

    private void change(JsonNode step, UnaryOperator<TensorView> change) {
        for (Hit h : hits(step)) {
            if (only(step, h.view().shape())) {
                tensors.put(h.name(), change.apply(h.view()));
            }
        }
    }

    private void stack(JsonNode step) {
        int group = step.path("index_group").asInt();
        Map<String, SortedMap<Integer, Hit>> stacks = new LinkedHashMap<>();
        for (Hit h : hits(step)) {
            stacks.computeIfAbsent(h.expand(step.path("to").asText()), _ -> new TreeMap<>()).put(Layouts.index(h.match().group(group), h.name()), h);
        }
        stacks.forEach((name, experts) -> {
            int count = step.path("count").asText().equals("(all)") ? experts.size() : Math.toIntExact(expressions.number(step.path("count")));
            List<TensorView> parts = new ArrayList<>();
            for (int e = 0; e < count; e++) {
                Hit h = experts.get(e);
                if (h == null) {
                    throw new InputException("expert " + e + " of " + count + " is missing for " + name + "; the checkpoint is incomplete, download it again");
                }
                if (!parts.isEmpty() && (!h.view().shape().equals(parts.getFirst().shape()) || h.view().dtype() != parts.getFirst().dtype())) {
                    throw new InputException("tensor '" + h.name() + "' is " + h.view().dtype() + h.view().shape() + ", but its neighbours in " + name + " are "
                            + parts.getFirst().dtype() + parts.getFirst().shape() + "; the checkpoint is damaged, download it again");
                }
                parts.add(h.view());
                tensors.remove(h.name());
            }
            if (experts.size() > count) {
                throw new InputException(name + " has " + experts.size() + " experts, but config.json says " + count + " (" + step.path("count").asText() + "); one of them is wrong");
            }
            tensors.put(name, Views.stack(parts));
        });
    }

    /// One projection that makes keys and values of all heads out of the latent, to one per head that maps queries into the latent and one that
    /// maps the latent to values.
    private void splitLatent(JsonNode step, Hit h) {
        long heads = expressions.number(step.path("heads"));
        long nope = expressions.number(step.path("nope"));
        long value = expressions.number(step.path("v"));
        TensorView perHead = Views.reshape(h.view(), heads, nope + value, -1);
        tensors.remove(h.name());
        tensors.put(h.expand(step.path("embed_q").asText()), Views.swapAxes(Views.slice(perHead, 1, 0, nope, 1), -1, -2));
        tensors.put(h.expand(step.path("unembed_out").asText()), Views.slice(perHead, 1, nope, value, 1));
    }

    /// Rows that lie in groups of a key-value head: its queries, its key, its value.
    private void splitQkv(JsonNode step, Hit h) {
        long kv = expressions.number("num_key_value_heads");
        long heads = expressions.number("num_attention_heads");
        long queries = heads / kv;
        long head = expressions.number("hidden_size") / heads;
        boolean matrix = h.view().shape().rank() > 1;
        TensorView groups = Views.reshape(h.view(), kv, queries + 2, head, -1);
        tensors.remove(h.name());
        long[] starts = {0, queries, queries + 1};
        long[] counts = {queries, 1, 1};
        for (int i = 0; i < 3; i++) {
            TensorView part = Views.slice(groups, 1, starts[i], counts[i], 1);
            long rows = kv * counts[i] * head;
            tensors.put(h.expand(step.path("to").get(i).asText()), matrix ? Views.reshape(part, rows, -1) : Views.reshape(part, rows));
        }
    }

    private TensorView multiply(String by, TensorView view) {
        if (by.contains("mup_vector")) {
            return Views.scaleRows(view, mupFactors(view));
        }
        Matcher indexed = Pattern.compile("(\\w+)\\[(\\d+)]").matcher(by);
        if (indexed.matches()) {
            return Views.scale(view, expressions.element(indexed.group(1), Integer.parseInt(indexed.group(2)), new double[] {0.8838834764831844, 0.5859375}));
        }
        return Views.scale(view, expressions.real(by));
    }

    /// Factors of the rows of Falcon-H1's input projection: gate, input, two groups of states, time steps.
    private float[] mupFactors(TensorView view) {
        DType dtype = view.dtype();
        double[] otherwise = {0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738};
        long inner = expressions.number("mamba_d_ssm");
        long state = Math.multiplyExact(expressions.number("mamba_n_groups"), expressions.number("mamba_d_state"));
        long[] sizes = {inner, inner, state, state, expressions.number("mamba_n_heads")};
        float common = Decoder.round(dtype, (float) expressions.real("ssm_in_multiplier"));
        long rows = LongStream.of(sizes).reduce(0, Math::addExact);
        if (view.shape().rank() == 0 || view.shape().dim(0) != rows || LongStream.of(sizes).anyMatch(n -> n < 0)) {
            throw new IllegalArgumentException("the input projection has the shape " + view.shape() + ", but by config.json it would have " + rows + " rows");
        }
        float[] factors = new float[Math.toIntExact(rows)];
        int at = 0;
        for (int s = 0; s < sizes.length; s++) {
            float own = Decoder.round(dtype, (float) expressions.element("ssm_multipliers", s, otherwise));
            for (long i = 0; i < sizes[s]; i++) {
                factors[at++] = Decoder.round(dtype, common * own);
            }
        }
        return factors;
    }
}
