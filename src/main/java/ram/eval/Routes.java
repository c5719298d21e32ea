package ram.eval;

import ram.numeric.Kernels;

/// Which tokens pass which experts.
///
/// @param tokens per expert, ascending
/// @param shares of the expert in each of these tokens' outputs
/// @param width values of a token, in what enters the experts as in what they add to
public record Routes(int[][] tokens, float[][] shares, int width) {
    /// How many tokens pass an expert.
    public int count(int expert) {
        return tokens[expert].length;
    }

    /// Copies what enters an expert, token after token.
    ///
    /// @param all of every token
    /// @param inputs takes `count · width` values from `at` on
    public void gather(int expert, float[] all, float[] inputs, int at) {
        int[] chosen = tokens[expert];
        for (int i = 0; i < chosen.length; i++) {
            System.arraycopy(all, chosen[i] * width, inputs, at + i * width, width);
        }
    }

    /// Adds what an expert makes of its inputs, by its shares.
    ///
    /// @param outputs `count · width` values from `at` on
    /// @param all of every token
    public void scatter(int expert, float[] outputs, int at, float[] all) {
        int[] chosen = tokens[expert];
        for (int i = 0; i < chosen.length; i++) {
            Kernels.addScaled(shares[expert][i], outputs, at + i * width, all, chosen[i] * width, width);
        }
    }
}
