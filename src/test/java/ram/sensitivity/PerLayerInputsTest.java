package ram.sensitivity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static ram.sensitivity.HandMadeModel.all;
import static ram.sensitivity.HandMadeModel.diagonal;
import static ram.sensitivity.HandMadeModel.filled;
import static ram.sensitivity.HandMadeModel.gaussian;
import static ram.sensitivity.HandMadeModel.term;

import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ram.layout.Kind;

class PerLayerInputsTest {
    private static final String LAYER = "model.layers.0.";
    private static final String TABLE = "model.embed_tokens_per_layer";
    private static final String PROJECTION = "model.per_layer_model_projection";
    private static final String GATE = LAYER + "per_layer_input_gate";
    private static final String BACK = LAYER + "per_layer_projection";
    private static final int TOKENS = 600;
    private static final int HIDDEN = 48;
    private static final int EACH = 16;

    private static HandMadeModel model(int tokens, int hidden, int each, float[] embedding, float[] table, float[] projection, float[] gate, float[] back) {
        HandMadeModel m = new HandMadeModel();
        m.config.put("hidden_size", hidden).put("vocab_size", tokens).put("hidden_size_per_layer_input", each);
        return m.matrix("model.embed_tokens", Kind.EMBEDDING, tokens, hidden, embedding).matrix(TABLE, Kind.EMBEDDING, tokens, each, table)
                .matrix(PROJECTION, Kind.OTHER, each, hidden, projection).matrix(GATE, Kind.OTHER, each, hidden, gate).matrix(BACK, Kind.OTHER, hidden, each, back);
    }

    /// 8 rows of 4, the first four of them a diagonal.
    private static float[] upper(float value) {
        float[] w = new float[32];
        for (int i = 0; i < 4; i++) {
            w[5 * i] = value;
        }
        return w;
    }

    /// 8 tokens with an embedding of 2 in a channel of their own, so every channel has a power of ½; layers have 4 channels.
    @Test
    void theBranchIsAGateTimesTheSumOfBoth() {
        HandMadeModel m = model(8, 8, 4, diagonal(8, 8, 2), filled(32, 3), diagonal(4, 8, 5), new float[32], upper(2)).vector("model.per_layer_projection_norm.weight", 1, 2, 3, 4);
        m.config.put("hidden_activation", "gelu_pytorch_tanh");
        Map<String, ModuleWeights> w = m.walk(1);
        assertArrayEquals(all(4, 0), term(w, BACK).columns(), 0);
        // A gate of 0 lets nothing pass, but its slope is a half: noise in it meets (9 · 4 + γ²) / 2, and goes back through a 2.
        double[] rows = term(w, GATE).rows();
        for (int i = 0; i < 4; i++) {
            assertEquals(0.25 * (36 + (i + 1) * (i + 1)) / 2 * 4, rows[i], 1e-4);
        }
        assertArrayEquals(all(8, 0.5), term(w, GATE).columns(), 1e-6);
        assertEquals(0.075 * 0.5 / m.result.residualPower().getLast(), term(w, GATE).scale(), 1e-9);
        // Nothing that the table has passes the gate.
        assertArrayEquals(all(4, 0), term(w, TABLE).columns(), 0);
    }

    @ParameterizedTest
    @CsvSource({TABLE + ", 0.065", PROJECTION + ", 0.065", GATE + ", 0.075", BACK + ", 0.11"})
    void noiseIsThatOfAllTokens(String path, double factor) {
        Random random = new Random(23);
        float[] table = gaussian(TOKENS * EACH, 0.3, random);
        float[] projection = gaussian(EACH * HIDDEN, 0.2, random);
        float[] gate = gaussian(EACH * HIDDEN, 0.2, random);
        float[] back = gaussian(HIDDEN * EACH, 0.2, random);
        HandMadeModel m = model(TOKENS, HIDDEN, EACH, gaussian(TOKENS * HIDDEN, 1, random), table, projection, gate, back).vector("model.per_layer_projection_norm.weight", filled(EACH, 1.5));
        Term term = term(m.walk(2), path);
        float[] weights = m.data.get(path);
        double[] before = branch(m);
        double predicted = 0;
        int columns = term.columns().length;
        for (int i = 0; i < weights.length; i++) {
            float change = (float) (0.002 * random.nextGaussian());
            weights[i] += change;
            predicted += term.rows()[i / columns] * change * change * term.columns()[i % columns];
        }
        double[] after = branch(m);
        double noise = 0;
        for (int i = 0; i < before.length; i++) {
            noise += (after[i] - before[i]) * (after[i] - before[i]) / TOKENS;
        }
        assertEquals(1, noise / (predicted * term.scale() / factor / (0.5 / m.result.residualPower().getLast())), 0.3);
    }

    /// What the branch adds, of every token that is in the first layer.
    private static double[] branch(HandMadeModel m) {
        float[] embedding = m.data.get("model.embed_tokens");
        double[] out = new double[TOKENS * HIDDEN];
        for (int t = 0; t < TOKENS; t++) {
            double[] projected = new double[EACH];
            double[] gates = new double[EACH];
            double squares = 0;
            for (int i = 0; i < EACH; i++) {
                for (int j = 0; j < HIDDEN; j++) {
                    projected[i] += m.data.get(PROJECTION)[i * HIDDEN + j] * embedding[t * HIDDEN + j] / Math.sqrt(HIDDEN);
                    gates[i] += m.data.get(GATE)[i * HIDDEN + j] * embedding[t * HIDDEN + j];
                }
                squares += projected[i] * projected[i] / EACH;
            }
            for (int i = 0; i < EACH; i++) {
                double input = (projected[i] / Math.sqrt(squares) * 1.5 + m.data.get(TABLE)[t * EACH + i] * Math.sqrt(EACH)) / Math.sqrt(2);
                double opened = gates[i] / (1 + Math.exp(-gates[i])) * input;
                for (int j = 0; j < HIDDEN; j++) {
                    out[t * HIDDEN + j] += m.data.get(BACK)[j * EACH + i] * opened;
                }
            }
        }
        return out;
    }

    @Test
    void otherSizesAreLeftAlone() {
        HandMadeModel m = model(8, 8, 4, diagonal(8, 8, 2), filled(32, 3), diagonal(4, 8, 5), filled(32, 1), upper(2));
        m.config.put("hidden_size_per_layer_input", 3);
        Map<String, ModuleWeights> w = m.walk(1);
        for (String path : new String[] {TABLE, PROJECTION, GATE, BACK}) {
            assertEquals(ModuleWeights.Source.LAYER_MEDIAN, w.get(path).source(), path);
        }
    }

    @Test
    void aLayersScalarMultipliesTheResidual() {
        HandMadeModel m = model(8, 8, 4, diagonal(8, 8, 2), filled(32, 3), diagonal(4, 8, 5), filled(32, 0), upper(2)).vector(LAYER + "layer_scalar", 0.5f);
        m.walk(1);
        assertEquals(m.start() / 4, m.result.residualPower().getLast(), 1e-9);
    }
}
