package ram.eval;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import ram.numeric.Workers;

/// Attention of heads whose queries, keys and values are projections of the states, keys and values perhaps those of an earlier layer.
final class HeadAttention {
    private final NetworkShape shape;
    private final Linears linears;
    private final Attention attention;
    private final Normalization norms;
    private final Workers workers;

    HeadAttention(NetworkShape shape, Linears linears, Attention attention, Normalization norms, Workers workers) {
        this.shape = shape;
        this.linears = linears;
        this.attention = attention;
        this.norms = norms;
        this.workers = workers;
    }

    /// Keys and values of the heads of a layer, as they are attended to.
    record KeysAndValues(float[] keys, float[] values) {
    }

    /// Paths of the modules that read what enters the attention.
    List<String> readers(int l) {
        String path = shape.attention(l);
        NetworkShape.Heads heads = shape.heads(l);
        if (heads.source() != l) {
            return List.of(path + ".q_proj");
        }
        if (heads.keysAsValues()) {
            return List.of(path + ".q_proj", path + ".k_proj");
        }
        return linears.fusedOr(shape.fused(l), path + ".q_proj", path + ".k_proj", path + ".v_proj");
    }

    long scratchFloatsPerToken() {
        return shape.heads().stream().mapToLong(h -> (shape.gatedQueries() ? 7L : 4L) * h.count() * h.dim() + (h.keysAsValues() ? 3L : 2L) * h.kv() * h.dim()).max().orElse(0);
    }

    /// Numbers per token that are held from layer to layer: keys and values that later layers attend to.
    long heldFloatsPerToken() {
        return IntStream.range(0, shape.layers()).filter(shape::isShared).mapToObj(shape::heads).mapToLong(h -> (long) h.kv() * (h.dim() + h.value())).sum();
    }

    /// What enters the output projection of a layer: `tokens · count · value` values.
    ///
    /// @param x what enters the projections, `tokens · hidden` values
    /// @param lengths of the sequences in `x`
    /// @param tables of the rotations
    /// @param held keys and values by layer, of those that later layers attend to; takes those of this one where it is such a layer
    float[] apply(int l, float[] x, List<Integer> lengths, Map<Rope, float[]> tables, Map<Integer, KeysAndValues> held) {
        String path = shape.attention(l);
        NetworkShape.Heads heads = shape.heads(l);
        int qWidth = heads.count() * heads.dim();
        int kvWidth = heads.kv() * heads.dim();
        if (linears.has(shape.fused(l))) {
            float[][] parts = Linears.split(linears.apply(shape.fused(l), qWidth + 2 * kvWidth, shape.hidden(), x), qWidth, kvWidth, kvWidth);
            return attend(l, parts[0], keysAndValues(l, parts[1], parts[2], lengths, tables), lengths, tables);
        }
        KeysAndValues seen = heads.source() == l ? keysAndValues(l, x, lengths, tables) : held.get(heads.source());
        if (shape.isShared(l)) {
            held.put(l, seen);
        }
        if (shape.gatedQueries()) {
            float[][] both = Linears.split(linears.apply(path + ".q_proj", 2 * qWidth, shape.hidden(), x), heads.dim(), heads.dim());
            float[] mixed = attend(l, both[0], seen, lengths, tables);
            open(mixed, both[1]);
            return mixed;
        }
        return attend(l, linears.apply(path + ".q_proj", qWidth, shape.hidden(), x), seen, lengths, tables);
    }

    private KeysAndValues keysAndValues(int l, float[] x, List<Integer> lengths, Map<Rope, float[]> tables) {
        String path = shape.attention(l);
        int width = shape.heads(l).kv() * shape.heads(l).dim();
        float[] k = linears.apply(path + ".k_proj", width, shape.hidden(), x);
        float[] v = shape.heads(l).keysAsValues() ? k.clone() : linears.apply(path + ".v_proj", width, shape.hidden(), x);
        return keysAndValues(l, k, v, lengths, tables);
    }

    /// @param k what the projections made, which is changed, as is `v`
    private KeysAndValues keysAndValues(int l, float[] k, float[] v, List<Integer> lengths, Map<Rope, float[]> tables) {
        turn(l, shape.norms().queriesAndKeys().key(), k, shape.heads(l).kv(), lengths, tables);
        if (shape.norms().queriesAndKeys().values()) {
            norms.apply(v, Normalization.ones(shape.heads(l).value()));
        }
        return new KeysAndValues(k, v);
    }

    private float[] attend(int l, float[] q, KeysAndValues seen, List<Integer> lengths, Map<Rope, float[]> tables) {
        NetworkShape.Heads heads = shape.heads(l);
        turn(l, shape.norms().queriesAndKeys().query(), q, heads.count(), lengths, tables);
        shape.factors().growth().ifPresent(growth -> attention.grow(q, lengths, heads.count() * heads.dim(), growth));
        Optional<float[]> sinks = shape.names().sinks().map(name -> linears.vector(shape.attention(l) + "." + name, heads.count()));
        return attention.apply(heads, q, seen.keys(), seen.values(), lengths, shape.positions().get(l).window(), sinks);
    }

    /// Normalises and turns queries or keys, in the order of the family.
    ///
    /// @param norm its name within the attention
    /// @param count heads per token
    private void turn(int l, String norm, float[] x, int count, List<Integer> lengths, Map<Rope, float[]> tables) {
        NetworkShape.HeadNorms own = shape.norms().queriesAndKeys();
        int dim = shape.heads(l).dim();
        if (!own.afterRotation()) {
            normalizeHeads(shape.attention(l) + "." + norm, own.kind(), x, count, dim);
        }
        shape.positions().get(l).rope().ifPresent(rope -> attention.rotate(x, lengths, count, dim, 0, rope, tables.get(rope)));
        if (own.afterRotation()) {
            normalizeHeads(shape.attention(l) + "." + norm, own.kind(), x, count, dim);
        }
    }

    /// `x ← x · sigmoid(gate)`.
    private void open(float[] x, float[] gate) {
        workers.forRanges(x.length, 1 << 14, (from, to) -> {
            for (int i = from; i < to; i++) {
                gate[i] = -gate[i];
            }
            Exp.exp(gate, from, to - from, 0);
            for (int i = from; i < to; i++) {
                x[i] /= 1 + gate[i];
            }
        });
    }

    private void normalizeHeads(String path, NetworkShape.QkNorm kind, float[] x, int count, int dim) {
        if (kind != NetworkShape.QkNorm.NONE) {
            norms.apply(x, path, kind == NetworkShape.QkNorm.HEAD ? dim : count * dim);
        }
    }
}
