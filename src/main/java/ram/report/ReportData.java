package ram.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import ram.UsageException;
import ram.document.JsonDocument;
import ram.layout.Architecture;
import ram.layout.Kind;
import ram.metric.Metric;
import ram.numeric.Quantiles;
import ram.plan.ByteSize;
import ram.plan.Damage;
import ram.plan.Explain;
import ram.plan.Frontier;
import ram.plan.Limit;
import ram.plan.Manifest;
import ram.plan.Manifest.ModulePlan;
import ram.plan.PlanRequest;
import ram.plan.Policy;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;

/// What a report shows of a model: its profile, its plan and its evaluation, of which the profile or the plan may be missing. Numbers are rounded to five
/// digits; the profile and the manifest have them in full.
public final class ReportData {
    private static final MathContext DIGITS = new MathContext(5);
    private static final int BUDGETS = 120;
    private static final int MAX_EXPERT_CELLS = 200_000;

    private final Optional<Manifest> manifest;
    private final Optional<Profile> profile;
    private final PlanRequest request;
    private final Map<String, ModulePlan> planned = new HashMap<>();
    private final Map<String, ModuleProfile> measured = new HashMap<>();
    private final Map<String, Integer> rows = new LinkedHashMap<>();
    private final Map<String, List<Explain.Point>> curves = new HashMap<>();

    private ReportData(Optional<Manifest> manifest, Optional<Profile> profile) {
        this.manifest = manifest;
        this.profile = profile;
        this.request = manifest.map(PlanRequest::of).orElseGet(PlanRequest::defaults).within(Limit.NONE);
        manifest.ifPresent(m -> m.modules().forEach(p -> planned.put(p.path(), p)));
        profile.ifPresent(p -> p.modules().forEach(m -> measured.put(m.path(), m)));
        profile.ifPresent(p -> {
            List<List<Explain.Point>> all = Explain.curves(p, request, manifest.map(Manifest::formats).orElse(Map.of()));
            for (int i = 0; i < all.size(); i++) {
                curves.put(p.modules().get(i).path(), all.get(i));
            }
        });
    }

    /// The data of a report.
    ///
    /// @param evaluation a `ram.evaluation/1` document; empty to take the manifest's
    /// @throws UsageException when neither a manifest nor a profile is given, or the two are of different models
    public static ObjectNode of(Optional<Manifest> manifest, Optional<Profile> profile, Optional<? extends JsonNode> evaluation) {
        if (manifest.isEmpty() && profile.isEmpty()) {
            throw new UsageException("a report needs a manifest or a profile");
        }
        manifest.ifPresent(m -> profile.ifPresent(m::requireMadeFrom));
        return new ReportData(manifest, profile).document(evaluation);
    }

    private ObjectNode document(Optional<? extends JsonNode> evaluation) {
        Architecture architecture = manifest.map(Manifest::architecture).orElseGet(() -> profile.orElseThrow().architecture());
        ObjectNode root = JsonDocument.object().put("version", manifest.map(Manifest::toolVersion).orElseGet(() -> profile.orElseThrow().toolVersion()))
                .put("model", architecture.modelType()).put("layers", manifest.map(Manifest::layers).orElseGet(() -> profile.orElseThrow().layers()))
                .put("planned", manifest.isPresent()).put("measured", profile.isPresent());
        summary(root.putArray("summary"), architecture);
        ArrayNode notes = root.putArray("notes");
        // those of a plan have the assumptions among them
        manifest.map(Manifest::notes).orElse(architecture.assumptions()).forEach(notes::add);
        root.set("modules", modules());
        root.set("rows", JsonDocument.texts(List.copyOf(rows.keySet())));
        profile.ifPresent(p -> {
            root.set("frontier", frontier(p));
            root.set("distributions", distributions(p));
            experts(p).ifPresent(e -> root.set("experts", e));
        });
        evaluation.<JsonNode>map(e -> e).or(() -> manifest.flatMap(m -> m.evaluation().map(e -> e))).ifPresent(e -> root.set("evaluation", evaluation(e)));
        return root;
    }

    private void summary(ArrayNode out, Architecture architecture) {
        manifest.ifPresent(m -> {
            entry(out, "size", ByteSize.format(m.sizes().files()), m.limit().budget().isPresent() ? "of a budget of " + ByteSize.format(m.limit().budget().getAsLong()) : "");
            entry(out, "bits per weight", String.format(Locale.ROOT, "%.3f", m.sizes().bitsPerWeight()), "scales and biases included");
            double damage = m.predictedDamage();
            entry(out, "predicted damage", String.format(Locale.ROOT, "%.3g", damage), "nats per token, " + Damage.range(damage));
            entry(out, "policy", m.policy(), m.solver().name().equals("rule") ? "" : m.solver().proven() ? "proven best" : "within " + String.format(Locale.ROOT, "%.2g", m.solver().gap()) + " of the best");
        });
        long parameters = manifest.map(m -> m.sizes().parameters()).orElseGet(() -> profile.orElseThrow().modules().stream().mapToLong(ModuleProfile::parameters).sum());
        entry(out, "weights", parameters >= 1_000_000_000 ? String.format(Locale.ROOT, "%.4g billion", parameters / 1e9) : String.format(Locale.ROOT, "%.4g million", parameters / 1e6), architecture.structure().label());
    }

