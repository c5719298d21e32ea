package ram.plan;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import ram.UsageException;
import ram.document.JsonDocument;
import ram.document.JsonFields;
import ram.plan.Manifest.Alternative;
import ram.plan.Manifest.Fate;
import ram.plan.Manifest.ModulePlan;
import ram.plan.Manifest.OutputFile;
import ram.plan.Manifest.SourceTensor;
import ram.plan.Manifest.Why;
import ram.profile.ProfileJson;
import ram.profile.ProfilePart;

/// `manifest.json`. Equal manifests give equal bytes, and numbers are read back as they were.
public final class ManifestJson {
    /// Part of a sum that adding in another order changes.
    private static final double ROUNDING = 1e-9;

    private ManifestJson() {
    }

    /// In UTF-8, ending with a line break.
    public static byte[] write(Manifest m) {
        return JsonDocument.bytes(tree(m));
    }

    /// The document as a tree, in the order in which it is written.
    public static ObjectNode tree(Manifest m) {
        ObjectNode o = JsonDocument.object().put("schema", Manifest.SCHEMA).put("tool_version", m.toolVersion());
        o.set("source", ProfileJson.files(m.profiledFiles()));
        o.set("architecture", JsonDocument.architecture(m.architecture()));
        o.put("layers", m.layers());
        o.set("analysis", JsonDocument.textMap(m.analysis()));
        o.set("planning", JsonDocument.textMap(m.planning()));
        o.put("policy", m.policy());
        o.put("oldest_mlx", m.oldestMlx().toString());
        o.set("notes", JsonDocument.texts(m.notes()));
        ObjectNode limit = o.putObject("limit");
        switch (m.limit()) {
            case Limit.Budget(long bytes) -> limit.put("budget_bytes", bytes);
            case Limit.BitsPerWeight(double bits) -> limit.put("bits_per_weight", bits);
            case Limit.Divergence(double nats) -> limit.put("max_kl", nats);
            case Limit.None _ -> { }
        }
        Manifest.Sizes s = m.sizes();
        o.putObject("sizes").put("file_bytes", s.files()).put("data_bytes", s.data()).put("fixed_bytes", s.fixed()).put("file_count", s.fileCount())
                .put("parameters", s.parameters()).put("bits_per_weight", s.bitsPerWeight()).put("smallest_safe_bytes", s.smallestSafe())
                .put("smallest_unsafe_bytes", s.smallestUnsafe()).put("dense_bytes", s.dense());
        Manifest.SolverReport r = m.solver();
        o.putObject("solver").put("name", r.name()).put("objective", r.objective()).put("lower_bound", r.lowerBound()).put("gap", r.gap()).put("proven", r.proven())
                .put("price", r.price()).put("reserved_bytes", r.reservedBytes());
        ArrayNode modules = o.putArray("modules");
        m.modules().forEach(x -> modules.add(module(x)));
        ArrayNode tensors = o.putArray("tensors");
        for (SourceTensor t : m.tensors()) {
            tensors.addObject().put("name", t.name()).put("fate", t.fate().label()).put("reason", t.reason()).set("targets", JsonDocument.texts(t.targets()));
        }
        m.evaluation().ifPresent(e -> o.set("evaluation", e));
        m.refinement().ifPresent(how -> o.set("refinement", how));
        write(o, "source_files", m.sourceReceipts());
        write(o, "files", m.files());
        return o;
    }

    private static ObjectNode module(ModulePlan m) {
        ObjectNode o = JsonDocument.object().put("path", m.path()).put("kind", m.kind().label()).put("layer", m.layer());
        o.set("shape", JsonDocument.shape(m.shape()));
        o.put("dtype", m.dtype().name()).put("format", m.format().toString()).put("bits", m.format().bits()).put("group_size", m.format().groupSize()).put("bytes", m.bytes())
                .put("relative_error", m.relativeError());
        m.writtenError().ifPresent(e -> o.put("written_error", e));
        if (Double.isFinite(m.sqnrDb())) {
            o.put("sqnr_db", m.sqnrDb());
        }
        o.put("damage", m.damage()).put("why", m.why().label()).put("reason", m.reason());
        m.better().ifPresent(a -> o.set("next_better", alternative(a)));
        m.cheaper().ifPresent(a -> o.set("next_cheaper", alternative(a)));
        return o;
    }

    private static ObjectNode alternative(Alternative a) {
        return JsonDocument.object().put("format", a.format().toString()).put("bytes", a.bytes()).put("damage", a.damage()).put("price", a.price());
    }

