package ram.refine;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import ram.eval.ForwardPass;
import ram.eval.NetworkShape;
import ram.eval.SelfText;
import ram.eval.WeightSource;
import ram.format.Format;
import ram.numeric.Workers;
import ram.safetensors.Shape;
import ram.tensor.Rows;

/// What a refinement takes, known before it starts.
///
/// @param operations floating-point operations
/// @param statistics bytes of the largest module's statistics, which come on top of the memory limit
/// @param files bytes of working files
public record RefineCost(double operations, long statistics, long files) {
    /// A stack of which each head's matrix has inputs of its own, from every token.
    private static final String PER_HEAD = ".embed_q";
    /// Modules whose statistics are those of another one.
    private static final List<String> SHARING = List.of(".k_proj", ".v_proj", ".up_proj", ".in_proj_ba", ".in_proj_z", ".in_proj_b", ".in_proj_a");

    /// @throws ram.InputException for a family that cannot be run
    public static RefineCost of(WeightSource source, Map<String, Refiner.Target> targets, Refinement how) {
        SelfText text = how.text();
        try (Workers one = new Workers(1)) {
            ForwardPass pass = new ForwardPass(source, one);
            NetworkShape shape = pass.shape();
            double tokens = text.tokens();
            double forward = 0;
            double unread = 0;
            double coding = 0;
            long statistics = 0;
            long codes = 0;
            long widest = 2L * shape.hidden();
            String last = shape.layer(shape.layers() - 1) + ".";
            for (Map.Entry<String, Refiner.Target> target : targets.entrySet()) {
                Rows w = source.matrix(target.getKey()).orElse(null);
                if (w == null) {
                    continue;
                }
                double n = w.columns();
                boolean expert = target.getKey().contains("." + shape.mixture().stack() + ".");
                double experts = expert ? shape.mixture().experts().stream().mapToInt(Integer::intValue).max().orElse(1) : target.getKey().endsWith(PER_HEAD) ? shape.heads(0).count() : 1;
                double used = expert ? shape.mixture().perToken() / experts : 1;
                boolean lookup = target.getKey().equals(shape.embedding());
                double products = lookup ? 0 : 2 * w.rows() * n * tokens * used;
                forward += products;
                int end = shape.layers() - 1;
                boolean down = target.getKey().endsWith(".down_proj") || target.getKey().equals(shape.denseDown(end)) || shape.sharedDown(end).filter(target.getKey()::equals).isPresent();
                if (!Refiner.headRefinable(shape, targets) && target.getKey().startsWith(last) && down) {
                    unread += products;
                }
                if (target.getValue().refinable()) {
                    boolean shares = SHARING.stream().anyMatch(target.getKey()::endsWith) || shape.dense().gated() && target.getKey().endsWith("." + shape.dense().up());
                    boolean drift = how.drift() > 0 && tokens / 2 * used >= 2 * n;
                    coding += (drift ? 4 : 2) * w.rows() * n * n + (shares ? 0 : (drift ? 2 : 1) * n * n * tokens * used * experts + experts * n * n * n * (drift ? 7.0 / 3 : 1.0 / 3));
                    statistics = Math.max(statistics, (expert ? 1 : (long) experts) * Inputs.bytes(w.columns(), how.drift() > 0 ? Math.round(tokens / 2 * used) : 0));
                }
                widest = Math.max(widest, expert ? 0 : 2L * w.columns());
                for (Format.Component c : target.getValue().format().components(Shape.of(w.rows(), w.columns()), target.getValue().stored())) {
                    codes += c.bytes();
                }
            }
            double streams = how.drift() > 0 ? 1.5 : 1;
            double passes = (how.file().isPresent() ? 0 : text.passes()) + streams + (pass.tied() && targets.containsKey(shape.embedding()) ? 1 : 0);
            return new RefineCost(passes * forward - streams * unread + coding, statistics, codes + 4 * text.tokens() * (3L * shape.hidden() + widest));
        }
    }

    /// Such as `0.4 TFLOP`.
    public String work() {
        return String.format(Locale.ROOT, "%.3g TFLOP", operations / 1e12);
    }
}
