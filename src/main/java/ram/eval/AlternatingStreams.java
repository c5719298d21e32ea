package ram.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import ram.numeric.Kernels;
import ram.tensor.Rows;

/// Several states per token, of which a layer works on one (alternating updates, arXiv:2301.13310). Before a layer each is predicted from all, after it each
/// follows what the layer has made of the active one; by how much, a router says that reads the active one. Beside the attention stands a branch of low rank.
///
/// The states of a sequence lie one after the other: all tokens of the first, then all of the second.
final class AlternatingStreams {
    private final NetworkShape shape;
    private final int count;
    private final int active;
    private final float clip;
    private final boolean scaled;
    private final Linears linears;
    private final Normalization norms;

    AlternatingStreams(NetworkShape shape, NetworkShape.Streams streams, Linears linears, Normalization norms) {
        this.shape = shape;
        this.count = streams.count();
        this.active = streams.active();
        this.clip = streams.clip();
        this.scaled = streams.scaled();
        this.linears = linears;
        this.norms = norms;
    }

    private String part(int l, String name) {
        return shape.layer(l) + ".altup." + name;
    }

    private String low(int l, String name) {
        return shape.layer(l) + ".laurel." + name;
    }

    private String first(int stream) {
        return shape.root() + "altup_projections." + (stream - 1);
    }

    private String last(int stream) {
        return shape.root() + "altup_unembed_projections." + (stream - 1);
    }

    /// Paths of the modules of a layer; with the first one come those that all layers have in common.
    List<String> modules(int l) {
        List<String> out = new ArrayList<>();
        for (int s = 1; l == 0 && s < count; s++) {
            out.addAll(List.of(first(s), last(s)));
        }
        Stream.of("modality_router", "prediction_coefs", "correction_coefs").map(name -> part(l, name)).forEach(out::add);
        out.addAll(List.of(low(l, "linear_left"), low(l, "linear_right")));
        return out;
    }

    /// All states of embedded sequences: projections of the embedding, each token as long as that.
    List<float[]> spread(List<float[]> embedded) {
        List<float[]> out = embedded.stream().map(e -> Arrays.copyOf(e, Math.multiplyExact(e.length, count))).toList();
        float[] all = ForwardPass.joined(embedded);
        for (int s = 1; s < count; s++) {
            float[] made = linears.apply(first(s), shape.hidden(), shape.hidden(), all);
            lengthen(made, all);
            put(out, s, made);
        }
        return out;
    }

    /// The mean of all states, after those beside the first were projected back and made as long as it.
    List<float[]> merged(List<float[]> states) {
        List<float[]> out = stream(states, 0);
        float[] one = ForwardPass.joined(out);
        float[] sum = one.clone();
        for (int s = 1; s < count; s++) {
            float[] made = linears.apply(last(s), shape.hidden(), shape.hidden(), ForwardPass.joined(stream(states, s)));
            lengthen(made, one);
            Kernels.addScaled(1, made, 0, sum, 0, made.length);
        }
        for (int i = 0; i < sum.length; i++) {
            sum[i] /= count;
        }
        int at = 0;
        for (float[] s : out) {
            System.arraycopy(sum, at, s, 0, s.length);
            at += s.length;
        }
        return out;
    }

    private void lengthen(float[] x, float[] like) {
        int hidden = shape.hidden();
        for (int at = 0; at < x.length; at += hidden) {
            float factor = (float) Math.sqrt(Kernels.sumOfSquares(like, at, hidden) / Kernels.sumOfSquares(x, at, hidden));
            for (int i = at; i < at + hidden; i++) {
                x[i] *= factor;
            }
        }
    }

    /// Copies of the active states.
    List<float[]> active(List<float[]> states) {
        return stream(states, active);
    }

    private List<float[]> stream(List<float[]> states, int stream) {
        return states.stream().map(s -> Arrays.copyOfRange(s, s.length / count * stream, s.length / count * (stream + 1))).toList();
    }