    /// @throws ram.InputException when the file is not a valid manifest of this schema
    public static Manifest read(Path file) {
        JsonFields d = JsonDocument.read(file, Manifest.SCHEMA, ProfilePart.UNJOINED);
        Limit limit = readLimit(d);
        JsonFields s = d.object("sizes");
        Manifest.Sizes sizes = new Manifest.Sizes(s.count("file_bytes"), s.count("data_bytes"), s.count("fixed_bytes"), s.natural("file_count"), s.count("parameters"),
                s.count("smallest_safe_bytes"), s.count("smallest_unsafe_bytes"), s.count("dense_bytes"));
        s.number("bits_per_weight");
        s.end();
        JsonFields r = d.object("solver");
        Manifest.SolverReport solver = new Manifest.SolverReport(r.text("name"), r.number("objective"), r.number("lower_bound"), r.flag("proven"), r.number("price"), r.count("reserved_bytes"));
        r.number("gap");
        r.end();
        List<ModulePlan> modules = new ArrayList<>();
        Set<String> paths = new HashSet<>();
        for (JsonFields f : d.objects("modules")) {
            modules.add(readModule(f));
            if (!paths.add(modules.getLast().path())) {
                throw f.wrong("path", "occurs twice");
            }
        }
        List<SourceTensor> tensors = new ArrayList<>();
        Set<String> names = new HashSet<>();
        for (JsonFields f : d.objects("tensors")) {
            tensors.add(new SourceTensor(f.text("name"), f.parsed("fate", f.text("fate"), t -> JsonDocument.named(Fate.values(), Fate::label, t)), f.texts("targets"), f.text("reason")));
            f.end();
            if (!names.add(tensors.getLast().name())) {
                throw f.wrong("name", "occurs twice");
            }
        }
        Manifest m = new Manifest(d.text("tool_version"), ProfileJson.readFiles(d, "source"), JsonDocument.readArchitecture(d), d.natural("layers"), d.textMap("analysis"), d.textMap("planning"),
                d.text("policy"), d.texts("notes"), limit, sizes, solver, modules, tensors, d.has("evaluation") ? Optional.of(d.object("evaluation").tree()) : Optional.empty(),
                d.has("refinement") ? Optional.of(d.object("refinement").tree()) : Optional.empty(),
                readFiles(d, "source_files"), readFiles(d, "files"));
        double damage = m.predictedDamage();
        try {
            if (m.objective().isDivergence() && Math.abs(damage - solver.objective()) > ROUNDING * damage) {
                throw d.wrong("solver", "has an objective of " + solver.objective() + ", but the damage of the modules comes to " + damage);
            }
            if (PlanRequest.of(m).policy().isPriced() && limit == Limit.NONE) {
                throw d.wrong("limit", "is empty, which policy " + m.policy() + " cannot be planned for");
            }
        } catch (UsageException e) {
            throw d.wrong("planning", "cannot be understood: " + e.getMessage());
        }
        if (!d.text("oldest_mlx").equals(oldest(d, m))) {
            throw d.wrong("oldest_mlx", "is not what the formats need");
        }
        d.end();
        return m;
    }

    private static void write(ObjectNode o, String key, List<OutputFile> list) {
        if (!list.isEmpty()) {
            ArrayNode files = o.putArray(key);
            list.forEach(f -> files.addObject().put("name", f.name()).put("bytes", f.bytes()).put("sha256", f.sha256()));
        }
    }

    private static List<OutputFile> readFiles(JsonFields d, String key) {
        List<OutputFile> files = new ArrayList<>();
        if (d.has(key)) {
            for (JsonFields f : d.objects(key)) {
                files.add(new OutputFile(f.text("name"), f.count("bytes"), f.text("sha256")));
                f.end();
            }
        }
        return files;
    }

    private static Limit readLimit(JsonFields d) {
        JsonFields l = d.object("limit");
        try {
            Limit limit = l.has("budget_bytes") ? new Limit.Budget(l.count("budget_bytes")) : l.has("bits_per_weight") ? new Limit.BitsPerWeight(l.number("bits_per_weight"))
                    : l.has("max_kl") ? new Limit.Divergence(l.number("max_kl")) : Limit.NONE;
            l.end();
            return limit;
        } catch (UsageException e) {
            throw d.wrong("limit", "holds a number that is none");
        }
    }

    private static String oldest(JsonFields d, Manifest m) {
        try {
            return m.oldestMlx().toString();
        } catch (UsageException e) {
            throw d.wrong("planning", "holds an mlx_version that is none");
        }
    }

    private static ModulePlan readModule(JsonFields f) {
        ModulePlan m = new ModulePlan(f.text("path"), JsonDocument.kind(f), JsonDocument.layer(f), f.shape("shape"), JsonDocument.dtype(f), f.format("format"), f.count("bytes"),
                notNegative(f, "relative_error"), f.has("written_error") ? OptionalDouble.of(notNegative(f, "written_error")) : OptionalDouble.empty(), notNegative(f, "damage"), f.parsed("why", f.text("why"), t -> JsonDocument.named(Why.values(), Why::label, t)), f.text("reason"),
                readAlternative(f, "next_better"), readAlternative(f, "next_cheaper"));
        if (f.integer("bits") != m.format().bits() || f.integer("group_size") != m.format().groupSize()) {
            throw f.wrong("bits", "or group_size disagrees with the format");
        }
        if (!m.format().fits(m.shape()) || m.format().bytes(m.shape(), m.dtype()) != m.bytes()) {
            throw f.wrong("format", "does not fit the shape, or needs another number of bytes");
        }
        if (f.has("sqnr_db")) {
            f.number("sqnr_db");
        }
        f.end();
        return m;
    }

    private static double notNegative(JsonFields f, String name) {
        double value = f.number(name);
        if (value < 0) {
            throw f.wrong(name, "is negative");
        }
        return value;
    }

    private static Optional<Alternative> readAlternative(JsonFields f, String name) {
        if (!f.has(name)) {
            return Optional.empty();
        }
        JsonFields a = f.object(name);
        Alternative out = new Alternative(a.format("format"), a.count("bytes"), notNegative(a, "damage"), a.number("price"));
        a.end();
        return Optional.of(out);
    }
}
