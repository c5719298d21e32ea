package ram.profile;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import ram.format.Format;
import ram.journal.Journal;
import ram.layout.Module;

/// Matrices that were measured, in a journal. Numbers are written so that they are read back to the bit.
final class MatrixJournal {
    private static final JsonMapper JSON = new JsonMapper();

    private final Optional<Journal> journal;
    private final Map<String, MatrixAnalysis.Result> earlier = new HashMap<>();

    MatrixJournal(Optional<Journal> journal) {
        this.journal = journal;
        journal.ifPresent(j -> j.earlier().forEach(this::read));
    }

    private static String key(Module module, Module.Part part) {
        return module.path() + " " + part.firstRow();
    }

    Optional<MatrixAnalysis.Result> earlier(Module module, Module.Part part) {
        return Optional.ofNullable(earlier.get(key(module, part)));
    }

    void add(Module module, Module.Part part, MatrixAnalysis.Result result) {
        if (journal.isEmpty()) {
            return;
        }
        ObjectNode line = JSON.createObjectNode().put("part", key(module, part));
        line.set("metrics", JSON.valueToTree(result.metrics()));
        line.set("ingredients", JSON.valueToTree(result.ingredients()));
        result.sensitivity().ifPresent(s -> line.putArray("sensitivity").add(s.relative()).add(s.absolute()));
        ArrayNode curve = line.putArray("curve");
        result.curve().forEach(p -> curve.addArray().add(p.format().toString()).add(p.relativeError()).add(p.samplingError()));
        journal.get().append(line.toString(), Set.of());
    }

    private void read(String text) {
        try {
            JsonNode line = JSON.readTree(text);
            List<CurvePoint> curve = new ArrayList<>();
            line.path("curve").forEach(p -> curve.add(new CurvePoint(Format.parse(p.path(0).asText()), p.path(1).asDouble(), p.path(2).asDouble())));
            JsonNode s = line.path("sensitivity");
            Optional<MatrixAnalysis.PartSensitivity> sensitivity = s.isArray() ? Optional.of(new MatrixAnalysis.PartSensitivity(s.path(0).asDouble(), s.path(1).asDouble())) : Optional.empty();
            earlier.put(line.path("part").asText(), new MatrixAnalysis.Result(numbers(line.path("metrics")), curve, sensitivity, numbers(line.path("ingredients"))));
        } catch (JsonProcessingException | IllegalArgumentException _) {
            // Not a line of this program: the matrix is measured again.
        }
    }

    private static SortedMap<String, Double> numbers(JsonNode node) {
        SortedMap<String, Double> out = new TreeMap<>();
        node.properties().forEach(p -> out.put(p.getKey(), p.getValue().asDouble()));
        return out;
    }
}
