package ram.refine;

import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;
import ram.numeric.Workers;

/// A text in pieces, and what is held for each of them on its way through the layers.
final class Pieces {
    private final List<Piece> all;
    /// The first so many go through the model itself too.
    private final int followed;
    private final RefineStore store;
    private final long memory;
    private final Workers workers;

    /// @param most tokens of a piece with more than one sequence
    /// @param follow whether the model itself is to go through any
    /// @param memory bytes for activations beside the statistics of one module
    Pieces(List<int[]> text, long most, boolean follow, RefineStore store, long memory, Workers workers) {
        this.all = Piece.of(text, most);
        this.followed = follow ? (int) all.stream().filter(Piece::followed).count() : 0;
        this.store = store;
        this.memory = memory;
        this.workers = workers;
    }

    int count() {
        return all.size();
    }

    Piece get(int piece) {
        return all.get(piece);
    }

    /// How many of the first pieces go through the model itself too.
    int followed() {
        return followed;
    }

    boolean follows(int piece) {
        return piece < followed;
    }

    /// What the model itself computes for a piece; null where it is not followed.
    float[] exactly(int piece, Supplier<float[]> work) {
        return follows(piece) ? work.get() : null;
    }

    /// For the statistics of a module that every token passes.
    Inputs inputs(int columns) {
        return inputs(columns, all.subList(0, followed).stream().mapToLong(Piece::tokens).sum());
    }

    /// @param followed for how many tokens the inputs that the model itself has will be given
    Inputs inputs(int columns, long followed) {
        return new Inputs(columns, followed, workers);
    }

    /// Room for values of every token, in a file that stays.
    Activations kept(String name, int width) {
        return Activations.kept(tokens(), width, file(name), workers);
    }

    /// Room for values of every token, in memory where that suffices.
    Activations temporary(String name, int width) {
        long bytes = 4L * width * all.stream().mapToLong(Piece::tokens).sum();
        return new Activations(tokens(), width, bytes <= memory / 8 ? null : file(name), workers);
    }

    private int[] tokens() {
        return all.stream().mapToInt(Piece::tokens).toArray();
    }

    private Path file(String name) {
        return store.file(name + ".f32");
    }
}