    private static void entry(ArrayNode out, String label, String value, String remark) {
        out.addObject().put("label", label).put("value", value).put("remark", remark);
    }

    private ArrayNode modules() {
        ArrayNode out = JsonDocument.array();
        List<String> paths = manifest.map(m -> m.modules().stream().map(ModulePlan::path).toList()).orElseGet(() -> profile.orElseThrow().modules().stream().map(ModuleProfile::path).toList());
        double all = measured.values().stream().mapToDouble(ModuleProfile::sensitivity).sum();
        double damage = planned.values().stream().mapToDouble(ModulePlan::damage).sum();
        for (String path : paths) {
            Optional<ModulePlan> p = Optional.ofNullable(planned.get(path));
            Optional<ModuleProfile> m = Optional.ofNullable(measured.get(path));
            Kind kind = p.map(ModulePlan::kind).orElseGet(() -> m.orElseThrow().kind());
            ObjectNode o = out.addObject().put("path", path).put("row", row(kind, m)).put("layer", p.map(ModulePlan::layer).orElseGet(() -> m.orElseThrow().layer()))
                    .put("shape", p.map(ModulePlan::shape).orElseGet(() -> m.orElseThrow().shape()).toString()).put("weights", p.map(x -> x.shape().elements()).orElseGet(() -> m.orElseThrow().parameters()));
            p.ifPresent(x -> {
                o.put("format", x.format().toString()).put("width", x.format().isDense() ? 0 : x.format().bits()).put("bits", round(x.bitsPerWeight())).put("bytes", x.bytes())
                        .put("error", round(x.relativeError())).put("damage", round(x.damage())).put("share", damage == 0 ? 0 : round(x.damage() / damage))
                        .put("why", x.why().label()).put("reason", x.reason());
                x.writtenError().ifPresent(e -> o.put("written", round(e)));
                manifest.flatMap(Manifest::refinement).map(r -> r.path("modules").path(path).path("output_error_ratio")).filter(JsonNode::isNumber).ifPresent(r -> o.put("refined", round(r.asDouble())));
            });
            m.ifPresent(x -> {
                o.put("sensitivity", all == 0 ? 0 : round(x.sensitivity() / all)).put("source", x.sensitivitySource()).put("kurtosis", round(x.mean(Metric.EXCESS_KURTOSIS.label())));
                ArrayNode curve = o.putArray("curve");
                curves.get(path).forEach(c -> curve.addArray().add(c.format().toString()).add(c.bytes()).add(round(c.relativeError())).add(round(c.damage())).add(c.allowed() ? 1 : 0));
            });
        }
        return out;
    }

    private int row(Kind kind, Optional<ModuleProfile> m) {
        String name = kind.label() + (m.isPresent() && m.get().expert() ? " (experts)" : m.isPresent() && m.get().sharedExpert() ? " (shared)" : "");
        return rows.computeIfAbsent(name, _ -> rows.size());
    }

    private ObjectNode frontier(Profile p) {
        Frontier f = Frontier.solve(p, request.withPolicy(Policy.BUDGET, 4, 64), BUDGETS);
        ObjectNode out = JsonDocument.object().put("nats", f.inNats()).put("trust", Damage.TRUST).put("knee", f.knee());
        ArrayNode points = out.putArray("points");
        f.points().forEach(x -> points.addArray().add(x.bytes()).add(round(x.damage())).add(round(x.bitsPerWeight())));
        manifest.ifPresent(m -> out.putArray("chosen").add(m.sizes().files()).add(round(m.predictedDamage())).add(round(m.sizes().bitsPerWeight())));
        ArrayNode machines = out.putArray("machines");
        for (Frontier.Machine x : f.machines()) {
            if (x.point().isPresent()) {
                Frontier.Point plan = x.point().get();
                machines.addArray().add(x.gib()).add(x.budget()).add(plan.bytes()).add(round(plan.damage()));
                if (plan.damage() == 0) {
                    break;
                }
            }
        }
        return out;
    }

