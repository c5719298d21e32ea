package ram.sensitivity;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.layout.Kind;
import ram.layout.Layout;
import ram.layout.Module;
import ram.numeric.Workers;

/// Follows the mean square of every residual channel through a decoder, from the weights alone, and tells for every matrix what an error in one of
/// its weights adds to the noise of the logits.
///
/// It assumes independent channels, Gaussian activations, attention that averages values. Noise of a branch counts relative to the residual's power
/// after the branch, and that share is taken to survive to the end. See the terms of `Attention` and `Mlp` for the weights of each projection.
/// Matrices are streamed by row blocks; only vectors of one layer are held.
public final class Propagation {
    /// Receives the modules of one layer at a time, all of them, in the order of the model; at last those outside the layers, as layer −1.
    @FunctionalInterface
    public interface Visitor {
        void layer(int layer, List<ModuleWeights> modules);
    }

    /// @param logitPower mean square of a logit
    /// @param residualPower power of the residual at the start and after each layer
    public record Result(double logitPower, List<Double> residualPower) {
        public Result {
            residualPower = List.copyOf(residualPower);
        }
    }

    /// A configuration without an embedding of its size is not believed beyond this.
    private static final int WIDEST = 1 << 20;

    private final Layout layout;
    private final String family;
    private final Dense dense;
    private final Squares squares;
    private final Map<Module, ModuleWeights> known = new IdentityHashMap<>();
    private double[] residual;
    private double branchGain;
    private Optional<PerLayerInputs> perLayer = Optional.empty();

    private Propagation(Layout layout, Squares squares) {
        this.layout = layout;
        this.squares = squares;
        family = layout.architecture().family();
        dense = new Dense(layout);
    }

    /// Walks the whole model. Reads every matrix once, those that lead into a norm after their branch twice.
    ///
    /// @param workers that read; the result does not depend on their number
    /// @throws ram.InputException when the source turns out to be unusable
    public static Result walk(Layout layout, Workers workers, Visitor visitor) {
        return new Propagation(layout, new Squares(workers)).run(visitor);
    }

    private Result run(Visitor visitor) {
        SortedMap<Integer, List<Module>> layers = new TreeMap<>();
        List<Module> outside = new ArrayList<>();
        for (Module m : layout.modules()) {
            (m.layer() < 0 ? outside : layers.computeIfAbsent(m.layer(), _ -> new ArrayList<>())).add(m);
        }
        List<Module> embeddings = embeddings(outside);
        Optional<Module> embedding = embeddings.stream().findFirst();
        Optional<Module> head = outside.stream().filter(m -> m.kind() == Kind.HEAD && m.weight().shape().rank() == 2).findFirst();
        int hidden = embedding.or(() -> head).map(m -> (int) m.weight().shape().columns()).orElseGet(() -> (int) Math.clamp(dense.number("hidden_size", 0), 0, WIDEST));
        residual = new double[hidden];
        if (embeddings.isEmpty()) {
            Arrays.fill(residual, 1);
        }
        List<Double> embeddingGains = new ArrayList<>();
        // The sums serve the start, and, for a tied head, the end.
        List<double[]> embeddingSums = new ArrayList<>();
        for (Module m : embeddings) {
            double gain = m == embeddings.getFirst() ? embeddingGain(hidden) : 1;
            double[] sums = columnSums(m);
            for (int j = 0; j < hidden; j++) {
                residual[j] += sums[j] / m.weight().shape().rows() * gain;
            }
            embeddingGains.add(gain);
            embeddingSums.add(sums);
        }
        perLayer = PerLayerInputs.find(outside, dense, squares, residual);
        double start = sum(residual);
        List<Double> powers = new ArrayList<>(List.of(start));
        int depth = layers.isEmpty() ? 0 : layers.lastKey() + 1;
        branchGain = square(dense.number("residual_multiplier", dense.number("scale_depth", 0) > 0
                ? dense.number("scale_depth", 1) / Math.sqrt(depth) : 1));
        layers.forEach((layer, modules) -> {
            layer(layer, modules);
            powers.add(sum(residual));
            emit(layer, modules, visitor);
        });

        double[] z = normalized(finalGains(embedding.or(() -> head), hidden), "", List.of());
        double logitPower = 0;
        double logitGain = logitGain(hidden);
        Optional<Module> reader = head.isPresent() ? head : layout.architecture().tied() ? embedding : Optional.empty();
        if (reader.isPresent() && reader.get().weight().shape().columns() == hidden) {
            double[] sums = head.isPresent() ? columnSums(head.get()) : embeddingSums.getFirst();
            for (int j = 0; j < hidden; j++) {
                logitPower += sums[j] / reader.get().weight().shape().rows() * z[j] * logitGain;
            }
        }
        Map<Module, List<Term>> terms = new IdentityHashMap<>();
        for (int i = 0; i < embeddings.size() && start > 0; i++) {
            long rows = embeddings.get(i).weight().shape().rows();
            terms.computeIfAbsent(embeddings.get(i), _ -> new ArrayList<>())
                    .add(new Term(Dense.ones(Math.toIntExact(rows)), Dense.ones(hidden), DecoderRules.factor(Kind.EMBEDDING) * 0.5 * embeddingGains.get(i) / rows / start, true));
        }
        if (reader.isPresent() && logitPower > 0) {
            double rows = reader.get().weight().shape().rows();
            terms.computeIfAbsent(reader.get(), _ -> new ArrayList<>()).add(new Term(Dense.ones(Math.toIntExact(reader.get().weight().shape().rows())), z,
                    DecoderRules.factor(Kind.HEAD) * 0.5 * logitGain / rows, false));
        }
        terms.forEach((module, list) -> {
            if (module.parts().size() == 1) {
                known.put(module, new ModuleWeights(module, ModuleWeights.Source.PROPAGATED, List.of(list)));
            }
        });
        perLayer.ifPresent(p -> p.weights().forEach(w -> known.put(w.module(), w)));
        emit(-1, outside, visitor);
        return new Result(logitPower, powers);
    }

