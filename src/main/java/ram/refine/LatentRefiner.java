package ram.refine;

import java.util.List;
import java.util.function.BiFunction;
import java.util.stream.IntStream;
import ram.eval.ForwardPass;
import ram.eval.NetworkShape;
import ram.format.CodedMatrix;
import ram.tensor.Rows;

/// Codes what makes queries, keys and values of latent vectors: with these vectors, and the stack that each head's queries pass with the queries of that head.
final class LatentRefiner {
    private final CodedModel model;
    private final ForwardPass exact;
    private final ForwardPass coded;
    private final ModuleCoding coding;
    private final Pieces pieces;
    private final NetworkShape.Heads heads;
    private final NetworkShape.Latent latent;

    /// @throws java.util.NoSuchElementException for a model without such attention
    LatentRefiner(CodedModel model, Pieces pieces) {
        this.model = model;
        this.exact = model.exact();
        this.coded = model.coded();
        this.coding = model.coding();
        this.pieces = pieces;
        this.heads = model.shape().heads(0);
        this.latent = model.shape().latent().orElseThrow();
    }

    /// @param in the states that the layer reads
    void refine(int l, Streams in) {
        shared(exact.queryLatentReaders(l), latent.queryRank(), in, (pass, states) -> pass.queryLatents(l, pass.attentionInput(l, states)));
        shared(exact.keyLatentReaders(l), latent.rank(), in, (pass, states) -> pass.keyLatents(l, pass.attentionInput(l, states)));
        exact.queryStack(l).filter(path -> model.target(path) != null).ifPresent(path -> heads(path, l, in));
    }

    /// Modules all of whose rows read the same.
    private void shared(List<String> paths, int width, Streams in, BiFunction<ForwardPass, List<float[]>, float[]> read) {
        if (paths.stream().anyMatch(path -> model.target(path) != null)) {
            model.refine(paths, width, pieces, in, read);
        }
    }

    private static float[] input(ForwardPass pass, int l, Activations states, int piece) {
        return pass.attentionInput(l, List.of(states.get(piece)));
    }

    /// The statistics of all heads at once: those of a head are small, and the queries of all come together.
    private void heads(String path, int l, Streams in) {
        Rows source = exact.matrix(path);
        CodedMatrix out = model.open(path);
        List<Inputs> inputs = IntStream.range(0, heads.count()).mapToObj(_ -> pieces.inputs(latent.plain())).toList();
        for (int i = 0; i < pieces.count(); i++) {
            int piece = i;
            float[] codedQueries = coded.queries(l, input(coded, l, in.coded(), i));
            float[] exactQueries = pieces.exactly(i, () -> exact.queries(l, input(exact, l, in.exact(), piece)));
            for (int h = 0; h < heads.count(); h++) {
                coding.add(inputs.get(h), plain(codedQueries, h), exactQueries == null ? null : plain(exactQueries, h));
            }
        }
        for (int h = 0; h < heads.count(); h++) {
            ModuleCoding.Slice slice = new ModuleCoding.Slice(path, source, (long) h * latent.rank(), latent.rank(), model.target(path), out);
            coding.code(List.of(slice), inputs.get(h), inputs.get(h).tokens(), CodedModel.DAMPING);
        }
        model.replace(path, out);
    }

    /// The dimensions of a head's queries that do not turn.
    private float[] plain(float[] queries, int head) {
        int every = heads.count() * heads.dim();
        int tokens = queries.length / every;
        float[] out = new float[tokens * latent.plain()];
        for (int t = 0; t < tokens; t++) {
            System.arraycopy(queries, t * every + head * heads.dim(), out, t * latent.plain(), latent.plain());
        }
        return out;
    }
}
