package ram.eval;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.IntStream;
import ram.InputException;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// The feed-forward part of a layer: a gated network or one without a gate, or a mixture of such networks as experts.
final class FeedForward {
    private static final float[] NO_CORRECTION = {};

    private final NetworkShape shape;
    private final Linears linears;
    private final Workers workers;

    FeedForward(NetworkShape shape, Linears linears, Workers workers) {
        this.shape = shape;
        this.linears = linears;
        this.workers = workers;
    }

    /// What a mixture adds to the states, shared expert included.
    float[] mixture(int l, float[] x) {
        float[] out = routed(l, x, route(l, x));
        shape.sharedDown(l).ifPresent(down -> addShared(l, x, linears.apply(down, sharedMiddle(l, x)), out));
        return out;
    }

    /// What enters the output projection of the expert that all tokens pass.
    float[] sharedMiddle(int l, float[] x) {
        String path = shape.shared(l).orElseThrow();
        return shape.dense().gated() ? gated(path, shape.mixture().shared().orElseThrow().fused(), x, OptionalDouble.empty()) : ungated(path, x);
    }

    /// Adds what the shared expert makes; how much of it counts for a token is the sigmoid of its gate, where it has one.
    ///
    /// @param x what entered the mixture
    void addShared(int l, float[] x, float[] shared, float[] out) {
        int hidden = shape.hidden();
        float branch = shape.factors().branch();
        Optional<float[]> gate = shape.sharedGate(l).map(path -> linears.apply(path, 1, hidden, x));
        for (int t = 0; t < out.length / hidden; t++) {
            float open = gate.isPresent() ? 1 / (1 + Exp.exp(-gate.get()[t])) : 1;
            Kernels.addScaled(branch * open, shared, t * hidden, out, t * hidden, hidden);
        }
    }

    /// What enters the output projection of a dense layer.
    float[] middle(int l, float[] x) {
        String path = shape.feedForward(l);
        return shape.dense().gated() ? gated(path, shape.dense().both(), x, shape.dense().cut(l)) : ungated(path, x);
    }

    private float[] ungated(String path, float[] x) {
        float[] out = linears.apply(path + "." + shape.dense().up(), x);
        activate(out);
        return out;
    }

    private float[] gated(String path, String together, float[] x, OptionalDouble cut) {
        NetworkShape.Dense names = shape.dense();
        String fused = path + "." + together;
        if (linears.has(fused)) {
            int width = Math.toIntExact(linears.matrix(fused).rows() / 2);
            float[][] both = Linears.split(linears.apply(fused, 2 * width, shape.hidden(), x), width, width);
            float[] gate = both[names.upFirst() ? 1 : 0];
            cut(gate, width, cut);
            activate(gate, both[names.upFirst() ? 0 : 1]);
            return gate;
        }
        int width = Math.toIntExact(linears.matrix(path + "." + names.up()).rows());
        float[] gate = linears.apply(path + "." + names.gate(), width, shape.hidden(), x);
        cut(gate, width, cut);
        activate(gate, linears.apply(path + "." + names.up(), width, shape.hidden(), x));
        return gate;
    }

    /// `x ← f(x)`.
    void activate(float[] x) {
        shape.dense().activation().apply(x, workers);
    }

    /// Takes away from each token's gates what lies so many standard deviations above their mean; what is below becomes 0.
    private void cut(float[] gate, int width, OptionalDouble deviations) {
        deviations.ifPresent(times -> workers.forRanges(gate.length, Math.max(1, Activation.GRAIN / width) * width, (from, to) -> {
            for (int at = from; at < to; at += width) {
                double mean = Kernels.sum(gate, at, width) / width;
                double squares = 0;
                for (int i = at; i < at + width; i++) {
                    squares += (gate[i] - mean) * (gate[i] - mean);
                }
                float below = (float) (mean + times * Math.sqrt(squares / width));
                for (int i = at; i < at + width; i++) {
                    gate[i] = Math.max(0, gate[i] - below);
                }
            }
        }));
    }

    /// `gate ← f(gate) · up`, or as [Activation#CLAMPED] has it.
    void activate(float[] gate, float[] up) {
        workers.forRanges(gate.length, Activation.GRAIN, (from, to) -> shape.dense().activation().gate(gate, up, from, to));
    }

    /// Each token passes the experts that its router ranks highest, in a narrower space where the mixture has one.
    ///
    /// @param x what enters the experts
    float[] routed(int l, float[] x, Routes routes) {
        int hidden = shape.hidden();
        int width = shape.expertWidth();
        float[] out = experts(l, shape.narrowIn(l).map(path -> linears.apply(path, width, hidden, x)).orElse(x), routes);
        return shape.narrowOut(l).map(path -> linears.apply(path, hidden, width, out)).orElse(out);
    }

    /// The projections of all experts with what is added to their outputs.
    private record Stack(Rows rows, Optional<float[]> biases, int each) {
    }

    private Stack stack(String path, int experts) {
        Rows rows = linears.matrix(path);
        return new Stack(rows, linears.bias(path, Math.toIntExact(rows.rows())), Math.toIntExact(rows.rows() / experts));
    }

    private float[] apply(Stack stack, int expert, float[] x) {
        return linears.apply(stack.rows(), stack.biases(), (long) expert * stack.each(), stack.each(), x);
    }