    private void put(List<float[]> states, int stream, float[] all) {
        int at = 0;
        for (float[] s : states) {
            int length = s.length / count;
            System.arraycopy(all, at, s, stream * length, length);
            at += length;
        }
    }

    /// What the router says of active states: a number for each stream of each token, within ±1.
    private float[] routed(int l, List<float[]> states) {
        float[] x = ForwardPass.joined(states);
        norms.apply(x, part(l, "router_norm"), shape.hidden());
        for (int i = 0; i < x.length; i++) {
            x[i] /= shape.hidden();
        }
        float[] out = linears.apply(part(l, "modality_router"), count, shape.hidden(), x);
        for (int i = 0; i < out.length; i++) {
            out[i] = (float) StrictMath.tanh(out[i]);
        }
        return out;
    }

    /// Coefficients of each token.
    private float[] coefficients(String path, int rows, float[] routed) {
        Rows w = linears.matrix(path, rows, count).changed((_, n, out) -> {
            for (int i = 0; i < n * count; i++) {
                out[i] = Math.clamp(out[i], -clip, clip);
            }
        });
        return linears.apply(w, linears.bias(path, rows), 0, rows, routed);
    }

    /// Replaces the states by what is predicted of them: themselves, and a share of each.
    void predict(int l, List<float[]> states) {
        float[] shares = coefficients(part(l, "prediction_coefs"), count * count, routed(l, active(states)));
        int hidden = shape.hidden();
        int token = 0;
        for (float[] s : states) {
            float[] before = s.clone();
            int length = s.length / count;
            for (int at = 0; at < length; at += hidden, token++) {
                for (int to = 0; to < count; to++) {
                    for (int from = 0; from < count; from++) {
                        Kernels.addScaled(shares[(token * count + to) * count + from], before, from * length + at, s, to * length + at, hidden);
                    }
                }
            }
        }
    }

    /// Adds to each predicted state its share of how far the layer has moved the active one.
    ///
    /// @param made the active states that the layer made
    void correct(int l, List<float[]> states, List<float[]> made) {
        float[] shares = coefficients(part(l, "correction_coefs"), count, routed(l, made));
        int hidden = shape.hidden();
        int token = 0;
        for (int i = 0; i < states.size(); i++) {
            float[] s = states.get(i);
            float[] moved = made.get(i).clone();
            int length = moved.length;
            Kernels.addScaled(-1, s, active * length, moved, 0, length);
            for (int at = 0; at < length; at += hidden, token++) {
                for (int to = 0; to < count; to++) {
                    Kernels.addScaled(1 + shares[token * count + to], moved, at, s, to * length + at, hidden);
                }
            }
        }
    }

    /// What opens the gates of a layer's inputs: the active states, each value with its factor where the model has some.
    float[] gating(int l, List<float[]> states) {
        float[] out = ForwardPass.joined(active(states));
        if (scaled) {
            float[] scale = linears.vector(part(l, "correct_output_scale"), shape.hidden());
            for (int i = 0; i < out.length; i++) {
                out[i] *= scale[i % scale.length];
            }
        }
        return out;
    }

    /// Adds the same to all states beside the first.
    void addToOthers(List<float[]> states, float[] delta) {
        int at = 0;
        for (float[] s : states) {
            int length = s.length / count;
            for (int stream = 1; stream < count; stream++) {
                Kernels.addScaled(1, delta, at, s, stream * length, length);
            }
            at += length;
        }
    }

    /// What stands beside the attention: what enters it, and more of that from a projection of low rank.
    float[] branch(int l, float[] x) {
        float[] out = linears.apply(low(l, "linear_right"), linears.apply(low(l, "linear_left"), x));
        norms.apply(out, low(l, "post_laurel_norm"), shape.hidden());
        Kernels.addScaled(1, x, 0, out, 0, x.length);
        return out;
    }
}
