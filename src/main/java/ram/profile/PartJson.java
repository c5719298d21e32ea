package ram.profile;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ram.document.JsonDocument;
import ram.document.JsonFields;
import ram.format.Format;
import ram.metric.Metric;
import ram.safetensors.Shape;

/// The document of one part of an analysis: a profile of some matrices, with what their sensitivities are made of instead of the sensitivities.
public final class PartJson {
    private PartJson() {
    }

    /// In UTF-8, ending with a line break.
    public static byte[] write(ProfilePart part) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (JsonGenerator json = JsonDocument.generator(out)) {
            json.writeStartObject();
            json.writeStringField("schema", ProfilePart.SCHEMA);
            json.writeStringField("part", part.number().toString());
            json.writeNumberField("logit_power", part.logitPower());
            ProfileJson.writeHead(json, part.frame());
            json.writeArrayFieldStart("modules");
            for (ProfilePart.Piece piece : part.modules()) {
                json.writeTree(piece(piece));
            }
            json.writeEndArray();
            ProfileJson.writeTail(json, part.frame());
            json.writeEndObject();
            json.writeRaw('\n');
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return out.toByteArray();
    }

    private static ObjectNode piece(ProfilePart.Piece piece) {
        ObjectNode o = ProfileJson.moduleHead(piece.module(), piece.tensors().getFirst().measured().curve());
        ArrayNode tensors = o.putArray("tensors");
        for (ProfilePart.Tensor t : piece.tensors()) {
            MatrixAnalysis.Result r = t.measured();
            ObjectNode n = tensors.addObject().put("name", t.name()).put("rows", t.rows()).put("columns", t.columns());
            r.sensitivity().ifPresent(s -> n.putObject("sensitivity").put("relative", s.relative()).put("absolute", s.absolute()));
            n.set("ingredients", JsonDocument.numberMap(r.ingredients()));
            n.set("metrics", JsonDocument.numberMap(r.metrics()));
            ProfileJson.curve(n, r.curve());
        }
        o.set("sources", JsonDocument.texts(piece.module().sources()));
        return o;
    }

    /// @throws ram.InputException when the file is not a valid part of this schema
    public static ProfilePart read(Path file) {
        JsonFields d = JsonDocument.read(file, ProfilePart.SCHEMA, Map.of());
        PartNumber number = d.parsed("part", d.text("part"), PartNumber::parse);
        double logitPower = d.number("logit_power");
        List<ProfilePart.Piece> pieces = d.objects("modules").stream().map(PartJson::readPiece).toList();
        return new ProfilePart(number, logitPower, ProfileJson.readFrame(d, List.of()), pieces);
    }

    private static ProfilePart.Piece readPiece(JsonFields f) {
        Shape shape = f.shape("shape");
        List<Format> formats = ProfileJson.readFormats(f, shape);
        List<ProfilePart.Tensor> tensors = new ArrayList<>();
        for (JsonFields t : f.objects("tensors")) {
            Optional<MatrixAnalysis.PartSensitivity> sensitivity = t.has("sensitivity") ? Optional.of(readSensitivity(t.object("sensitivity"))) : Optional.empty();
            MatrixAnalysis.Result measured = new MatrixAnalysis.Result(t.numberMap("metrics"), ProfileJson.readCurve(t, formats), sensitivity, t.numberMap("ingredients"));
            ProfilePart.Tensor tensor = new ProfilePart.Tensor(t.text("name"), t.count("rows"), t.count("columns"), measured);
            if (!measured.metrics().containsKey(Metric.FROBENIUS.label())) {
                throw t.wrong("metrics", "lack " + Metric.FROBENIUS.label());
            }
            if (tensor.rows() > shape.rows() || tensor.columns() != shape.columns()) {
                throw t.wrong("rows", "do not fit the shape");
            }
            t.end();
            tensors.add(tensor);
        }
        if (tensors.isEmpty()) {
            throw f.wrong("tensors", "are missing");
        }
        return new ProfilePart.Piece(ProfileJson.readModule(f, shape, List.of(), List.of()), tensors);
    }

    private static MatrixAnalysis.PartSensitivity readSensitivity(JsonFields f) {
        MatrixAnalysis.PartSensitivity s = new MatrixAnalysis.PartSensitivity(f.number("relative"), f.number("absolute"));
        if (s.relative() < 0 || s.absolute() < 0) {
            throw f.wrong("relative", "or absolute is negative");
        }
        f.end();
        return s;
    }
}
