package ram.sensitivity;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import ram.layout.Kind;
import ram.layout.Module;

/// One feed-forward network: dense, a shared expert, or a stack of routed experts.
final class Mlp {
    private final Dense dense;
    private final Activation activation;
    private final Module gate;
    private final Module up;
    private final Module gateUp;
    final Module down;
    private final int inner;

    private Mlp(Dense dense, Module gate, Module up, Module gateUp, Module down) {
        this.dense = dense;
        this.activation = dense.activation();
        this.gate = gate;
        this.up = up;
        this.gateUp = gateUp;
        this.down = down;
        inner = Math.toIntExact(down.weight().shape().columns());
    }

    /// The networks among a layer's modules: those that lie beside each other and have shapes that fit.
    static List<Mlp> find(List<Module> modules, int hidden, Dense dense) {
        Map<String, Map<Kind, Module>> groups = new LinkedHashMap<>();
        for (Module m : modules) {
            groups.computeIfAbsent(m.path().substring(0, Math.max(0, m.path().lastIndexOf('.'))), _ -> new LinkedHashMap<>())
                    .putIfAbsent(m.kind(), m);
        }
        List<Mlp> found = new ArrayList<>();
        for (Map<Kind, Module> g : groups.values()) {
            Module down = g.get(Kind.DOWN);
            Module up = g.get(Kind.UP);
            Module gate = g.get(Kind.GATE);
            Module gateUp = g.get(Kind.GATE_UP);
            if (down == null || (gateUp == null) == (up == null) || gate != null && up == null) {
                continue;
            }
            int experts = down.parts().size();
            long inner = down.weight().shape().columns();
            boolean fits = fits(down, experts, hidden, inner)
                    && (up == null || fits(up, experts, inner, hidden))
                    && (gate == null || fits(gate, experts, inner, hidden))
                    && (gateUp == null || fits(gateUp, experts, 2 * inner, hidden));
            if (fits) {
                found.add(new Mlp(dense, gate, up, gateUp, down));
            }
        }
        return found;
    }

    private static boolean fits(Module m, int parts, long rows, long columns) {
        return m.parts().size() == parts && m.weight().shape().columns() == columns
                && m.parts().stream().allMatch(p -> p.rows() == rows);
    }

    boolean routed() {
        return down.expert();
    }

    int experts() {
        return down.parts().size();
    }

    /// Mean squares inside the network, per expert.
    ///
    /// @param linear gain of noise in a row of up, `gated` in a row of gate (null without one), both before down
    /// @param middle mean square of each input of down
    record State(double[] input, double[][] linear, double[][] gated, double[][] middle) {
    }

    State propagate(Squares squares, double[] input) {
        int experts = experts();
        double[][] g = null;
        double[][] u;
        if (gateUp != null) {
            double[][] both = split(squares, gateUp, input, 2 * inner);
            g = new double[experts][];
            u = new double[experts][];
            for (int e = 0; e < experts; e++) {
                g[e] = Arrays.copyOfRange(both[e], 0, inner);
                u[e] = Arrays.copyOfRange(both[e], inner, 2 * inner);
            }
        } else {
            u = split(squares, up, input, inner);
            if (gate != null) {
                g = split(squares, gate, input, inner);
            }
        }
        State state = new State(input, new double[experts][inner], g == null ? null : new double[experts][inner], new double[experts][inner]);
        double[][] gates = g;
        squares.ranges(Math.multiplyExact(experts, inner), (from, to) -> {
            for (int i = from; i < to; i++) {
                activate(i / inner, i % inner, gates, u, state);
            }
        });
        return state;
    }

    /// Fills in what channel `i` of expert `e` has.
    private void activate(int e, int i, double[][] g, double[][] u, State out) {
        if (g == null) {
            out.linear[e][i] = activation.slopeMeanSquare(u[e][i]);
            out.middle[e][i] = activation.meanSquare(u[e][i]);
        } else {
            out.linear[e][i] = activation.meanSquare(g[e][i]);
            out.gated[e][i] = activation.slopeMeanSquare(g[e][i]) * u[e][i];
            out.middle[e][i] = out.linear[e][i] * u[e][i];
        }
    }

    private double[][] split(Squares squares, Module module, double[] input, int perExpert) {
        double[] rows = dense.outputs(squares, module, input);
        double[][] out = new double[experts()][];
        for (int e = 0; e < out.length; e++) {
            out[e] = Arrays.copyOfRange(rows, e * perExpert, (e + 1) * perExpert);
        }
        return out;
    }

    /// @param output per expert and input of down: power that a unit of it has in the residual
    /// @param rowGain per output of down: gain of a norm after the branch
    /// @param scale ½ over the residual's power after the branch, times the share of an expert
    List<ModuleWeights> weights(State s, double[][] output, double[] rowGain, double scale) {
        List<List<Term>> downs = new ArrayList<>();
        List<List<Term>> ups = new ArrayList<>();
        List<List<Term>> gates = new ArrayList<>();
        List<List<Term>> fused = new ArrayList<>();
        double upFactor = DecoderRules.factor(Kind.UP);
        double gateFactor = DecoderRules.factor(Kind.GATE);
        for (int e = 0; e < experts(); e++) {
            downs.add(List.of(new Term(rowGain, s.middle[e], scale * DecoderRules.factor(Kind.DOWN), true)));
            double[] u = times(s.linear[e], output[e]);
            double[] g = s.gated == null ? null : times(s.gated[e], output[e]);
            if (gateUp != null) {
                double[] both = new double[2 * inner];
                for (int i = 0; i < inner; i++) {
                    both[i] = gateFactor * g[i];
                    both[inner + i] = upFactor * u[i];
                }
                fused.add(List.of(new Term(both, s.input, scale, true)));
            } else {
                ups.add(List.of(new Term(u, s.input, scale * upFactor, true)));
                if (g != null) {
                    gates.add(List.of(new Term(g, s.input, scale * gateFactor, true)));
                }
            }
        }
        List<ModuleWeights> out = new ArrayList<>();
        add(out, gate, gates);
        add(out, up, ups);
        add(out, gateUp, fused);
        add(out, down, downs);
        return out;
    }

    private static void add(List<ModuleWeights> out, Module module, List<List<Term>> parts) {
        if (module != null) {
            out.add(new ModuleWeights(module, ModuleWeights.Source.PROPAGATED, parts));
        }
    }

    private static double[] times(double[] a, double[] b) {
        double[] out = new double[a.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = a[i] * b[i];
        }
        return out;
    }
}
