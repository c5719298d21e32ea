package ram.layout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ram.InputException;
import ram.tensor.Rows;
import ram.tensor.TensorView;

/// The output head of one checkpoint: whether it is the embedding, and what that means for the tensors that are stored of either.
final class OutputHead {
    private static final int ROWS_COMPARED = 64;

    private final Family family;
    private final Family.Head head;
    private final Path folder;
    private final ModelConfig config;
    private final JsonNode scope;
    private final boolean shared;
    private final List<String> assumptions;

    private OutputHead(Family family, Path folder, ModelConfig config, JsonNode scope, List<String> assumptions) {
        this.family = family;
        this.head = family.head();
        this.folder = folder;
        this.config = config;
        this.scope = scope;
        this.shared = head.isShared(scope);
        this.assumptions = assumptions;
    }

    /// @param scope the part of config.json that the class reads; is told whether the head is shared, where another place says so
    /// @param stored the names of the tensors as they are stored
    /// @param assumptions is told what nothing tells
    static OutputHead of(Family family, Path folder, ModelConfig config, ObjectNode scope, Collection<String> stored, List<String> assumptions) {
        sayWhetherShared(family.head(), config, scope, stored);
        return new OutputHead(family, folder, config, scope, assumptions);
    }

    /// A key that the class looks for in `text_config` may stand at the top alone. Where it is missing altogether, transformers' default may be another than mlx_lm's.
    private static void sayWhetherShared(Family.Head head, ModelConfig config, ObjectNode scope, Collection<String> stored) {
        String key = head.tieKey();
        if (key.isEmpty() || scope.has(key)) {
            return;
        }
        if (config.json().has(key)) {
            scope.set(key, config.json().get(key));
        } else if (head.tieUnsaid().isPresent() && stored.contains(head.module().orElse("") + ".weight")) {
            scope.set(key, head.tieUnsaid().get());
        }
    }

    /// A tied model may be stored with its head alone.
    void toEmbedding(Map<String, TensorView> tensors) {
        if (!shared) {
            return;
        }
        for (String stored : List.of("lm_head.weight", "language_model.lm_head.weight")) {
            String prefix = stored.substring(0, stored.length() - "lm_head.weight".length());
            String embedding = prefix + "model.embed_tokens.weight";
            boolean apart = tensors.keySet().stream().anyMatch(n -> n.endsWith("embed_tokens.weight") || n.endsWith("embeddings.weight") || n.endsWith("wte.weight"));
            if (tensors.containsKey(stored) && !apart) {
                tensors.put(embedding, tensors.remove(stored));
                assumptions.add("only " + stored + " is stored, and the head shares the embedding: it is taken for " + embedding);
            }
        }
    }

    /// A head of its own that training changed is lost where config.json has it shared.
    void sayIfItDiffers(Map<String, TensorView> tensors) {
        Optional<TensorView> stored = only(tensors, "lm_head.weight");
        Optional<TensorView> embedding = only(tensors, "embed_tokens.weight");
        if (head.presence() != Family.Presence.UNLESS_TIED || !shared || stored.isEmpty() || embedding.isEmpty()) {
            return;
        }
        if (!stored.get().shape().equals(embedding.get().shape()) || !sameRows(Rows.of(stored.get()), Rows.of(embedding.get()))) {
            assumptions.add("the stored lm_head.weight differs from the embedding, and is left out, as config.json has the head share the embedding: mlx_lm does the same; "
                    + "to keep it, set " + head.tieKey() + " to false");
        }
    }

    /// The matrix whose name has this end, where there is one and it is stored as numbers.
    private static Optional<TensorView> only(Map<String, TensorView> tensors, String end) {
        List<TensorView> found = tensors.entrySet().stream().filter(e -> e.getKey().endsWith(end)).map(Map.Entry::getValue).toList();
        return found.size() == 1 && Layouts.isFloat(found.getFirst()) && found.getFirst().shape().rank() == 2 ? Optional.of(found.getFirst()) : Optional.empty();
    }

    /// Whether a few rows, evenly spread, are equal.
    private static boolean sameRows(Rows a, Rows b) {
        float[] x = new float[a.columns()];
        float[] y = new float[a.columns()];
        long step = Math.max(1, a.rows() / ROWS_COMPARED);
        for (long row = 0; row < a.rows(); row += step) {
            a.read(row, 1, x);
            b.read(row, 1, y);
            if (!Arrays.equals(x, y)) {
                return false;
            }
        }
        return true;
    }

    /// Whether mlx_lm would refuse this tensor because the head is the embedding. A class that copies the embedding has it as a parameter all the same.
    boolean leavesOut(String tensor) {
        return shared && head.presence() == Family.Presence.UNLESS_TIED && head.module().filter(m -> tensor.startsWith(m + ".")).isPresent()
                && family.steps().findValuesAsText("do").stream().noneMatch("copy"::equals);
    }

    /// @param dropped the names of what is left out
    void sayIfSharingIsAssumed(Collection<String> dropped) {
        boolean silent = head.tieDefault().asBoolean(false) && !scope.has(head.tieKey());
        if (silent && shared && dropped.stream().anyMatch(n -> n.endsWith("lm_head.weight"))) {
            assumptions.add("config.json does not say whether the head shares the embedding: as in mlx_lm it is assumed to, and the stored lm_head.weight is left out; "
                    + "if the two differ, set " + head.tieKey() + " to false");
        }
    }

    /// Classes that always have a head of their own do not load without one, whatever config.json says.
    void fromEmbedding(Map<String, TensorView> tensors) {
        if (head.presence() != Family.Presence.ALWAYS || head.module().isEmpty() || isStored(tensors)) {
            return;
        }
        List<String> embeddings = tensors.keySet().stream().filter(n -> n.endsWith(".weight"))
                .filter(n -> family.embeddings().contains(Layouts.path(n)) && !Layouts.isPacked(tensors, Layouts.path(n))).toList();
        boolean wanted = Family.truthy(scope.path("tie_word_embeddings").isMissingNode() ? config.json().get("tie_word_embeddings") : scope.get("tie_word_embeddings"), null);
        if (wanted && embeddings.size() == 1) {
            String own = head.module().get() + ".weight";
            tensors.put(own, tensors.get(embeddings.getFirst()));
            assumptions.add("the head shares the embedding, and mlx_lm's class needs one of its own: " + embeddings.getFirst() + " is written as " + own + " too");
        }
    }

    /// @throws InputException when config.json says at both places, or the only one, that the head is one of its own, and there is none
    void require(Map<String, TensorView> tensors) {
        String key = head.tieKey();
        boolean own = scope.path(key).isBoolean() && !scope.path(key).asBoolean() && !config.json().path(key).asBoolean(false);
        if (own && !shared && !isStored(tensors)) {
            throw InputException.in(folder, "has no tensor " + head.module().orElseThrow() + ".weight, but config.json says " + key + " = false; the checkpoint is incomplete, "
                    + "download it again");
        }
    }

    private boolean isStored(Map<String, TensorView> tensors) {
        return tensors.keySet().stream().anyMatch(n -> n.startsWith(head.module().orElseThrow() + "."));
    }

    /// Whether there is one beside the embedding.
    boolean isIn(Map<String, TensorView> tensors) {
        return head.module().filter(m -> tensors.containsKey(m + ".weight")).isPresent();
    }
}
