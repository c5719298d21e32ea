package ram.convert;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import ram.plan.Manifest;
import ram.plan.ModelFamily;

/// Tells what a run may replace: folders that this program wrote, with nothing else in them.
final class OwnOutput {
    private static final String MANIFEST = "manifest.json";
    private static final String FAMILY = "family.json";

    private OwnOutput() {
    }

    /// Why a folder is not to be replaced, in words that follow its name; nothing when it is empty or holds one output, or several and their overview, alone.
    static Optional<String> objection(Path folder) {
        List<String> names = names(folder);
        Set<String> own = new HashSet<>();
        if (names.contains(MANIFEST)) {
            own.addAll(List.of(MANIFEST, "README.md", "config.json"));
            listed(folder.resolve(MANIFEST), Manifest.SCHEMA, "files", "name").ifPresent(own::addAll);
        } else if (names.contains(FAMILY)) {
            own.add(FAMILY);
            listed(folder.resolve(FAMILY), ModelFamily.SCHEMA, "members", "folder").ifPresent(own::addAll);
        }
        if (own.isEmpty() && !names.isEmpty()) {
            return Optional.of("holds something other than an output of ram");
        }
        Optional<String> foreign = names.stream().filter(n -> !own.contains(n)).findFirst();
        if (foreign.isPresent()) {
            return Optional.of("holds " + foreign.get() + ", which is not part of an output of ram");
        }
        return names.contains(MANIFEST) ? Optional.empty() : names.stream().map(folder::resolve).filter(Files::isDirectory)
                .map(f -> objection(f).map(why -> "has a folder " + f.getFileName() + ", which " + why)).flatMap(Optional::stream).findFirst();
    }

    private static List<String> names(Path folder) {
        return SideFiles.names(folder).toList();
    }

    /// The names in a document of any version of this program; empty when it is none.
    private static Optional<List<String>> listed(Path file, String schema, String list, String name) {
        try {
            JsonNode root = new ObjectMapper().readTree(file.toFile());
            String kind = schema.substring(0, schema.indexOf('/') + 1);
            return root != null && root.path("schema").asText().startsWith(kind) ? Optional.of(root.path(list).valueStream().map(f -> f.path(name).asText()).toList()) : Optional.empty();
        } catch (IOException e) {
            return Optional.empty();
        }
    }
}
