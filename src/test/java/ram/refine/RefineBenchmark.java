package ram.refine;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import ram.Folders;
import ram.eval.EvalModel;
import ram.eval.SelfText;
import ram.format.Format;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.safetensors.DType;

/// Refines the layers of a model and says where the time goes, beside the peak of matrix products measured in the same run.
final class RefineBenchmark {
    private static final int SIDE = 1024;

    private RefineBenchmark() {
    }

    /// @param args a model folder, an empty folder for working files, threads, sequences of 256 tokens, drift
    public static void main(String[] args) throws IOException {
        int threads = Integer.parseInt(args[2]);
        Refinement how = Refinement.parse("self:passes=0,sequences=" + args[3] + ",drift=" + args[4]);
        SelfText text = how.text();
        try (Workers workers = new Workers(threads); EvalModel model = EvalModel.open(Path.of(args[0])); RefineStore store = new RefineStore(Path.of(args[1]), "")) {
            double peak = peak(workers);
            Map<String, Refiner.Target> targets = new HashMap<>();
            for (int l = 0; model.weights().matrix("model.layers." + l + ".self_attn.q_proj").isPresent(); l++) {
                for (String part : List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
                        "mlp.switch_mlp.gate_proj", "mlp.switch_mlp.up_proj", "mlp.switch_mlp.down_proj")) {
                    String path = "model.layers." + l + "." + part;
                    model.weights().matrix(path).ifPresent(_ -> targets.put(path, new Refiner.Target(new Format(Format.Mode.AFFINE, 4, 64), DType.BF16)));
                }
            }
            RefineCost cost = RefineCost.of(model.weights(), targets, how);
            Refiner refiner = new Refiner(model.weights(), targets, workers, 1L << 31, how.drift(), store);
            long start = System.nanoTime();
            refiner.run(() -> text.sample(model.weights(), workers, refiner.chunkTokens(), _ -> { }), _ -> { });
            double seconds = (System.nanoTime() - start) / 1e9;
            System.out.printf(Locale.ROOT, "%d tokens, %d threads: %.1f s for %s, %.0f GFLOP/s; matrix peak before %.0f, after %.0f GFLOP/s%n", text.tokens(), threads, seconds, cost.work(),
                    cost.operations() / seconds / 1e9, peak / 1e9, peak(workers) / 1e9);
            refiner.seconds().forEach((part, s) -> System.out.printf(Locale.ROOT, "  %-14s %7.1f s%n", part.toString().toLowerCase(Locale.ROOT), s));
            Folders.delete(Path.of(args[1]));
        }
    }

    /// Operations per second of products of square matrices that fit the second cache by rows.
    private static double peak(Workers workers) {
        Random random = new Random(1);
        float[] a = new float[SIDE * SIDE];
        for (int i = 0; i < a.length; i++) {
            a[i] = random.nextFloat();
        }
        double best = 0;
        for (int round = 0; round < 5; round++) {
            long start = System.nanoTime();
            workers.forEach(IntStream.range(0, 4 * workers.threads()).boxed().toList(), i -> {
                float[] c = new float[SIDE * SIDE];
                Kernels.multiplyAdd(SIDE, SIDE, SIDE, a, a, c);
                return i;
            }, _ -> { });
            best = Math.max(best, 8.0 * workers.threads() * SIDE * SIDE * SIDE / (System.nanoTime() - start) * 1e9);
        }
        return best;
    }
}
