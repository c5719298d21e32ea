package ram.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/// Gemma 3n in double precision with the weights of a Hugging Face checkpoint, as plainly as it can be said. It attends as Gemma 4 does.
final class ReferenceGemma3n {
    /// Those of the normal distribution, from a table.
    private static final Map<Double, Double> QUANTILES = Map.of(0.95, 1.6448536269514722, 0.5, 0.0, 0.2, -0.8416212335729143, 0.9, 1.2815515655446004);

    private final JsonNode config;
    private final Map<String, double[]> tensors;
    private final ReferenceGemma4 attending;
    private final int hidden;
    private final int layers;
    private final int streams;
    private final int active;

    ReferenceGemma3n(JsonNode config, Map<String, double[]> tensors) {
        this.config = config;
        this.tensors = tensors;
        attending = new ReferenceGemma4(config, tensors);
        hidden = config.path("hidden_size").asInt();
        layers = config.path("num_hidden_layers").asInt();
        streams = config.path("altup_num_inputs").asInt();
        active = config.path("altup_active_idx").asInt();
    }

    /// The logits of each position.
    double[][] logits(int[] ids) {
        int n = ids.length;
        double[][] embedded = new double[n][];
        double[][][] h = new double[n][streams][];
        for (int t = 0; t < n; t++) {
            // the root of 32 in bfloat16
            embedded[t] = Arrays.stream(Arrays.copyOfRange(tensors.get("model.embed_tokens.weight"), ids[t] * hidden, (ids[t] + 1) * hidden)).map(v -> v * 5.65625).toArray();
            h[t][0] = embedded[t].clone();
            for (int s = 1; s < streams; s++) {
                h[t][s] = asLongAs(embedded[t], ReferenceMath.linear(tensors, "model.altup_projections." + (s - 1), embedded[t]));
            }
        }
        Map<String, ReferenceGemma4.Memory> last = new HashMap<>();
        for (int l = 0; l < layers; l++) {
            layer(l, ids, embedded, h, last);
        }
        double[][] out = new double[n][];
        double cap = config.path("final_logit_softcapping").asDouble();
        for (int t = 0; t < n; t++) {
            double[] mean = new double[hidden];
            ReferenceMath.add(mean, h[t][0], 1.0 / streams);
            for (int s = 1; s < streams; s++) {
                ReferenceMath.add(mean, asLongAs(h[t][0], ReferenceMath.linear(tensors, "model.altup_unembed_projections." + (s - 1), h[t][s])), 1.0 / streams);
            }
            out[t] = Arrays.stream(ReferenceMath.linear(tensors, "model.embed_tokens", norm(mean, "model.norm"))).map(v -> cap * Math.tanh(v / cap)).toArray();
        }
        return out;
    }