    /// What the residual starts as the sum of: the embedding of tokens, and after it that of positions, where there is one.
    private List<Module> embeddings(List<Module> outside) {
        return outside.stream().filter(m -> m.kind() == Kind.EMBEDDING && m.weight().shape().rank() == 2)
                .filter(m -> m.weight().shape().columns() == dense.number("hidden_size", m.weight().shape().columns()))
                .sorted(Comparator.comparing(m -> m.weight().shape().rows() != dense.number("vocab_size", 0))).toList();
    }

    private void emit(int layer, List<Module> modules, Visitor visitor) {
        visitor.layer(layer, modules.stream()
                .map(m -> known.getOrDefault(m, new ModuleWeights(m, ModuleWeights.Source.LAYER_MEDIAN, List.of()))).toList());
        known.clear();
    }

    private double[] columnSums(Module module) {
        double[] sums = new double[Math.toIntExact(module.weight().shape().columns())];
        for (double[] part : squares.of(module, null, null, true).columns()) {
            Squares.add(part, sums);
        }
        return sums;
    }

    private double embeddingGain(int hidden) {
        double gain = DecoderRules.has("embedding_multiplied_already", family) ? 1 : square(dense.number("embedding_multiplier", 1));
        return DecoderRules.has("embedding_times_sqrt_hidden", family) ? gain * hidden : gain;
    }

    /// Gain of power from the head's outputs to the logits.
    private double logitGain(int hidden) {
        double base = dense.number("dim_model_base", 0);
        return square(dense.number("logit_multiplier", 1) / dense.number("logit_divisor", 1) * (base > 0 ? base / hidden : 1));
    }

    private Optional<double[]> finalGains(Optional<Module> beside, int hidden) {
        if (beside.isEmpty()) {
            return Optional.empty();
        }
        String path = beside.get().path();
        String prefix = path.substring(0, path.lastIndexOf('.') + 1);
        return dense.gains(prefix, DecoderRules.list("final_norm"), hidden)
                .or(() -> dense.gains(prefix + "model.", DecoderRules.list("final_norm"), hidden));
    }

