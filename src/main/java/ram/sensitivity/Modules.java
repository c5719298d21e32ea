package ram.sensitivity;

import java.util.List;
import java.util.Optional;
import ram.layout.Module;
import ram.safetensors.Shape;

/// Finds the modules of a mixer among those of a layer.
final class Modules {
    private Modules() {
    }

    /// The only module whose path ends with this name.
    static Optional<Module> named(List<Module> modules, String name) {
        List<Module> found = modules.stream().filter(m -> m.path().endsWith("." + name)).toList();
        return found.size() == 1 ? Optional.of(found.getFirst()) : Optional.empty();
    }

    /// Whether a module is there and has so many matrices of this shape.
    static boolean is(Module m, int parts, long rows, long columns) {
        if (m == null) {
            return false;
        }
        Shape shape = m.weight().shape();
        return m.parts().size() == parts && shape.columns() == columns && m.parts().stream().allMatch(part -> part.rows() == rows);
    }

    /// What has this name beside a module.
    static String beside(Module m, String name) {
        return m.path().substring(0, m.path().lastIndexOf('.') + 1) + name;
    }
}
