package ram;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.StringJoiner;
import ram.numeric.Decoder;

/// Writes checkpoints with the true shapes of real models, a given number of layers, and random weights: near-Gaussian with a few outliers, bfloat16. `small` is a narrow
/// model of about so many MB. Two more have the shapes that need most memory: `large`, one tensor with a given number of MB, all zeros and a hole in the file, and
/// `many`, a given number of tiny matrices.
///
///     java -cp target/classes:target/test-classes ram.SyntheticModel qwen3-8b|qwen3-30b-a3b LAYERS FOLDER
///     java -cp target/classes:target/test-classes ram.SyntheticModel small|large|many NUMBER FOLDER
public final class SyntheticModel {
    private SyntheticModel() {
    }

    /// The dimensions of a model of the family of Qwen 3.
    ///
    /// @param experts 0 for a dense model
    /// @param sparse whether the weights are a hole in the file
    private record Size(long vocabulary, int hidden, int heads, int keyHeads, int inner, int experts, int layers, boolean sparse) {
    }

    public static void main(String[] args) throws IOException {
        if (args.length != 3 || !args[0].matches("qwen3-8b|qwen3-30b-a3b|small|large|many")) {
            System.err.println("usage: SyntheticModel qwen3-8b|qwen3-30b-a3b|small|large|many NUMBER FOLDER");
            System.exit(2);
        }
        int number = Integer.parseInt(args[1]);
        Path folder = Path.of(args[2]);
        switch (args[0]) {
            case "small" -> writeSmall(number, folder);
            case "large" -> writeLarge(number * 1_000_000L, folder);
            case "many" -> write(new Size(1024, 128, 1, 1, 64, 128, Math.ceilDiv(number, 3 * 128), false), folder);
            default -> write(args[0].equals("qwen3-30b-a3b"), number, folder);
        }
    }

    static void write(boolean experts, int layers, Path folder) throws IOException {
        write(experts ? new Size(151_936, 2048, 32, 4, 768, 128, layers, false) : new Size(151_936, 4096, 32, 8, 12_288, 0, layers, false), folder);
    }

    /// A dense model of about so many MB.
    public static void writeSmall(int megabytes, Path folder) throws IOException {
        write(new Size(4096, 512, 4, 2, 1536, 0, Math.max(1, (megabytes - 4) / 6), false), folder);
    }

    /// The least that has every kind of module: some 150 kB.
    public static void writeTiny(boolean experts, Path folder) throws IOException {
        write(new Size(64, 64, 1, 1, 64, experts ? 4 : 0, 1, false), folder);
    }

    /// A mixture of eight small experts per layer.
    public static void writeExperts(int layers, Path folder) throws IOException {
        write(new Size(1024, 128, 1, 1, 64, 8, layers, false), folder);
    }

    /// A model whose embedding has this many bytes.
    public static void writeLarge(long bytes, Path folder) throws IOException {
        write(new Size(bytes / 8192, 4096, 1, 1, 128, 0, 1, true), folder);
    }

