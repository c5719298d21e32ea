package ram.eval;

import java.util.Arrays;

/// What a model made of one sequence, one number per predicted token.
///
/// @param nll negative log-likelihood of the token that follows, in nats
/// @param kl KL(reference ‖ model) of the next-token distributions, in nats; null without a reference
/// @param deltaP the model's probability of the token that follows minus the reference's; null without a reference
/// @param sameTop whether model and reference rank the same token first; null without a reference
record SequenceScores(float[] nll, float[] kl, float[] deltaP, boolean[] sameTop) {
    SequenceScores part(int from, int to) {
        return kl == null ? new SequenceScores(Arrays.copyOfRange(nll, from, to), null, null, null)
                : new SequenceScores(Arrays.copyOfRange(nll, from, to), Arrays.copyOfRange(kl, from, to), Arrays.copyOfRange(deltaP, from, to),
                        Arrays.copyOfRange(sameTop, from, to));
    }

    double meanNll() {
        double sum = 0;
        for (float v : nll) {
            sum += v;
        }
        return sum / nll.length;
    }

    double perplexity() {
        return StrictMath.exp(meanNll());
    }
}
