package ram.profile;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import ram.document.JsonDocument;
import ram.document.JsonFields;
import ram.format.Format;
import ram.layout.Layout;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// `profile.json`. A module names its formats once; its own and its tensors' curves are lists in that order.
/// Equal profiles give equal bytes, and numbers are read back as they were.
public final class ProfileJson {
    private ProfileJson() {
    }

    /// In UTF-8, ending with a line break.
    public static byte[] write(Profile profile) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            write(profile, out);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return out.toByteArray();
    }

    /// Does not close `out`.
    public static void write(Profile profile, OutputStream out) throws IOException {
        try (JsonGenerator json = JsonDocument.generator(out)) {
            json.writeStartObject();
            json.writeStringField("schema", Profile.SCHEMA);
            writeHead(json, profile);
            json.writeArrayFieldStart("modules");
            for (ModuleProfile m : profile.modules()) {
                json.writeTree(module(m));
            }
            json.writeEndArray();
            writeTail(json, profile);
            json.writeEndObject();
            json.writeRaw('\n');
        }
    }

    /// Source files, as profiles and manifests list them.
    public static ArrayNode files(List<Profile.SourceFile> files) {
        ArrayNode out = JsonDocument.array();
        for (Profile.SourceFile f : files) {
            ObjectNode o = out.addObject().put("name", f.name()).put("bytes", f.bytes()).put("header_sha256", f.headerSha256());
            if (!f.sampleSha256().isEmpty()) {
                o.put("sample_sha256", f.sampleSha256());
            }
            if (!f.sha256().isEmpty()) {
                o.put("sha256", f.sha256());
            }
        }
        return out;
    }

    /// Reads what [#files] wrote.
    ///
    /// @throws ram.InputException when it is not that
    public static List<Profile.SourceFile> readFiles(JsonFields document, String name) {
        return document.objects(name).stream().map(f -> {
            Profile.SourceFile file = new Profile.SourceFile(f.text("name"), f.count("bytes"), f.text("header_sha256"), f.optionalText("sample_sha256").orElse(""), f.optionalText("sha256").orElse(""));
            f.end();
            return file;
        }).toList();
    }

    /// What stands before the modules.
    static void writeHead(JsonGenerator json, Profile profile) throws IOException {
        json.writeStringField("tool_version", profile.toolVersion());
        json.writePOJOField("files", files(profile.files()));
        json.writePOJOField("architecture", JsonDocument.architecture(profile.architecture()));
        json.writeNumberField("layers", profile.layers());
        json.writePOJOField("options", JsonDocument.textMap(profile.options()));
    }

    /// What stands after the modules.
    static void writeTail(JsonGenerator json, Profile profile) throws IOException {
        json.writeArrayFieldStart("plain");
        for (Profile.PlainTensor p : profile.plain()) {
            ObjectNode o = JsonDocument.object().put("name", p.name()).put("dtype", p.dtype().name());
            o.set("shape", JsonDocument.shape(p.shape()));
            json.writeTree(o.put("why", p.why()).set("sources", JsonDocument.texts(p.sources())));
        }
        json.writeEndArray();
        json.writeArrayFieldStart("prequantized");
        for (Profile.PrequantizedModule p : profile.prequantized()) {
            ObjectNode o = JsonDocument.object().put("path", p.path()).put("kind", p.kind().label()).put("layer", p.layer()).put("format", p.format().toString());
            o.set("shape", JsonDocument.shape(p.shape()));
            json.writeTree(o.put("dtype", p.dtype().name()).set("sources", JsonDocument.texts(p.sources())));
        }
        json.writeEndArray();
        json.writeArrayFieldStart("dropped");
        for (Layout.Dropped d : profile.dropped()) {
            json.writeTree(JsonDocument.object().put("tensor", d.tensor()).put("why", d.why()));
        }
        json.writeEndArray();
    }

    /// What a module is, without what was measured on it.
    static ObjectNode moduleHead(ModuleProfile m, List<CurvePoint> curve) {
        ObjectNode o = JsonDocument.object().put("path", m.path()).put("kind", m.kind().label()).put("layer", m.layer());
        o.set("shape", JsonDocument.shape(m.shape()));
        o.put("dtype", m.dtype().name()).put("expert", m.expert()).put("shared_expert", m.sharedExpert());
        m.preset().ifPresent(f -> o.put("preset", f.toString()));
        m.mustStayDense().ifPresent(why -> o.put("must_stay_dense", why));
        o.put("sensitivity_source", m.sensitivitySource());
        o.set("formats", JsonDocument.texts(curve.stream().map(p -> p.format().toString()).toList()));
        return o;
    }

    private static ObjectNode module(ModuleProfile m) {
        ObjectNode o = moduleHead(m, m.curve());
        curve(o, m.curve());
        // An error of nothing has no finite ratio; it is that of an all-zero weight.
        if (m.curve().stream().allMatch(p -> p.relativeError() > 0)) {
            ArrayNode ratios = o.putArray("sqnr_db");
            m.curve().forEach(p -> ratios.add(p.sqnrDb()));
        }
        ArrayNode tensors = o.putArray("tensors");
        for (TensorProfile t : m.tensors()) {
            ObjectNode n = tensors.addObject().put("name", t.name()).put("rows", t.rows()).put("columns", t.columns()).put("sensitivity", t.sensitivity());
            n.set("ingredients", JsonDocument.numberMap(t.ingredients()));
            n.set("metrics", JsonDocument.numberMap(t.metrics()));
            curve(n, t.curve());
        }
        o.set("sources", JsonDocument.texts(m.sources()));
        return o;
    }

    static void curve(ObjectNode o, List<CurvePoint> curve) {
        ArrayNode errors = o.putArray("errors");
        ArrayNode sampling = o.putArray("sampling_errors");
        for (CurvePoint p : curve) {
            errors.add(p.relativeError());
            sampling.add(p.samplingError());
        }
    }

    /// @throws ram.InputException when the file is not a valid profile of this schema
    public static Profile read(Path file) {
        JsonFields d = JsonDocument.read(file, Profile.SCHEMA, ProfilePart.UNJOINED);
        List<ModuleProfile> modules = new ArrayList<>();
        Set<String> paths = new HashSet<>();
        for (JsonFields f : d.objects("modules")) {
            ModuleProfile m = readModule(f);
            if (!paths.add(m.path())) {
                throw f.wrong("path", "occurs twice");
            }
            modules.add(m);
        }
        if (modules.isEmpty()) {
            throw d.wrong("modules", "is empty, so there is nothing to choose formats for");
        }
        return readFrame(d, modules);
    }

    /// Everything but the modules; nothing else may be left in the document.
    static Profile readFrame(JsonFields d, List<ModuleProfile> modules) {
        List<Profile.PlainTensor> plain = new ArrayList<>();
        for (JsonFields f : d.objects("plain")) {
            plain.add(new Profile.PlainTensor(f.text("name"), JsonDocument.dtype(f), f.shape("shape"), f.text("why"), f.texts("sources")));
            f.end();
        }
        List<Profile.PrequantizedModule> prequantized = new ArrayList<>();
        for (JsonFields f : d.objects("prequantized")) {
            Profile.PrequantizedModule p = new Profile.PrequantizedModule(f.text("path"), JsonDocument.kind(f), JsonDocument.layer(f), f.format("format"), f.shape("shape"),
                    JsonDocument.dtype(f), f.texts("sources"));
            if (!p.format().fits(p.shape())) {
                throw f.wrong("format", "does not fit the shape");
            }
            prequantized.add(p);
            f.end();
        }
        List<Layout.Dropped> dropped = new ArrayList<>();
        for (JsonFields f : d.objects("dropped")) {
            dropped.add(new Layout.Dropped(f.text("tensor"), f.text("why")));
            f.end();
        }
        Profile profile = new Profile(d.text("tool_version"), readFiles(d, "files"), JsonDocument.readArchitecture(d), d.natural("layers"), options(d),
                modules, plain, prequantized, dropped);
        d.end();
        return profile;
    }

    /// The settings that later steps ask for must be there.
    private static SortedMap<String, String> options(JsonFields d) {
        SortedMap<String, String> options = d.textMap("options");
        if (!Set.of("rtn", "mse").contains(options.getOrDefault("quantizer", ""))) {
            throw d.wrong("options", "name no quantizer that this version knows");
        }
        if (DType.fromTorchName(options.getOrDefault("dtype", "")).isEmpty()) {
            throw d.wrong("options", "name no dtype");
        }
        return options;
    }

    private static ModuleProfile readModule(JsonFields f) {
        Shape shape = f.shape("shape");
        List<Format> formats = readFormats(f, shape);
        if (f.has("sqnr_db")) {
            f.numbers("sqnr_db");
        }
        List<TensorProfile> tensors = new ArrayList<>();
        long parameters = 0;
        for (JsonFields t : f.objects("tensors")) {
            double sensitivity = t.number("sensitivity");
            if (sensitivity < 0) {
                throw t.wrong("sensitivity", "is negative");
            }
            TensorProfile tensor = new TensorProfile(t.text("name"), t.count("rows"), t.count("columns"), t.numberMap("metrics"), sensitivity, t.numberMap("ingredients"), readCurve(t, formats));
            t.end();
            tensors.add(tensor);
            try {
                parameters = Math.addExact(parameters, tensor.parameters());
            } catch (ArithmeticException e) {
                throw t.wrong("rows", "are too many");
            }
        }
        if (parameters != shape.elements()) {
            throw f.wrong("tensors", "do not make up the shape");
        }
        return readModule(f, shape, readCurve(f, formats), tensors);
    }

    /// What a module is; nothing else may be left in the object.
    static ModuleProfile readModule(JsonFields f, Shape shape, List<CurvePoint> curve, List<TensorProfile> tensors) {
        ModuleProfile m = new ModuleProfile(f.text("path"), JsonDocument.kind(f), JsonDocument.layer(f), shape, JsonDocument.dtype(f), f.flag("expert"), f.flag("shared_expert"),
                f.has("preset") ? Optional.of(f.format("preset")) : Optional.empty(), f.optionalText("must_stay_dense"), f.text("sensitivity_source"), curve, tensors, f.texts("sources"));
        f.end();
        return m;
    }

    static List<Format> readFormats(JsonFields f, Shape shape) {
        List<Format> formats = f.texts("formats").stream().map(t -> f.parsed("formats", t, Format::parse)).toList();
        if (new HashSet<>(formats).size() != formats.size() || formats.stream().anyMatch(x -> x.isDense() || !x.fits(shape))) {
            throw f.wrong("formats", "has a format twice, or one that does not fit the shape");
        }
        return formats;
    }

    static List<CurvePoint> readCurve(JsonFields f, List<Format> formats) {
        double[] errors = f.numbers("errors");
        double[] sampling = f.numbers("sampling_errors");
        if (errors.length != formats.size() || sampling.length != formats.size()) {
            throw f.wrong("errors", "do not have one value per format");
        }
        List<CurvePoint> out = new ArrayList<>();
        for (int i = 0; i < errors.length; i++) {
            if (errors[i] < 0 || sampling[i] < 0) {
                throw f.wrong("errors", "are negative");
            }
            out.add(new CurvePoint(formats.get(i), errors[i], sampling[i]));
        }
        return out;
    }
}
