package ram.report;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import ram.UsageException;
import ram.document.JsonDocument;
import ram.format.Format;
import ram.layout.Kind;
import ram.plan.Limit;
import ram.plan.Manifest;
import ram.plan.Manifest.ModulePlan;
import ram.profile.AnalysisOptions;
import ram.profile.Profile;

/// What differs between two plans of a model.
///
/// @param figures size, bits per weight, predicted damage and what was measured, by name, where both have it
/// @param settings policy and settings that differ, by name; empty text where one has none
/// @param sources names of source files that are not the same in both
/// @param outputs names of written weights that are not the same in both, as far as both were written
/// @param changes modules whose format differs, those whose damage changes most first
/// @param kinds what the changes come to, by kind of module
public record ManifestDiff(SortedMap<String, Figure> figures, SortedMap<String, Setting> settings, List<String> sources, List<String> outputs, List<Change> changes, Map<Kind, Total> kinds) {
    /// The `schema` of a difference.
    public static final String SCHEMA = "ram.diff/1";

    /// Settings that change what is written in the same formats.
    private static final Set<String> CHANGE_WEIGHTS = Set.of("quantizer", "dtype", "refine", AnalysisOptions.REWRITE, AnalysisOptions.KEPT_NON_FINITE);

    /// A number in both.
    public record Figure(double before, double after) {
        /// Positive where it has grown.
        public double change() {
            return after - before;
        }
    }

    /// A setting in both.
    public record Setting(String before, String after) {
    }

    /// A module in both.
    ///
    /// @param bytes by how much it has grown
    /// @param damage by how much its predicted damage has
    public record Change(String path, Kind kind, Format before, Format after, long bytes, double damage) {
    }

    /// Changes of one kind of module.
    public record Total(int modules, long bytes, double damage) {
        Total plus(Change c) {
            return new Total(modules + 1, Math.addExact(bytes, c.bytes()), damage + c.damage());
        }
    }

    /// @throws UsageException when the modules are not those of one model
    public static ManifestDiff of(Manifest before, Manifest after) {
        Map<String, ModulePlan> old = byPath(before);
        if (!isSameModel(before, after)) {
            throw new UsageException("the manifests are of different models: their modules differ in name, number or shape; give two plans of one model");
        }
        List<Change> changes = new ArrayList<>();
        for (ModulePlan m : after.modules()) {
            ModulePlan was = old.get(m.path());
            if (!was.format().equals(m.format())) {
                changes.add(new Change(m.path(), m.kind(), was.format(), m.format(), m.bytes() - was.bytes(), m.damage() - was.damage()));
            }
        }
        changes.sort(Comparator.comparingDouble((Change c) -> -Math.abs(c.damage())).thenComparing(Change::path));
        Map<Kind, Total> kinds = new EnumMap<>(Kind.class);
        changes.forEach(c -> kinds.put(c.kind(), kinds.getOrDefault(c.kind(), new Total(0, 0, 0)).plus(c)));
        return new ManifestDiff(figures(before, after), settings(before, after), sources(before, after), outputs(before, after), List.copyOf(changes), kinds);
    }

    /// Whether two plans have the same modules of the same shapes.
    static boolean isSameModel(Manifest a, Manifest b) {
        Map<String, ModulePlan> modules = byPath(a);
        return modules.size() == b.modules().size() && b.modules().stream().allMatch(m -> modules.containsKey(m.path()) && modules.get(m.path()).shape().equals(m.shape()));
    }

    private static Map<String, ModulePlan> byPath(Manifest manifest) {
        Map<String, ModulePlan> out = new LinkedHashMap<>();
        manifest.modules().forEach(m -> out.put(m.path(), m));
        return out;
    }

    /// Whether the two plans or builds come to the same, whatever size they were asked for.
    public boolean same() {
        return changes.isEmpty() && sources.isEmpty() && outputs.isEmpty() && settings.keySet().stream().noneMatch(CHANGE_WEIGHTS::contains) && figures.values().stream().allMatch(f -> f.change() == 0);
    }

