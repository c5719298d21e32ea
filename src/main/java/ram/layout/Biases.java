package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/// Which modules and norms of a class have a bias. Where the class has no rule about them, those of plain decoders are guessed from the settings, and others are taken as they are.
final class Biases {
    private static final String END = ".bias";

    private final ObjectNode settings;
    private final Family.Paths modules;
    private final Family.Paths others;
    private final JsonNode rule;
    private final boolean guessed;

    /// @param scope the part of config.json that the class reads
    Biases(Family family, JsonNode scope) {
        settings = family.withDefaults(scope);
        modules = family.modules();
        others = family.others();
        rule = family.rules().path("biases");
        guessed = !ExpectedTensors.isPlain(family) || ExpectedTensors.asksFor(family, settings, "bias");
    }

    /// Whether the class says what decides about each.
    boolean areKnown() {
        return !rule.isMissingNode();
    }

    /// Whether a tensor is the bias of something that can have one.
    boolean accept(String tensor) {
        String path = Layouts.path(tensor);
        return tensor.endsWith(END) && (others.contains(tensor) || (areKnown() ? isListed(path) && isAsked(path, true) : guessed && modules.contains(path)));
    }

    /// Whether a tensor is the bias of something that is known to have none.
    boolean refuse(String tensor) {
        return areKnown() && tensor.endsWith(END) && isListed(Layouts.path(tensor)) && !accept(tensor);
    }

    /// Whether a tensor of this name has to be there where the weight beside it is.
    boolean demand(String tensor) {
        String path = Layouts.path(tensor);
        return areKnown() && (others.contains(tensor) || isListed(path) && isAsked(path, false));
    }

    private boolean isListed(String path) {
        return modules.contains(path) || others.contains(path + ".weight");
    }

    /// @param unsaid what a key counts as that neither config.json nor the class gives a value: it may be told by the tensors
    private boolean isAsked(String path, boolean unsaid) {
        return Family.names(rule, settings, unsaid, path);
    }
}