    private void layer(int l, int[] ids, double[][] embedded, double[][][] h, Map<String, ReferenceGemma4.Memory> last) {
        String p = "model.layers." + l + ".";
        int n = ids.length;
        double[][][] predicted = new double[n][streams][];
        double[][] x = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] modes = modes(p, h[t][active]);
            double[] w = clipped(p + "altup.prediction_coefs.weight");
            for (int to = 0; to < streams; to++) {
                predicted[t][to] = h[t][to].clone();
                for (int from = 0; from < streams; from++) {
                    double share = 0;
                    for (int m = 0; m < streams; m++) {
                        share += w[(to * streams + from) * streams + m] * modes[m];
                    }
                    ReferenceMath.add(predicted[t][to], h[t][from], share);
                }
            }
            x[t] = norm(predicted[t][active], p + "input_layernorm");
        }
        double[][] attended = attending.attention(p + "self_attn.", l, x, last);
        for (int t = 0; t < n; t++) {
            double[] made = norm(attended[t], p + "post_attention_layernorm");
            ReferenceMath.add(made, predicted[t][active], 1);
            ReferenceMath.add(made, x[t], 1);
            ReferenceMath.add(made, norm(ReferenceMath.linear(tensors, p + "laurel.linear_right", ReferenceMath.linear(tensors, p + "laurel.linear_left", x[t])), p + "laurel.post_laurel_norm"), 1);
            made = Arrays.stream(made).map(v -> v / Math.sqrt(2)).toArray();
            ReferenceMath.add(made, norm(network(l, p + "mlp.", norm(made, p + "pre_feedforward_layernorm")), p + "post_feedforward_layernorm"), 1);
            double[] modes = modes(p, made);
            double[] w = clipped(p + "altup.correction_coefs.weight");
            for (int s = 0; s < streams; s++) {
                double share = 1;
                for (int m = 0; m < streams; m++) {
                    share += w[s * streams + m] * modes[m];
                }
                h[t][s] = predicted[t][s].clone();
                ReferenceMath.add(h[t][s], made, share);
                ReferenceMath.add(h[t][s], predicted[t][active], -share);
            }
            double[] extra = input(l, p, ids[t], embedded[t], h[t][active]);
            for (int s = 1; s < streams; s++) {
                ReferenceMath.add(h[t][s], extra, 1);
            }
        }
    }

    private double[] input(int l, String p, int id, double[] embedded, double[] state) {
        int each = config.path("hidden_size_per_layer_input").asInt();
        double[] table = tensors.get("model.embed_tokens_per_layer.weight");
        int row = id < config.path("vocab_size_per_layer_input").asInt() ? id : 0;
        double[] projected = ReferenceMath.linear(tensors, "model.per_layer_model_projection", embedded);
        double[] own = norm(Arrays.stream(projected, l * each, (l + 1) * each).map(v -> v / Math.sqrt(hidden)).toArray(), "model.per_layer_projection_norm");
        double[] read = state.clone();
        if (config.path("altup_correct_scale").asBoolean()) {
            Arrays.setAll(read, i -> state[i] * tensors.get(p + "altup.correct_output_scale")[i]);
        }
        double[] gate = ReferenceMath.linear(tensors, p + "per_layer_input_gate", read);
        Arrays.setAll(gate, i -> ReferenceMath.geluByTanh(gate[i]) * (own[i] + Math.sqrt(each) * table[row * layers * each + l * each + i]) / Math.sqrt(2));
        return norm(ReferenceMath.linear(tensors, p + "per_layer_projection", gate), p + "post_per_layer_input_norm");
    }

    private double[] network(int l, String p, double[] x) {
        double[] gate = ReferenceMath.linear(tensors, p + "gate_proj", x);
        double share = config.path("activation_sparsity_pattern").path(l).asDouble();
        if (share > 0) {
            double mean = Arrays.stream(gate).average().orElseThrow();
            double deviation = Math.sqrt(Arrays.stream(gate).map(v -> (v - mean) * (v - mean)).average().orElseThrow());
            Arrays.setAll(gate, i -> Math.max(0, gate[i] - mean - deviation * QUANTILES.get(share)));
        }
        double[] up = ReferenceMath.linear(tensors, p + "up_proj", x);
        Arrays.setAll(gate, i -> ReferenceMath.geluByTanh(gate[i]) * up[i]);
        return ReferenceMath.linear(tensors, p + "down_proj", gate);
    }

    private double[] modes(String p, double[] x) {
        double[] read = Arrays.stream(norm(x, p + "altup.router_norm")).map(v -> v / hidden).toArray();
        return Arrays.stream(ReferenceMath.linear(tensors, p + "altup.modality_router", read)).map(Math::tanh).toArray();
    }

    private double[] clipped(String name) {
        double most = config.path("altup_coef_clip").asDouble(1e9);
        return Arrays.stream(tensors.get(name)).map(v -> Math.max(-most, Math.min(most, v))).toArray();
    }

    private static double[] asLongAs(double[] like, double[] x) {
        double factor = Math.sqrt(Arrays.stream(like).map(v -> v * v).sum() / Arrays.stream(x).map(v -> v * v).sum());
        return Arrays.stream(x).map(v -> v * factor).toArray();
    }

    private double[] norm(double[] x, String path) {
        double[] w = tensors.get(path + ".weight");
        double squares = Arrays.stream(x).map(v -> v * v).average().orElseThrow();
        double[] out = new double[x.length];
        Arrays.setAll(out, i -> x[i] / Math.sqrt(squares + config.path("rms_norm_eps").asDouble()) * w[i]);
        return out;
    }
}