    private static SortedMap<String, Figure> figures(Manifest before, Manifest after) {
        SortedMap<String, Figure> out = new TreeMap<>();
        out.put("file_bytes", new Figure(before.sizes().files(), after.sizes().files()));
        out.put("bits_per_weight", new Figure(before.sizes().bitsPerWeight(), after.sizes().bitsPerWeight()));
        out.put("predicted_damage", new Figure(before.predictedDamage(), after.predictedDamage()));
        for (String name : List.of("divergence/mean_kl", "perplexity", "sequence_perplexity/median")) {
            OptionalDouble was = before.measured(name);
            OptionalDouble is = after.measured(name);
            if (was.isPresent() && is.isPresent() && Double.isFinite(was.getAsDouble() - is.getAsDouble()) && tokens(before).equals(tokens(after))) {
                out.put("measured_" + name.replaceFirst(".*_perplexity/", "perplexity_").replaceFirst(".*/", ""), new Figure(was.getAsDouble(), is.getAsDouble()));
            }
        }
        return out;
    }

    /// On what it was measured; figures of different texts do not compare.
    static String tokens(Manifest m) {
        return m.evaluation().map(e -> e.path("tokens_sha256").asText() + " " + e.path("predictions").asLong()).orElse("");
    }

    private static SortedMap<String, Setting> settings(Manifest before, Manifest after) {
        SortedMap<String, String> a = settings(before);
        SortedMap<String, String> b = settings(after);
        Set<String> names = new HashSet<>(a.keySet());
        names.addAll(b.keySet());
        SortedMap<String, Setting> out = new TreeMap<>();
        names.stream().filter(n -> !a.getOrDefault(n, "").equals(b.getOrDefault(n, ""))).forEach(n -> out.put(n, new Setting(a.getOrDefault(n, ""), b.getOrDefault(n, ""))));
        return out;
    }

    private static SortedMap<String, String> settings(Manifest m) {
        SortedMap<String, String> out = new TreeMap<>(m.analysis());
        out.putAll(m.planning());
        out.put("policy", m.policy());
        out.put("tool_version", m.toolVersion());
        switch (m.limit()) {
            case Limit.Budget(long bytes) -> out.put("budget_bytes", String.valueOf(bytes));
            case Limit.BitsPerWeight(double bits) -> out.put("limit_bits_per_weight", String.valueOf(bits));
            case Limit.Divergence(double nats) -> out.put("max_kl", String.valueOf(nats));
            case Limit.None _ -> { }
        }
        m.refinement().ifPresent(r -> out.put("refine", r.path("text").asText()));
        return out;
    }

    private static List<String> sources(Manifest before, Manifest after) {
        Set<String> names = new TreeSet<>(different(before.sourceReceipts(), after.sourceReceipts()));
        SortedMap<String, Profile.SourceFile> old = new TreeMap<>();
        before.profiledFiles().forEach(f -> old.put(f.name(), f));
        for (Profile.SourceFile f : after.profiledFiles()) {
            Profile.SourceFile was = old.remove(f.name());
            if (was == null || !Profile.SourceFile.same(List.of(was), List.of(f))) {
                names.add(f.name());
            }
        }
        names.addAll(old.keySet());
        return List.copyOf(names);
    }

    private static List<String> outputs(Manifest before, Manifest after) {
        return different(before.files(), after.files()).stream().filter(n -> n.endsWith(".safetensors")).toList();
    }

    /// Nothing is known to be different where one of the two has not been written.
    private static List<String> different(List<Manifest.OutputFile> before, List<Manifest.OutputFile> after) {
        if (before.isEmpty() || after.isEmpty()) {
            return List.of();
        }
        Set<Manifest.OutputFile> all = new HashSet<>(before);
        all.addAll(after);
        return all.stream().filter(f -> !before.contains(f) || !after.contains(f)).map(Manifest.OutputFile::name).distinct().sorted().toList();
    }

    /// The `ram.diff/1` document.
    public byte[] json() {
        ObjectNode root = JsonDocument.object().put("schema", SCHEMA).put("same", same());
        ObjectNode numbers = root.putObject("figures");
        figures.forEach((name, f) -> numbers.putObject(name).put("before", f.before()).put("after", f.after()));
        ObjectNode texts = root.putObject("settings");
        settings.forEach((name, x) -> texts.putObject(name).put("before", x.before()).put("after", x.after()));
        root.set("source_files", JsonDocument.texts(sources));
        root.set("output_files", JsonDocument.texts(outputs));
        ArrayNode modules = root.putArray("modules");
        changes.forEach(c -> modules.addObject().put("path", c.path()).put("kind", c.kind().label()).put("before", c.before().toString()).put("after", c.after().toString())
                .put("bytes", c.bytes()).put("damage", c.damage()));
        ObjectNode byKind = root.putObject("kinds");
        kinds.forEach((kind, t) -> byKind.putObject(kind.label()).put("modules", t.modules()).put("bytes", t.bytes()).put("damage", t.damage()));
        return JsonDocument.bytes(root);
    }
}
