package ram.eval;

import java.util.ArrayList;
import java.util.List;

/// One head of one sequence: what layers that mix tokens compute apart from the rest.
///
/// @param firstToken of the sequence, within the tokens of a chunk
/// @param length of the sequence
record HeadTask(int firstToken, int length, int head) {
    /// All heads of all sequences.
    ///
    /// @param lengths of the sequences, which follow one another
    static List<HeadTask> of(List<Integer> lengths, int heads) {
        List<HeadTask> out = new ArrayList<>();
        int first = 0;
        for (int length : lengths) {
            for (int h = 0; h < heads; h++) {
                out.add(new HeadTask(first, length, h));
            }
            first += length;
        }
        return out;
    }
}