    private void layer(int layer, List<Module> modules) {
        String first = modules.getFirst().path();
        int at = first.indexOf("." + layer + ".");
        String prefix = at < 0 ? "" : first.substring(0, at + ("." + layer + ".").length());
        int hidden = residual.length;

        // One name has two meanings: in families with norms around the feed-forward network it follows the attention.
        List<String> attentionPost = new ArrayList<>(DecoderRules.list("attention_post_norm"));
        List<String> mlpPre = new ArrayList<>(DecoderRules.list("mlp_norm"));
        String between = DecoderRules.text("between");
        boolean sandwich = DecoderRules.list("between_is_post_when").stream().anyMatch(n -> dense.has(prefix + n + ".weight"));
        (sandwich ? attentionPost : mlpPre).add(between);
        List<String> attentionPre = DecoderRules.list("attention_norm");

        double[] attentionInput = normalized(dense.gains(prefix, attentionPre, hidden), prefix, attentionPre);
        List<Mlp> mlps = Mlp.find(modules, hidden, dense);
        Optional<double[]> mlpGains = dense.gains(prefix, mlpPre, hidden);
        boolean postOnly = sandwich && mlpGains.isEmpty();
        // Without a norm of its own the network reads what the attention reads: parallel branches.
        double[] parallelInput = mlpGains.isEmpty() && !postOnly ? attentionInput : null;

        attention(modules, attentionInput, dense.gains(prefix, attentionPost, hidden));
        if (!mlps.isEmpty()) {
            double[] input = parallelInput != null ? parallelInput : normalized(mlpGains, prefix, mlpPre);
            mlp(mlps, input, dense.gains(prefix, DecoderRules.list("mlp_post_norm"), hidden));
        }
        perLayer.flatMap(p -> p.follow(layer, modules, squares, residual.clone())).ifPresent(m -> mixed(m, dense.gains(prefix, List.of("post_per_layer_input_norm"), hidden)));
        double factor = dense.vector(prefix + "layer_scalar", 1).map(v -> square(v[0])).orElse(1.0);
        residual = scaled(residual, factor);
    }

    /// The residual after a norm with squared `gains`, or as it is without one.
    private double[] normalized(Optional<double[]> gains, String prefix, List<String> names) {
        double[] out = residual.clone();
        double mean = sum(residual) / residual.length;
        if (gains.isEmpty()) {
            return out;
        }
        for (int j = 0; j < out.length; j++) {
            out[j] = mean == 0 ? 0 : gains.get()[j] * residual[j] / mean;
        }
        for (String name : names) {
            if (dense.has(prefix + name + ".weight")) {
                dense.addBias(prefix + name + ".bias", out);
                break;
            }
        }
        return out;
    }

    private void attention(List<Module> modules, double[] input, Optional<double[]> postGains) {
        int hidden = residual.length;
        Optional<Mixed> attended = Attention.find(modules, hidden, dense, family).map(a -> a.follow(squares, input))
                .or(() -> LatentAttention.find(modules, hidden, dense).map(a -> a.follow(squares, input)))
                .or(() -> GatedDelta.find(modules, hidden, dense).map(a -> a.follow(squares, input)))
                .or(() -> ShortConvolution.find(modules, hidden, dense).map(a -> a.follow(squares, input)));
        // Some layers have this one beside attention.
        Optional<Mixed> stateSpace = StateSpace.find(modules, hidden, dense, family).map(a -> a.follow(squares, input));
        if (attended.isEmpty() && stateSpace.isEmpty()) {
            evenInput(modules, postGains);
        }
        attended.ifPresent(m -> mixed(m, postGains));
        stateSpace.ifPresent(m -> mixed(m, postGains));
    }

    private void mixed(Mixed mixed, Optional<double[]> postGains) {
        Module o = mixed.o();
        Squares.Sums sums = squares.of(o, new double[][] {mixed.context()}, null, postGains.isEmpty());
        double[] out = sums.rows();
        dense.addBias(o.path() + ".bias", out);
        double[] rowGain = rowGain(out, postGains);
        double[] output = postGains.isEmpty() ? scaled(sums.columns()[0], branchGain) : squares.of(o, null, rowGain, true).columns()[0];
        double after = add(out, rowGain);
        for (ModuleWeights w : mixed.noise().weights(output, rowGain, 0.5 / after)) {
            known.put(w.module(), w);
        }
    }

