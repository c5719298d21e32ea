package ram.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.IntStream;
import ram.InputException;
import ram.numeric.Workers;

/// Evaluates models on the same sequences, against a reference where there is one.
///
///     EvalReport report = Evaluator.evaluate(List.of(model), Optional.of(source), tokens, EvalOptions.defaults());
public final class Evaluator {
    private final List<EvalModel> models;
    private final boolean reference;
    private final TokenSet tokens;
    private final EvalOptions options;

    private Evaluator(List<EvalModel> models, Optional<EvalModel> reference, TokenSet tokens, EvalOptions options) {
        this.models = new ArrayList<>();
        reference.ifPresent(this.models::add);
        this.models.addAll(models);
        this.reference = reference.isPresent();
        this.tokens = tokens;
        this.options = options;
    }

    /// @param reference is evaluated too, and comes first in the report
    /// @throws InputException when a model cannot be run, or vocabularies differ
    /// @throws java.util.concurrent.CancellationException when the thread is interrupted; finished sequences stay in the partial file
    public static EvalReport evaluate(List<EvalModel> models, Optional<EvalModel> reference, TokenSet tokens, EvalOptions options) {
        return new Evaluator(models, reference, tokens, options).run();
    }

    private EvalReport run() {
        if (models.isEmpty()) {
            throw new IllegalArgumentException("no model to evaluate");
        }
        try (Workers workers = new Workers(options.threads())) {
            Projection projection = new Projection(workers);
            List<ForwardPass> passes = models.stream().map(m -> new ForwardPass(m.weights(), workers, projection)).toList();
            for (int m = 1; m < passes.size(); m++) {
                if (passes.get(m).shape().vocabulary() != passes.getFirst().shape().vocabulary()) {
                    throw new InputException(models.get(m).name() + " has a vocabulary of " + passes.get(m).shape().vocabulary() + " and " + models.getFirst().name()
                            + " one of " + passes.getFirst().shape().vocabulary() + "; only models with the same tokenizer can be compared");
                }
            }
            models.forEach(m -> m.requireKnown(tokens));
            Map<Integer, List<SequenceScores>> done = new TreeMap<>();
            Optional<PartialResults> partial = options.partial().map(file -> PartialResults.open(file, models, reference, tokens));
            partial.ifPresent(p -> done.putAll(p.finished()));
            long start = System.nanoTime();
            long fresh = 0;
            List<Integer> open = IntStream.range(0, tokens.sequences().size()).filter(i -> !done.containsKey(i)).boxed().toList();
            partial.filter(_ -> !open.isEmpty()).ifPresent(PartialResults::requireWritable);
            List<List<Integer>> batches = ForwardPass.batches(open, tokens.sequences(), batchTokens(passes));
            for (int b = 0; b < batches.size(); b++) {
                List<List<SequenceScores>> scores = batch(batches.get(b), passes, workers, projection, b, batches.size());
                for (int i = 0; i < batches.get(b).size(); i++) {
                    int sequence = batches.get(b).get(i);
                    List<SequenceScores> all = scores.get(i);
                    done.put(sequence, all);
                    partial.ifPresent(p -> p.append(sequence, all));
                    fresh += tokens.sequences().get(sequence).length - 1;
                }
            }
            EvalReport.Speed speed = new EvalReport.Speed(fresh * models.size(), (System.nanoTime() - start) / 1e9, projection.operations(), projection.nanos() / 1e9);
            return EvalReport.of(models, reference, tokens, List.copyOf(done.values()), speed);
        }
    }

    /// Half of the memory holds what of all models is kept between the layers, their states most of all, the other half what a layer computes.
    private long batchTokens(List<ForwardPass> passes) {
        long held = passes.stream().mapToLong(p -> 4 * p.heldFloatsPerToken()).max().orElse(0);
        long perToken = passes.stream().mapToLong(p -> 4L * p.stateFloatsPerToken()).sum() + 8L * passes.getFirst().shape().hidden() + held;
        long byIndex = Integer.MAX_VALUE / passes.stream().mapToInt(ForwardPass::stateFloatsPerToken).max().orElse(1);
        return Math.clamp(options.memory() / 2 / perToken, 1, byIndex);
    }

    private List<List<SequenceScores>> batch(List<Integer> indices, List<ForwardPass> passes, Workers workers, Projection projection, int batch, int batches) {
        List<int[]> inputs = indices.stream().map(tokens.sequences()::get).map(s -> Arrays.copyOf(s, s.length - 1)).toList();
        int[] targets = indices.stream().map(tokens.sequences()::get).flatMapToInt(s -> Arrays.stream(s, 1, s.length)).toArray();
        List<Head.Input> heads = new ArrayList<>();
        for (int m = 0; m < passes.size(); m++) {
            ForwardPass pass = passes.get(m);
            int model = m;
            List<float[]> states = pass.run(inputs, pass.chunkTokens(options.memory() / 2),
                    (layer, layers) -> options.progress().done((batch + (model + (double) layer / layers) / passes.size()) / batches));
            heads.add(pass.head(models.get(m).name(), states));
        }
        List<SequenceScores> all = new Head(workers, projection).score(heads, reference, targets, passes.getFirst().shape().vocabulary());
        List<List<SequenceScores>> out = new ArrayList<>();
        int from = 0;
        for (int[] in : inputs) {
            int first = from;
            int to = from + in.length;
            out.add(all.stream().map(s -> s.part(first, to)).toList());
            from = to;
        }
        return out;
    }
}
