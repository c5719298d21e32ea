package ram.eval;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// Multi-head latent attention (arXiv:2405.04434): a token has one latent vector that keys and values of all heads are made of, and beside it the
/// dimensions of keys that turn, which all heads share. What makes keys and values is one projection, or stacks of a matrix per head, as mlx_lm stores them.
final class LatentAttention {
    private static final int TOKENS = 64;

    private final NetworkShape shape;
    private final NetworkShape.Latent latent;
    /// The same in all layers.
    private final NetworkShape.Heads heads;
    private final Linears linears;
    private final Attention attention;
    private final Normalization norms;
    private final Workers workers;

    LatentAttention(NetworkShape shape, NetworkShape.Latent latent, Linears linears, Attention attention, Normalization norms, Workers workers) {
        this.shape = shape;
        this.latent = latent;
        this.heads = shape.heads(0);
        this.linears = linears;
        this.attention = attention;
        this.norms = norms;
        this.workers = workers;
    }

    /// Paths of the modules that read what enters the attention.
    List<String> readers(String path) {
        return List.of(path + (latent.queryRank() == 0 ? ".q_proj" : ".q_a_proj"), path + ".kv_a_proj_with_mqa");
    }

    /// Paths of the modules that read the latent vectors of queries.
    List<String> queryReaders(String path) {
        return latent.queryRank() == 0 ? List.of() : List.of(path + ".q_b_proj");
    }

    /// Paths of the modules that read those of keys and values.
    List<String> keyReaders(String path) {
        return linears.fusedOr(path + ".kv_b_proj", path + ".unembed_out");
    }

    /// Path of the stack of matrices that take each head's queries into the space of those, where there is one.
    Optional<String> queryStack(String path) {
        return Optional.of(path + ".embed_q").filter(linears::has);
    }

    long scratchFloatsPerToken() {
        return heads.count() * (2L * heads.dim() + latent.plain() + 3L * latent.value()) + 2L * (latent.rank() + latent.turned()) + latent.queryRank();
    }

    /// What enters the output projection: `tokens · heads · value` values.
    ///
    /// @param x what enters the attention, `tokens · hidden` values
    /// @param lengths of the sequences in `x`
    /// @param tables see [Rope#table]
    float[] apply(int l, float[] x, List<Integer> lengths, Map<Rope, float[]> tables) {
        String path = shape.attention(l);
        NetworkShape.Positions positions = shape.positions().get(l);
        float[] q = queries(path, x);
        float[][] parts = compressed(path, x);
        positions.rope().ifPresent(rope -> {
            attention.rotate(q, lengths, heads.count(), heads.dim(), latent.plain(), rope, tables.get(rope));
            attention.rotate(parts[1], lengths, 1, latent.turned(), 0, rope, tables.get(rope));
        });
        float[][] keysAndValues = keysAndValues(path, parts[0], parts[1]);
        return attention.apply(heads, q, keysAndValues[0], keysAndValues[1], lengths, positions.window(), Optional.empty());
    }

    /// The latent vectors of keys and values, normalised, and the dimensions of keys that turn, not turned yet.
    float[][] compressed(String path, float[] x) {
        float[][] parts = Linears.split(linears.apply(path + ".kv_a_proj_with_mqa", latent.rank() + latent.turned(), shape.hidden(), x), latent.rank(), latent.turned());
        norms.apply(parts[0], path + ".kv_a_layernorm", latent.rank(), latent.eps());
        return parts;
    }

    /// The latent vectors of queries, normalised, where queries have some.
    float[] compressedQueries(String path, float[] x) {
        float[] out = linears.apply(path + ".q_a_proj", latent.queryRank(), shape.hidden(), x);
        norms.apply(out, path + ".q_a_layernorm", latent.queryRank(), latent.eps());
        return out;
    }

    /// `tokens · count · dim` values, not turned yet.
    float[] queries(String path, float[] x) {
        int width = heads.count() * heads.dim();
        return latent.queryRank() == 0 ? linears.apply(path + ".q_proj", width, shape.hidden(), x)
                : linears.apply(path + ".q_b_proj", width, latent.queryRank(), compressedQueries(path, x));
    }

    /// @param compressed `tokens · rank` values
    /// @param turned `tokens · turned` values
    private float[][] keysAndValues(String path, float[] compressed, float[] turned) {
        int count = heads.count();
        int tokens = compressed.length / latent.rank();
        float[] keys = new float[Math.multiplyExact(tokens, count * heads.dim())];
        float[] values;
        if (linears.has(path + ".kv_b_proj")) {
            int both = latent.plain() + latent.value();
            float[] up = linears.apply(path + ".kv_b_proj", count * both, latent.rank(), compressed);
            values = new float[Math.multiplyExact(tokens, count * latent.value())];
            copy(up, both, 0, keys, heads.dim(), latent.plain());
            copy(up, both, latent.plain(), values, latent.value(), latent.value());
        } else {
            Rows perHead = headsTurned(linears.matrix(path + ".embed_q", (long) count * latent.rank(), latent.plain()), count);
            copy(linears.apply(perHead, Optional.empty(), 0, count * latent.plain(), compressed), latent.plain(), 0, keys, heads.dim(), latent.plain());
            values = linears.apply(path + ".unembed_out", count * latent.value(), latent.rank(), compressed);
        }
        workers.forRanges(tokens, TOKENS, (from, to) -> {
            for (int i = from * count; i < to * count; i++) {
                System.arraycopy(turned, i / count * latent.turned(), keys, i * heads.dim() + latent.plain(), latent.turned());
            }
        });
        return new float[][] {keys, values};
    }

    /// Copies the first `count` values from `offset` on of each head of each token to where the head begins.
    private void copy(float[] from, int width, int offset, float[] to, int toWidth, int count) {
        workers.forRanges(from.length / width, TOKENS, (first, end) -> {
            for (int i = first; i < end; i++) {
                System.arraycopy(from, i * width + offset, to, i * toWidth, count);
            }
        });
    }

    /// A stack of a matrix per head with each of them the other way round.
    ///
    /// @param stack of `heads` matrices of rows · columns elements
    /// @return `heads` matrices of columns · rows elements
    static Rows headsTurned(Rows stack, int heads) {
        int rows = Math.toIntExact(stack.rows() / heads);
        int columns = stack.columns();
        return new Rows() {
            @Override
            public long rows() {
                return (long) heads * columns;
            }

            @Override
            public int columns() {
                return rows;
            }

            @Override
            public void read(long firstRow, int count, float[] out) {
                float[] head = new float[Math.multiplyExact(rows, columns)];
                int done = 0;
                while (done < count) {
                    long row = firstRow + done;
                    int column = (int) (row % columns);
                    int some = Math.min(columns - column, count - done);
                    stack.read(row / columns * rows, rows, head);
                    for (int c = 0; c < some; c++) {
                        for (int r = 0; r < rows; r++) {
                            out[(done + c) * rows + r] = head[r * columns + column + c];
                        }
                    }
                    done += some;
                }
            }
        };
    }
}