    /// Another mixer than softmax attention: what its output projection adds, were all its inputs alike.
    private void evenInput(List<Module> modules, Optional<double[]> postGains) {
        for (Module m : modules) {
            String name = m.path().substring(m.path().lastIndexOf('.') + 1);
            boolean output = m.kind() == Kind.O || name.equals("out_proj");
            if (!output || m.weight().shape().rank() != 2 || m.weight().shape().rows() != residual.length || m.parts().size() != 1) {
                continue;
            }
            double[] even = new double[Math.toIntExact(m.weight().shape().columns())];
            Arrays.fill(even, Attention.RHO);
            double[] out = squares.of(m, new double[][] {even}, null, false).rows();
            double[] rowGain = rowGain(out, postGains);
            double after = add(out, rowGain);
            known.put(m, new ModuleWeights(m, ModuleWeights.Source.EVEN_INPUT,
                    List.of(List.of(new Term(rowGain, even, 0.5 / after * DecoderRules.factor(Kind.O), true)))));
            return;
        }
    }

    private void mlp(List<Mlp> mlps, double[] input, Optional<double[]> postGains) {
        int experts = mlps.stream().filter(Mlp::routed).mapToInt(Mlp::experts).sum();
        double share = expertShare(experts);
        double[] out = new double[residual.length];
        List<Mlp.State> states = new ArrayList<>();
        List<double[][]> outputs = new ArrayList<>();
        for (Mlp mlp : mlps) {
            Mlp.State state = mlp.propagate(squares, input);
            states.add(state);
            Squares.Sums sums = squares.of(mlp.down, state.middle(), null, postGains.isEmpty());
            outputs.add(sums.columns());
            double[] rows = sums.rows();
            dense.addBias(mlp.down.path() + ".bias", rows);
            addRows(rows, mlp.routed() ? share : 1, out);
        }
        double[] rowGain = rowGain(out, postGains);
        double after = add(out, rowGain);
        for (int i = 0; i < mlps.size(); i++) {
            Mlp mlp = mlps.get(i);
            double[][] output = postGains.isPresent() ? squares.of(mlp.down, null, rowGain, true).columns()
                    : Arrays.stream(outputs.get(i)).map(o -> scaled(o, branchGain)).toArray(double[][]::new);
            for (ModuleWeights w : mlp.weights(states.get(i), output, rowGain, 0.5 / after * (mlp.routed() ? share : 1))) {
                known.put(w.module(), w);
            }
        }
    }

    /// Adds the rows of all experts to those of the network. By itself, as loops in large methods make the compiler compile all of it: 1.4 s for that of the caller.
    private static void addRows(double[] rows, double share, double[] out) {
        for (int i = 0; i < rows.length; i++) {
            out[i % out.length] += rows[i] * share;
        }
    }

    /// Of E experts k work on a token, each with a weight near 1/k: k/E · 1/k².
    private double expertShare(int experts) {
        if (experts == 0) {
            return 1;
        }
        double active = Math.clamp(dense.number("active_experts", 2), 1, experts);
        double scaling = dense.flag("norm_topk_prob", false) ? dense.number("routed_scaling_factor", 1) : 1;
        return scaling * scaling / (active * experts);
    }

    /// Per output of a branch: gain of power through a norm after it and the branch's multiplier.
    private double[] rowGain(double[] out, Optional<double[]> postGains) {
        double[] gain = new double[out.length];
        double mean = sum(out) / out.length;
        for (int i = 0; i < gain.length; i++) {
            gain[i] = branchGain * (postGains.isEmpty() ? 1 : mean == 0 ? 0 : postGains.get()[i] / mean);
        }
        return gain;
    }

    /// Adds a branch to the residual and returns the residual's power after it.
    private double add(double[] out, double[] rowGain) {
        for (int i = 0; i < out.length; i++) {
            residual[i] += out[i] * rowGain[i];
        }
        double power = sum(residual);
        return power == 0 ? Double.MIN_NORMAL : power;
    }

    private static double[] scaled(double[] v, double by) {
        return by == 1 ? v : Arrays.stream(v).map(x -> x * by).toArray();
    }

    private static double sum(double[] v) {
        double sum = 0;
        for (double x : v) {
            sum += x;
        }
        return sum;
    }

    private static double square(double x) {
        return x * x;
    }
}
