package ram.refine;

import java.util.ArrayList;
import java.util.List;

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
        List<Piece> out = new ArrayList<>();
        int from = 0;
        while (from < text.size()) {
            int to = from + 1;
            long tokens = text.get(from).length;
            int end = from < half ? half : text.size();
            while (to < end && tokens + text.get(to).length <= most) {
                tokens += text.get(to++).length;
            }
            out.add(new Piece(text.subList(from, to), Math.toIntExact(tokens), from < half));
            from = to;
        }
        return out;
    }

    /// Of each sequence, in tokens.
    List<Integer> lengths() {
        return sequences.stream().map(s -> s.length).toList();
    }
}
