package ram.rewrite;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.IntUnaryOperator;
import ram.layout.Model;
import ram.numeric.Decoder;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// A random decoder with 4 heads of queries, 2 of values and 3 experts, whose channels can be spread by powers of two.
public final class SpreadModel {
    static final int SIZE = 64;
    private static final int VALUES = 32;
    private static final int HEAD = 16;

    private final String type;
    private final boolean spread;
    private final DType dtype;
    private final Random random = new Random(5);
    final Map<String, float[]> tensors = new TreeMap<>();
    private final Map<String, Shape> shapes = new TreeMap<>();

    /// @param spread whether channels are spread
    public SpreadModel(String type, boolean spread, DType dtype) {
        this.type = type;
        this.spread = spread;
        this.dtype = dtype;
        boolean experts = type.equals("mixtral") || type.endsWith("_moe");
        add("model.embed_tokens.weight", 100, SIZE);
        add("model.norm.weight", SIZE);
        for (int l = 0; l < 2; l++) {
            String p = "model.layers." + l + ".";
            add(p + "input_layernorm.weight", SIZE);
            add(p + "post_attention_layernorm.weight", SIZE);
            add(p + "self_attn.q_proj.weight", SIZE, SIZE);
            add(p + "self_attn.k_proj.weight", VALUES, SIZE);
            if (type.startsWith("qwen3")) {
                add(p + "self_attn.q_norm.weight", HEAD);
                add(p + "self_attn.k_norm.weight", HEAD);
            }
            if (type.equals("qwen2")) {
                add(p + "self_attn.q_proj.bias", SIZE);
                add(p + "self_attn.k_proj.bias", VALUES);
                add(p + "self_attn.v_proj.bias", VALUES);
            }
            add(p + "self_attn.v_proj.weight", VALUES, SIZE);
            add(p + "self_attn.o_proj.weight", SIZE, SIZE);
            // heads 0 and 1 of the queries read head 0 of the values
            spread(p + "self_attn.v_proj", p + "self_attn.o_proj", j -> j / (2 * HEAD) * HEAD + j % HEAD, VALUES);
            if (!experts) {
                gated(p + "mlp.", "gate_proj", "up_proj", "down_proj");
            } else {
                String block = p + (type.equals("mixtral") ? "block_sparse_moe." : "mlp.");
                add(block + "gate.weight", 3, SIZE);
                for (int e = 0; e < 3; e++) {
                    boolean mixtral = type.equals("mixtral");
                    gated(block + "experts." + e + ".", mixtral ? "w1" : "gate_proj", mixtral ? "w3" : "up_proj", mixtral ? "w2" : "down_proj");
                }
            }
        }
    }

    private void gated(String p, String gate, String up, String down) {
        for (String name : List.of(gate, up, down)) {
            add(p + name + ".weight", SIZE, SIZE);
        }
        spread(p + up, p + down, j -> j, SIZE);
    }

    private void add(String name, long... dims) {
        Shape shape = Shape.of(dims);
        float[] values = new float[(int) shape.elements()];
        for (int i = 0; i < values.length; i++) {
            // a few bits, so that every type holds the values and their multiples
            values[i] = Math.round(16 * random.nextGaussian()) / 64f;
        }
        tensors.put(name, values);
        shapes.put(name, shape);
    }

    /// By as many octaves up as down, so that the geometric mean stays.
    private void spread(String writer, String reader, IntUnaryOperator channel, int channels) {
        float[] w = tensors.get(writer + ".weight");
        float[] r = tensors.get(reader + ".weight");
        float[] bias = tensors.get(writer + ".bias");
        for (int c = 0; spread && c < channels; c++) {
            float factor = Math.scalb(1f, c % 5 - 2 - (c >= channels / 5 * 5 ? c % 5 - 2 : 0));
            for (int i = 0; i < SIZE; i++) {
                w[c * SIZE + i] *= factor;
            }
            if (bias != null) {
                bias[c] *= factor;
            }
            for (int j = 0; j < SIZE; j++) {
                for (int i = 0; i < SIZE && channel.applyAsInt(j) == c; i++) {
                    r[i * SIZE + j] /= factor;
                }
            }
        }
    }

    Model open(Path folder) throws IOException {
        return Model.open(write(folder));
    }

    /// @return the folder
    public Path write(Path folder) throws IOException {
        Files.createDirectories(folder);
        SafetensorsFile file = new SafetensorsFile();
        tensors.forEach((name, values) -> {
            MemorySegment bytes = MemorySegment.ofArray(new byte[values.length * dtype.bytes()]);
            Decoder.encode(dtype, values, 0, values.length, bytes, 0);
            file.add(name, dtype, shapes.get(name), (byte[]) bytes.heapBase().orElseThrow());
        });
        file.write(folder.resolve("model.safetensors"));
        Files.writeString(folder.resolve("config.json"), """
                {"model_type": "%s", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 64,
                 "moe_intermediate_size": 64, "vocab_size": 100, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "max_position_embeddings": 64,
                 "num_experts": 3, "num_local_experts": 3, "num_experts_per_tok": 2, "norm_topk_prob": true, "tie_word_embeddings": true}
                """.formatted(type));
        return folder;
    }
}
