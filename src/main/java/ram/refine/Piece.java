package ram.refine;

import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import ram.eval.ForwardPass;

/// Some sequences of a text, which go through a layer together.
///
/// @param tokens of all of them
/// @param followed whether they belong to the half whose drift is measured: the other half would cost as much again and change little
record Piece(List<int[]> sequences, int tokens, boolean followed) {
    Piece {
        sequences = List.copyOf(sequences);
    }

    /// Whole sequences, as many as there is memory for at once; those that are followed come first.
    ///
    /// @param most tokens of a piece with more than one sequence
    static List<Piece> of(List<int[]> text, long most) {
        int half = (text.size() + 1) / 2;
        return Stream.concat(some(text, 0, half, most, true), some(text, half, text.size(), most, false)).toList();
    }

    private static Stream<Piece> some(List<int[]> text, int from, int to, long most, boolean followed) {
        return ForwardPass.batches(IntStream.range(from, to).boxed().toList(), text, most).stream().map(b -> b.stream().map(text::get).toList())
                .map(sequences -> new Piece(sequences, Math.toIntExact(sequences.stream().mapToLong(s -> s.length).sum()), followed));
    }

    /// Of each sequence, in tokens.
    List<Integer> lengths() {
        return sequences.stream().map(s -> s.length).toList();
    }
}