    /// Minimum, quartiles and maximum of every metric per row, over matrices.
    private ArrayNode distributions(Profile p) {
        Map<Metric, Map<Integer, List<Double>>> values = new EnumMap<>(Metric.class);
        for (ModuleProfile m : p.modules()) {
            int row = row(m.kind(), Optional.of(m));
            for (TensorProfile t : m.tensors()) {
                for (Metric metric : Metric.values()) {
                    Double value = t.metrics().get(metric.label());
                    if (value != null && metric != Metric.SPECTRUM_EXACT) {
                        values.computeIfAbsent(metric, _ -> new TreeMap<>()).computeIfAbsent(row, _ -> new ArrayList<>()).add(value);
                    }
                }
            }
        }
        ArrayNode out = JsonDocument.array();
        values.forEach((metric, byRow) -> {
            ArrayNode boxes = out.addObject().put("metric", metric.label()).put("meaning", metric.meaning()).putArray("boxes");
            byRow.forEach((row, list) -> {
                double[] sorted = list.stream().mapToDouble(Double::doubleValue).sorted().toArray();
                ArrayNode box = boxes.addArray().add(row).add(sorted.length);
                for (double share : new double[] {0, 0.25, 0.5, 0.75, 1}) {
                    box.add(round(Quantiles.of(sorted, share)));
                }
            });
        });
        return out;
    }

    /// Per layer and expert, over the expert's matrices: sensitivity (share of the model's), relative error in the chosen format (root mean square over its
    /// matrices), largest excess kurtosis.
    private Optional<ObjectNode> experts(Profile p) {
        TreeMap<Integer, double[][]> byLayer = new TreeMap<>();
        double all = p.modules().stream().mapToDouble(ModuleProfile::sensitivity).sum();
        int most = 0;
        for (ModuleProfile m : p.modules()) {
            if (!m.expert() || m.tensors().size() < 2) {
                continue;
            }
            int n = m.tensors().size();
            most = Math.max(most, n);
            double[][] cells = byLayer.computeIfAbsent(m.layer(), _ -> new double[n][4]);
            int point = point(m);
            for (int e = 0; e < Math.min(n, cells.length); e++) {
                TensorProfile t = m.tensors().get(e);
                cells[e][0] += all == 0 ? 0 : t.sensitivity() / all;
                cells[e][1] += point < 0 ? 0 : t.curve().get(point).relativeError();
                cells[e][2] = Math.max(cells[e][2], t.metric(Metric.EXCESS_KURTOSIS.label()));
                cells[e][3]++;
            }
        }
        if (byLayer.isEmpty() || (long) byLayer.size() * most > MAX_EXPERT_CELLS) {
            return Optional.empty();
        }
        ObjectNode out = JsonDocument.object().put("experts", most);
        ArrayNode layers = out.putArray("layers");
        ArrayNode cells = out.putArray("cells");
        byLayer.forEach((layer, values) -> {
            layers.add(layer);
            ArrayNode line = cells.addArray();
            for (double[] v : values) {
                line.addArray().add(round(v[0])).add(round(Math.sqrt(v[1] / v[3]))).add(round(v[2]));
            }
        });
        return Optional.of(out);
    }

    /// The position of the chosen format in the curve; without a plan that of 4 bits in groups of 64; -1 when it was not measured.
    private int point(ModuleProfile m) {
        String wanted = planned.containsKey(m.path()) ? planned.get(m.path()).format().toString() : "4:64";
        for (int i = 0; i < m.curve().size(); i++) {
            if (m.curve().get(i).format().toString().equals(wanted)) {
                return i;
            }
        }
        return -1;
    }

    private static ObjectNode evaluation(JsonNode e) {
        ObjectNode out = JsonDocument.object().put("predictions", e.path("predictions").asLong()).put("reference", e.path("reference").asText(""));
        ArrayNode models = out.putArray("models");
        for (JsonNode m : e.path("models")) {
            JsonNode s = m.path("sequence_perplexity");
            ObjectNode o = models.addObject().put("name", m.path("name").asText()).put("perplexity", round(m.path("perplexity").asDouble())).put("mean", round(s.path("mean").asDouble()))
                    .put("median", round(s.path("median").asDouble())).put("trimmed", round(s.path("trimmed_mean_10").asDouble()));
            JsonNode d = m.path("divergence");
            if (d.path("mean_kl").isNumber()) {
                o.put("kl", round(d.path("mean_kl").asDouble())).put("median_kl", round(d.path("median_kl").asDouble()))
                        .put("p99_kl", round(d.path("p99_kl").asDouble())).put("same_top", round(d.path("same_top").asDouble()));
                if (d.has("mean_kl_standard_error")) {
                    o.put("kl_error", round(d.path("mean_kl_standard_error").asDouble()));
                }
                ArrayNode sequences = o.putArray("sequences");
                d.path("sequence_kl").forEach(x -> sequences.add(round(x.asDouble())));
            }
        }
        return out;
    }

    private static double round(double value) {
        return Double.isFinite(value) ? new BigDecimal(value).round(DIGITS).doubleValue() : 0;
    }
}
