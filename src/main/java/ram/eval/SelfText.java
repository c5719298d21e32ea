package ram.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleConsumer;
import java.util.stream.IntStream;
import ram.numeric.Workers;

/// Text that a model samples from itself, all positions at once: it begins as random tokens, and in each pass every token is replaced by a sample of
/// what the model predicts from the tokens before it. So a pass costs one evaluation, and no token waits for another.
///
/// @param sequences number of sequences, 1 or more
/// @param length tokens of each, 2 or more
/// @param passes how often the tokens are replaced; 0 leaves random ones
/// @param seed same seed, same tokens
public record SelfText(int sequences, int length, int passes, long seed) {
    public SelfText {
        if (sequences < 1 || length < 2 || passes < 0) {
            throw new IllegalArgumentException(sequences + " sequences of " + length + " in " + passes + " passes");
        }
    }

    /// Of all sequences.
    public long tokens() {
        return Math.multiplyExact((long) sequences, length);
    }

    /// @param chunkTokens how many tokens a layer works on at a time
    /// @param progress is told the share that is done, 0 to 1
    /// @throws ram.InputException for a family that cannot be run
    public List<int[]> sample(WeightSource weights, Workers workers, int chunkTokens, DoubleConsumer progress) {
        Projection projection = new Projection(workers);
        ForwardPass pass = new ForwardPass(weights, workers, projection);
        int vocabulary = pass.shape().vocabulary();
        List<int[]> text = random(vocabulary, weights.config().json().path("bos_token_id").asInt(-1));
        for (int p = 1; p <= passes; p++) {
            int number = p;
            List<int[]> inputs = text.stream().map(s -> Arrays.copyOf(s, length - 1)).toList();
            List<float[]> states = pass.run(inputs, chunkTokens, (l, layers) -> progress.accept((number - 1 + (double) l / (layers + 1)) / passes));
            int batch = Math.max(1, chunkTokens / length);
            for (int from = 0; from < sequences; from += batch) {
                List<float[]> some = states.subList(from, Math.min(sequences, from + batch));
                List<SplitMix> random = IntStream.range(from * (length - 1), (from + some.size()) * (length - 1))
                        .mapToObj(i -> generator(number, i)).toList();
                int[] drawn = new Head(workers, projection).draw(pass.head("the model", some), vocabulary, random);
                for (int s = 0; s < some.size(); s++) {
                    System.arraycopy(drawn, s * (length - 1), text.get(from + s), 1, length - 1);
                }
            }
            progress.accept((double) p / passes);
        }
        return text;
    }

    private List<int[]> random(int vocabulary, int first) {
        List<int[]> out = new ArrayList<>();
        for (int s = 0; s < sequences; s++) {
            SplitMix random = generator(0, s);
            int[] ids = new int[length];
            Arrays.setAll(ids, _ -> (int) Long.remainderUnsigned(random.next(), vocabulary));
            if (first >= 0 && first < vocabulary) {
                ids[0] = first;
            }
            out.add(ids);
        }
        return out;
    }

    private SplitMix generator(int pass, long item) {
        return new SplitMix(new SplitMix(seed + pass * 0x632be59bd9b4e019L).next() ^ new SplitMix(item).next());
    }
}