    /// The outputs of experts are added in their order.
    private float[] experts(int l, float[] x, Routes routes) {
        int entering = shape.expertWidth();
        int experts = shape.experts(l);
        List<Stack> stacks = shape.stacks(l).stream().map(path -> stack(path, experts)).toList();
        Stack down = stacks.getLast();
        List<Stack> readers = stacks.subList(0, stacks.size() - 1);
        boolean fits = down.rows().rows() == (long) entering * experts && readers.stream().allMatch(s -> s.rows().columns() == entering
                && s.rows().rows() == (long) s.each() * experts && s.each() == down.rows().columns());
        if (!fits) {
            throw new InputException("the experts of " + shape.block(l) + " do not have the shapes that config.json implies; verify the folder");
        }
        float[] out = new float[x.length];
        for (int e = 0; e < experts; e++) {
            if (routes.count(e) == 0) {
                continue;
            }
            float[] in = new float[routes.count(e) * entering];
            routes.gather(e, x, in, 0);
            float[] middle = apply(readers.getFirst(), e, in);
            if (shape.dense().gated()) {
                activate(middle, apply(readers.getLast(), e, in));
            } else {
                activate(middle);
            }
            routes.scatter(e, apply(down, e, middle), 0, out);
        }
        return out;
    }

    /// The experts that tokens pass, and their shares of what is added to the states.
    ///
    /// @param x what enters the router
    Routes route(int l, float[] x) {
        int experts = shape.experts(l);
        float[] outputs = linears.apply(shape.router(l), experts, shape.hidden(), x);
        float[] correction = shape.mixture().routing().correction().map(name -> linears.vector(shape.block(l) + "." + name, experts)).orElse(NO_CORRECTION);
        Optional<float[]> scale = shape.mixture().routing().scale().map(name -> linears.vector(shape.block(l) + "." + name, experts));
        int tokens = outputs.length / experts;
        int[][] chosen = new int[experts][tokens];
        int[] counts = new int[experts];
        float[][] shares = new float[experts][tokens];
        for (int t = 0; t < tokens; t++) {
            double[] share = shares(Arrays.copyOfRange(outputs, t * experts, (t + 1) * experts), correction);
            for (int e = 0; e < experts; e++) {
                if (share[e] >= 0) {
                    shares[e][counts[e]] = (float) (share[e] * shape.factors().branch()) * (scale.isPresent() ? scale.get()[e] : 1);
                    chosen[e][counts[e]++] = t;
                }
            }
        }
        for (int e = 0; e < experts; e++) {
            chosen[e] = Arrays.copyOf(chosen[e], counts[e]);
            shares[e] = Arrays.copyOf(shares[e], counts[e]);
        }
        return new Routes(chosen, shares, shape.expertWidth());
    }

    /// A token's shares, -1 for the experts that it does not pass. Of equal ranks the first expert wins.
    ///
    /// @param correction empty for none
    private double[] shares(float[] outputs, float[] correction) {
        NetworkShape.Routing routing = shape.mixture().routing();
        int experts = outputs.length;
        double[] scores = new double[experts];
        double max = Double.NEGATIVE_INFINITY;
        for (float o : outputs) {
            max = Math.max(max, o);
        }
        boolean softmax = routing.scores() == NetworkShape.Scores.SOFTMAX;
        double all = 0;
        for (int e = 0; e < experts; e++) {
            scores[e] = softmax ? StrictMath.exp(outputs[e] - max) : 1 / (1 + StrictMath.exp(-outputs[e]));
            all += scores[e];
        }
        boolean some = routing.best() < routing.groups();
        double[] ranks = new double[experts];
        for (int e = 0; e < experts; e++) {
            scores[e] /= softmax ? all : 1;
            // where nothing is added, outputs have the same order, and still differ where scores are too small to
            ranks[e] = correction.length > 0 || some ? scores[e] + (correction.length > 0 ? correction[e] : 0) : outputs[e];
        }
        if (some) {
            // no share is below 0, while a correction can make one so
            leaveOut(ranks, routing, correction.length > 0 ? 0 : -1);
        }
        double[] share = new double[experts];
        Arrays.fill(share, -1);
        double picked = 0;
        for (int i = 0; i < shape.mixture().perToken(); i++) {
            int best = -1;
            for (int e = 0; e < experts; e++) {
                if (share[e] < 0 && (best < 0 || ranks[e] > ranks[best])) {
                    best = e;
                }
            }
            share[best] = scores[best];
            picked += scores[best];
        }
        double total = routing.normalized() ? picked + routing.least() : 1;
        for (int e = 0; e < experts; e++) {
            share[e] = share[e] < 0 ? -1 : share[e] / total * routing.factor();
        }
        return share;
    }

    /// As in mlx_lm, the experts of groups that are not among the best rank with 0, which is below the others unless corrections are negative.
    ///
    /// @param rank of those
    private static void leaveOut(double[] ranks, NetworkShape.Routing routing, double rank) {
        int size = ranks.length / routing.groups();
        double[] sums = new double[routing.groups()];
        for (int g = 0; g < sums.length; g++) {
            double[] sorted = Arrays.copyOfRange(ranks, g * size, (g + 1) * size);
            Arrays.sort(sorted);
            for (int i = 1; i <= Math.min(routing.ranking(), size); i++) {
                sums[g] += sorted[size - i];
            }
        }
        int[] worst = IntStream.range(0, sums.length).boxed().sorted(Comparator.comparingDouble(g -> sums[g])).mapToInt(Integer::intValue).toArray();
        for (int i = 0; i < routing.groups() - routing.best(); i++) {
            Arrays.fill(ranks, worst[i] * size, (worst[i] + 1) * size, rank);
        }
    }
}
