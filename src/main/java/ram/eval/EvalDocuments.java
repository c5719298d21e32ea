package ram.eval;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import ram.document.JsonDocument;

/// An evaluation as JSON and as CSV. The same results give the same bytes; times are left out.
public final class EvalDocuments {
    /// Ends the name of a model whose quantization was replaced by noise, and no other: see [#named].
    public static final String CONTROL = " as noise";
    /// The `schema` of an evaluation.
    public static final String SCHEMA = "ram.evaluation/1";

    private EvalDocuments() {
    }

    /// The name of a model that a folder holds. One that ends like that of a control gets a slash, which no folder has in its name, lest a gate pass it over.
    public static String named(String folder) {
        return folder.endsWith(CONTROL) ? folder + "/" : folder;
    }

    /// The `ram.evaluation/1` document.
    ///
    /// @param version of the program
    public static ObjectNode json(EvalReport report, String version) {
        ObjectNode root = JsonDocument.object();
        root.put("schema", SCHEMA).put("tool_version", version);
        root.put("tokens", report.tokens()).put("tokens_sha256", report.tokensFingerprint());
        root.put("sequences", report.sequences()).put("predictions", report.predictions());
        report.reference().ifPresent(r -> root.put("reference", r));
        ArrayNode models = root.putArray("models");
        for (EvalReport.ModelScores m : report.models()) {
            ObjectNode node = models.addObject().put("name", m.name()).put("nll", m.nll());
            error(node, "nll_standard_error", m.nllError());
            node.put("perplexity", m.perplexity());
            EvalReport.Spread s = m.sequencePerplexity();
            ObjectNode sequences = node.putObject("sequence_perplexity").put("mean", s.mean()).put("median", s.median()).put("trimmed_mean_5", s.trimmed5()).put("trimmed_mean_10", s.trimmed10())
                    .put("geometric_mean", s.geometricMean());
            error(sequences, "standard_error", s.standardError());
            sequences.put("min", s.min()).put("max", s.max());
            m.worst().forEach(node.putArray("worst_sequences")::add);
            m.divergence().ifPresent(d -> put(node.putObject("divergence"), d));
            m.sequenceNll().forEach(node.putArray("sequence_nll")::add);
        }
        report.warnings().forEach(root.putArray("warnings")::add);
        return root;
    }

    private static void put(ObjectNode node, EvalReport.Divergence d) {
        node.put("mean_kl", d.mean());
        error(node, "mean_kl_standard_error", d.standardError());
        node.put("median_kl", d.median()).put("p90_kl", d.p90()).put("p99_kl", d.p99())
                .put("max_kl", d.max()).put("same_top", d.sameTop());
        EvalReport.DeltaP p = d.deltaP();
        node.putObject("delta_p").put("mean", p.mean()).put("rms", p.rms()).put("p1", p.p1()).put("p5", p.p5()).put("median", p.median()).put("p95", p.p95()).put("p99", p.p99());
        node.put("nll_difference", d.nllDifference());
        if (Double.isFinite(d.differenceLow())) {
            node.putArray("nll_difference_95").add(d.differenceLow()).add(d.differenceHigh());
        }
        d.sequenceKl().forEach(node.putArray("sequence_kl")::add);
    }

    /// Of a single window there is none.
    private static void error(ObjectNode node, String name, double error) {
        if (Double.isFinite(error)) {
            node.put(name, error);
        }
    }

    /// One line per model, one column per number; empty where there is no reference.
    public static String csv(EvalReport report) {
        StringBuilder out = new StringBuilder("model,nll,nll_standard_error,perplexity,sequence_mean,sequence_median,sequence_trimmed_5,sequence_trimmed_10,sequence_geometric_mean,"
                + "mean_kl,median_kl,p90_kl,p99_kl,max_kl,same_top,delta_p_mean,delta_p_rms,nll_difference,nll_difference_low,nll_difference_high\n");
        for (EvalReport.ModelScores m : report.models()) {
            EvalReport.Spread s = m.sequencePerplexity();
            Stream<Double> own = Stream.of(m.nll(), m.nllError(), m.perplexity(), s.mean(), s.median(), s.trimmed5(), s.trimmed10(), s.geometricMean());
            String compared = m.divergence().map(d -> numbers(List.of(d.mean(), d.median(), d.p90(), d.p99(), d.max(), d.sameTop(), d.deltaP().mean(), d.deltaP().rms(),
                    d.nllDifference(), d.differenceLow(), d.differenceHigh()))).orElse(",".repeat(10));
            String name = m.name().matches("[^\",\r\n]*") ? m.name() : '"' + m.name().replace("\"", "\"\"") + '"';
            out.append(name).append(',').append(numbers(own.toList())).append(',').append(compared).append('\n');
        }
        return out.toString();
    }

    private static String numbers(List<Double> values) {
        return values.stream().map(v -> Double.isFinite(v) ? String.valueOf(v) : "").collect(Collectors.joining(","));
    }
}
