package ram.eval;

import java.util.Arrays;
import ram.InputException;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// The feed-forward part of a layer: a gated network, or a mixture of such networks as experts.
final class FeedForward {
    private final NetworkShape shape;
    private final Linears linears;
    private final Workers workers;

    FeedForward(NetworkShape shape, Linears linears, Workers workers) {
        this.shape = shape;
        this.linears = linears;
        this.workers = workers;
    }

    /// What a mixture makes of its inputs, shared expert included.
    float[] mixture(String path, int experts, float[] x) {
        float[] out = routed(path, experts, x);
        if (shape.mixture().sharedExpert()) {
            float[] gate = linears.apply(path + ".shared_expert_gate", 1, shape.hidden(), x);
            addShared(gate, down(path + ".shared_expert", middle(path + ".shared_expert", x)), out);
        }
        return out;
    }

    /// Adds what the shared expert makes; how much of it counts for a token is the sigmoid of its gate.
    void addShared(float[] gate, float[] shared, float[] out) {
        int hidden = shape.hidden();
        for (int t = 0; t < gate.length; t++) {
            Kernels.addScaled(1 / (1 + Exp.exp(-gate[t])), shared, t * hidden, out, t * hidden, hidden);
        }
    }

    /// What enters the output projection of a gated network.
    float[] middle(String path, float[] x) {
        String fused = path + ".gate_up_proj";
        if (linears.has(fused)) {
            int width = Math.toIntExact(linears.matrix(fused).rows() / 2);
            float[][] both = Linears.split(linears.apply(fused, 2 * width, shape.hidden(), x), width, width);
            activate(both[0], both[1]);
            return both[0];
        }
        int width = Math.toIntExact(linears.matrix(path + ".up_proj").rows());
        float[] gate = linears.apply(path + ".gate_proj", width, shape.hidden(), x);
        activate(gate, linears.apply(path + ".up_proj", width, shape.hidden(), x));
        return gate;
    }

    /// The outputs of a gated network.
    float[] down(String path, float[] middle) {
        int width = linears.matrix(path + ".down_proj").columns();
        return linears.apply(path + ".down_proj", shape.hidden(), width, middle);
    }

    /// `gate ← f(gate) · up`.
    void activate(float[] gate, float[] up) {
        workers.forRanges(gate.length, 1 << 14, (from, to) -> shape.activation().apply(gate, up, from, to));
    }

    /// Each token passes the experts that its router ranks highest; their outputs are added in the order of the experts.
    private float[] routed(String path, int experts, float[] x) {
        int hidden = shape.hidden();
        int tokens = x.length / hidden;
        float[] scores = linears.apply(path + ".gate", experts, hidden, x);
        Rows gate = linears.unbiased(path + ".switch_mlp.gate_proj");
        Rows up = linears.unbiased(path + ".switch_mlp.up_proj");
        Rows down = linears.unbiased(path + ".switch_mlp.down_proj");
        int width = Math.toIntExact(up.rows() / experts);
        boolean fits = gate.rows() == (long) width * experts && up.rows() == gate.rows() && down.rows() == (long) hidden * experts
                && gate.columns() == hidden && up.columns() == hidden && down.columns() == width;
        if (!fits) {
            throw new InputException("the experts of " + path + " do not have the shapes that config.json implies; verify the folder");
        }
        Routes routes = route(scores, experts);
        float[] out = new float[tokens * hidden];
        for (int e = 0; e < experts; e++) {
            if (routes.count(e) == 0) {
                continue;
            }
            float[] in = new float[routes.count(e) * hidden];
            routes.gather(e, x, in, 0);
            float[] g = linears.apply(gate, (long) e * width, width, in);
            float[] u = linears.apply(up, (long) e * width, width, in);
            activate(g, u);
            routes.scatter(e, linears.apply(down, (long) e * hidden, hidden, g), 0, out);
        }
        return out;
    }

    /// The experts that tokens pass, from the router's output.
    ///
    /// @param scores `tokens · experts` values
    Routes route(float[] scores, int experts) {
        int tokens = scores.length / experts;
        int perToken = shape.mixture().perToken();
        int[][] chosen = new int[experts][tokens];
        int[] counts = new int[experts];
        float[][] shares = new float[experts][tokens];
        float[] row = new float[experts];
        for (int t = 0; t < tokens; t++) {
            System.arraycopy(scores, t * experts, row, 0, experts);
            float[] share = shares(row, perToken);
            for (int e = 0; e < experts; e++) {
                if (share[e] >= 0) {
                    shares[e][counts[e]] = share[e];
                    chosen[e][counts[e]++] = t;
                }
            }
        }
        for (int e = 0; e < experts; e++) {
            chosen[e] = Arrays.copyOf(chosen[e], counts[e]);
            shares[e] = Arrays.copyOf(shares[e], counts[e]);
        }
        return new Routes(chosen, shares, shape.hidden());
    }

    /// Softmax of a token's scores, -1 for the experts that it does not pass. Of equal scores the first expert wins.
    private float[] shares(float[] scores, int perToken) {
        int experts = scores.length;
        float[] share = new float[experts];
        Arrays.fill(share, -1);
        double max = Double.NEGATIVE_INFINITY;
        for (float s : scores) {
            max = Math.max(max, s);
        }
        double all = 0;
        for (float s : scores) {
            all += StrictMath.exp(s - max);
        }
        double picked = 0;
        for (int i = 0; i < perToken; i++) {
            int best = -1;
            for (int e = 0; e < experts; e++) {
                if (share[e] < 0 && (best < 0 || scores[e] > scores[best])) {
                    best = e;
                }
            }
            share[best] = 0;
            picked += StrictMath.exp(scores[best] - max);
        }
        double total = shape.mixture().normalized() ? picked : all;
        for (int e = 0; e < experts; e++) {
            if (share[e] == 0) {
                share[e] = (float) (StrictMath.exp(scores[e] - max) / total);
            }
        }
        return share;
    }
}