    private static void write(Size size, Path folder) throws IOException {
        int hidden = size.hidden;
        Map<String, long[]> shapes = new LinkedHashMap<>();
        shapes.put("model.embed_tokens.weight", new long[] {size.vocabulary, hidden});
        for (int l = 0; l < size.layers; l++) {
            String p = "model.layers." + l + ".";
            shapes.put(p + "input_layernorm.weight", new long[] {hidden});
            shapes.put(p + "post_attention_layernorm.weight", new long[] {hidden});
            shapes.put(p + "self_attn.q_norm.weight", new long[] {128});
            shapes.put(p + "self_attn.k_norm.weight", new long[] {128});
            shapes.put(p + "self_attn.q_proj.weight", new long[] {size.heads * 128L, hidden});
            shapes.put(p + "self_attn.k_proj.weight", new long[] {size.keyHeads * 128L, hidden});
            shapes.put(p + "self_attn.v_proj.weight", new long[] {size.keyHeads * 128L, hidden});
            shapes.put(p + "self_attn.o_proj.weight", new long[] {hidden, size.heads * 128L});
            if (size.experts > 0) {
                shapes.put(p + "mlp.gate.weight", new long[] {size.experts, hidden});
                for (int e = 0; e < size.experts; e++) {
                    feedForward(shapes, p + "mlp.experts." + e + ".", size.inner, hidden);
                }
            } else {
                feedForward(shapes, p + "mlp.", size.inner, hidden);
            }
        }
        shapes.put("model.norm.weight", new long[] {hidden});
        Files.createDirectories(folder);
        Files.writeString(folder.resolve("config.json"), "{\"model_type\":\"" + (size.experts > 0 ? "qwen3_moe" : "qwen3") + "\",\"hidden_size\":" + hidden
                + ",\"num_hidden_layers\":" + size.layers + ",\"intermediate_size\":" + (size.experts > 0 ? 6144 : size.inner) + ",\"num_attention_heads\":" + size.heads
                + ",\"num_key_value_heads\":" + size.keyHeads
                + ",\"head_dim\":128,\"vocab_size\":" + size.vocabulary + ",\"rms_norm_eps\":1e-6,\"rope_theta\":1000000.0,\"max_position_embeddings\":40960,"
                + "\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\""
                + (size.experts > 0 ? ",\"num_experts\":" + size.experts + ",\"num_experts_per_tok\":8,\"moe_intermediate_size\":" + size.inner
                + ",\"decoder_sparse_step\":1,\"mlp_only_layers\":[],\"norm_topk_prob\":true" : "") + "}");
        List<Map<String, long[]>> shards = size.sparse ? List.of(shapes) : shards(shapes);
        StringJoiner index = new StringJoiner(",", "{\"metadata\":{},\"weight_map\":{", "}}");
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < shards.size(); i++) {
            String name = shards.size() == 1 ? "model.safetensors" : String.format(Locale.ROOT, "model-%05d-of-%05d.safetensors", i + 1, shards.size());
            shards.get(i).keySet().forEach(tensor -> index.add("\"" + tensor + "\":\"" + name + "\""));
            byte[] header = header(shards.get(i));
            try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(folder.resolve(name)), 1 << 20)) {
                out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).array());
                out.write(header);
                if (!size.sparse) {
                    for (long[] shape : shards.get(i).values()) {
                        weights(shape, random, out);
                    }
                }
            }
            if (size.sparse) {
                try (RandomAccessFile hole = new RandomAccessFile(folder.resolve(name).toFile(), "rw")) {
                    hole.setLength(8 + header.length + shapes.values().stream().mapToLong(SyntheticModel::bytes).sum());
                }
            }
        }
        if (shards.size() > 1) {
            Files.writeString(folder.resolve("model.safetensors.index.json"), index.toString());
        }
    }

    /// In files of at most 5 GB, as on Hugging Face.
    private static List<Map<String, long[]>> shards(Map<String, long[]> shapes) {
        List<Map<String, long[]>> out = new ArrayList<>();
        long room = 0;
        for (Map.Entry<String, long[]> tensor : shapes.entrySet()) {
            long bytes = bytes(tensor.getValue());
            if (out.isEmpty() || bytes > room) {
                out.add(new LinkedHashMap<>());
                room = 5_000_000_000L;
            }
            out.getLast().put(tensor.getKey(), tensor.getValue());
            room -= bytes;
        }
        return out;
    }

    private static long bytes(long[] shape) {
        return Arrays.stream(shape).reduce(2, Math::multiplyExact);
    }

    private static void feedForward(Map<String, long[]> shapes, String prefix, long inner, long hidden) {
        shapes.put(prefix + "gate_proj.weight", new long[] {inner, hidden});
        shapes.put(prefix + "up_proj.weight", new long[] {inner, hidden});
        shapes.put(prefix + "down_proj.weight", new long[] {hidden, inner});
    }

    private static byte[] header(Map<String, long[]> shapes) {
        StringJoiner entries = new StringJoiner(",", "{", "}");
        long offset = 0;
        for (Map.Entry<String, long[]> e : shapes.entrySet()) {
            long bytes = 2;
            StringJoiner dims = new StringJoiner(",", "[", "]");
            for (long d : e.getValue()) {
                bytes *= d;
                dims.add(String.valueOf(d));
            }
            entries.add("\"" + e.getKey() + "\":{\"dtype\":\"BF16\",\"shape\":" + dims + ",\"data_offsets\":[" + offset + "," + (offset + bytes) + "]}");
            offset += bytes;
        }
        return entries.toString().getBytes(StandardCharsets.UTF_8);
    }

    /// Sums of four uniform numbers from one draw; one weight in 4096 eight times as large.
    private static void weights(long[] shape, SplittableRandom random, OutputStream out) throws IOException {
        long count = 1;
        for (long d : shape) {
            count *= d;
        }
        float scale = shape.length == 1 ? 0.1f : (float) (1 / Math.sqrt(shape[1]));
        byte[] chunk = new byte[(int) Math.min(count, 1 << 20) * 2];
        for (long done = 0; done < count; done += chunk.length / 2) {
            int n = (int) Math.min(chunk.length / 2, count - done);
            for (int i = 0; i < n; i++) {
                long bits = random.nextLong();
                int sum = (int) (bits & 0x3fff) + (int) (bits >>> 14 & 0x3fff) + (int) (bits >>> 28 & 0x3fff) + (int) (bits >>> 42 & 0x3fff) - 0x7ffe;
                float v = sum * (1.7320508f / 0x4000) * scale * (bits >>> 52 == 0 ? 8 : 1) + (shape.length == 1 ? 1 : 0);
                short b = Decoder.toBf16(v);
                chunk[2 * i] = (byte) b;
                chunk[2 * i + 1] = (byte) (b >> 8);
            }
            out.write(chunk, 0, 2 * n);
        }
    }
}
