package ram.eval;

import java.util.List;

/// Mixes the tokens of each sequence in a way that is not attention: a token sees those before it through sums or states that begin with zero.
interface TokenMixer {
    /// Paths of the modules that read what enters the mixer.
    ///
    /// @param path of the mixer
    List<String> readers(String path);

    /// Paths of its modules, beside the output projection.
    ///
    /// @param path of the mixer
    default List<String> modules(String path) {
        return readers(path);
    }

    /// Values of a token that enter the output projection.
    int width();

    /// Working memory per token beside inputs and outputs.
    long scratchFloatsPerToken();

    /// What enters the output projection: `tokens · width` values.
    ///
    /// @param x what enters the mixer, `tokens · hidden` values
    /// @param lengths of the sequences in `x`, which follow one another
    float[] apply(String path, float[] x, List<Integer> lengths);
}
