package ram.rewrite;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.LongConsumer;
import ram.Count;
import ram.Stage;
import ram.layout.Architecture;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.Module;
import ram.numeric.Workers;
import ram.tensor.Rows;
import ram.tensor.TensorView;
import ram.tensor.Views;

/// A model whose channels were rescaled by powers of two where that lowers the error of quantization, and what was done.
///
/// A value that one matrix makes and one other matrix alone reads may be multiplied in the first, by rows, and divided in the second, by columns. With powers of
/// two both are exact, so that the function stays the same to the bit. The error of the first does not change, as a row shares its scales with no other;
/// that of the second does, as columns that share a scale become alike.
///
/// @param model with views that rescale while they are read; its architecture has one more sentence, about this. It shares the checkpoint of the original
/// @param changes by module, in the order of the model
public record Rewriting(Model model, List<Change> changes) {
    /// A module whose columns were rescaled.
    ///
    /// @param channels how many, over all parts
    /// @param before mean relative squared error of a sample of rows of the parts that changed, at 3 and 4 bits
    /// @param after the same, rescaled
    public record Change(String path, int channels, double before, double after) {
        public Change {
            Objects.requireNonNull(path);
        }
    }

    private record Task(Pair pair, int part) {
    }

    public Rewriting {
        Objects.requireNonNull(model);
        changes = List.copyOf(changes);
    }

    /// Bytes of source that [#of] reports to its progress.
    public static long work(Model model) {
        return Pair.of(model).stream().mapToLong(p -> p.reader().weight().bytes()).sum();
    }

    /// Reads the matrices that rescaling can help, and decides. The result does not depend on the number of threads.
    ///
    /// @param threads 1 or more
    /// @param progress is told the bytes of source that were read, from several threads
    /// @throws ram.InputException when the source cannot be read
    public static Rewriting of(Model model, int threads, LongConsumer progress) {
        if (!Pair.isKnown(model)) {
            return new Rewriting(noted(model, model.layout().modules(), model.layout().plain(), "Nothing was rewritten: rescaling is known to be safe only for "
                    + String.join(", ", Pair.FAMILIES) + "."), List.of());
        }
        List<Task> tasks = new ArrayList<>();
        Pair.of(model).forEach(pair -> {
            for (int p = 0; p < pair.reader().parts().size(); p++) {
                tasks.add(new Task(pair, p));
            }
        });
        Map<Pair, List<Optional<Scaling>>> found = new IdentityHashMap<>();
        try (Workers workers = new Workers(threads)) {
            int[] at = {0};
            workers.forEach(tasks, t -> {
                try (Stage _ = Stage.of("rewrite", t.pair.reader().path())) {
                    Optional<Scaling> scaling = Scaling.of(t.pair, t.part);
                    progress.accept(t.pair.reader().weight().bytes() / t.pair.reader().parts().size());
                    return scaling;
                }
            }, scaling -> found.computeIfAbsent(tasks.get(at[0]++).pair, _ -> new ArrayList<>()).add(scaling));
        }
        return apply(model, found);
    }

    private static Rewriting apply(Model model, Map<Pair, List<Optional<Scaling>>> found) {
        Map<String, TensorView> views = new HashMap<>();
        Map<String, Change> changes = new HashMap<>();
        found.forEach((pair, parts) -> {
            List<Scaling> moved = parts.stream().flatMap(Optional::stream).toList();
            if (moved.isEmpty()) {
                return;
            }
            String path = pair.reader().path();
            changes.put(path, new Change(path, moved.stream().mapToInt(Scaling::moved).sum(), moved.stream().mapToDouble(Scaling::before).average().orElseThrow(),
                    moved.stream().mapToDouble(Scaling::after).average().orElseThrow()));
            float[] rows = new float[Math.multiplyExact(parts.size(), pair.channels())];
            float[] columns = new float[Math.multiplyExact(parts.size(), pair.columns())];
            for (int p = 0; p < parts.size(); p++) {
                Scaling s = parts.get(p).orElseGet(() -> Scaling.none(pair));
                for (int c = 0; c < pair.channels(); c++) {
                    rows[p * pair.channels() + c] = Math.scalb(1f, s.exponents()[c]);
                }
                for (int j = 0; j < pair.columns(); j++) {
                    columns[p * pair.columns() + j] = Math.scalb(1f, -s.exponents()[pair.channel(j)]);
                }
            }
            views.put(path + ".weight", Views.scaleColumns(pair.reader().weight(), columns));
            views.put(pair.writer().path() + ".weight", Views.scaleRows(pair.writer().weight(), rows));
            pair.bias().ifPresent(b -> views.put(b.name(), Views.scaleRows(b.view(), rows)));
        });
        Layout layout = model.layout();
        List<Module> modules = layout.modules().stream().map(m -> views.containsKey(m.path() + ".weight") ? m.withWeight(views.get(m.path() + ".weight")) : m).toList();
        List<Layout.Plain> plain = layout.plain().stream().map(p -> views.containsKey(p.name()) ? new Layout.Plain(p.name(), views.get(p.name()), p.why(), p.keepDType()) : p).toList();
        List<Change> inOrder = layout.modules().stream().map(m -> changes.get(m.path())).filter(Objects::nonNull).toList();
        return new Rewriting(noted(model, modules, plain, sentence(inOrder, modules.size())), inOrder);
    }

    private static String sentence(List<Change> changes, int modules) {
        if (changes.isEmpty()) {
            return "Nothing was rewritten: rescaling channels lowers the error of no module.";
        }
        int channels = changes.stream().mapToInt(Change::channels).sum();
        return String.format(Locale.ROOT, "Rewritten exactly: %d of %d modules, %s rescaled by powers of two.", changes.size(), modules, Count.of(channels, "channel"));
    }

    private static Model noted(Model model, List<Module> modules, List<Layout.Plain> plain, String sentence) {
        Layout layout = model.layout();
        Architecture a = layout.architecture();
        List<String> sentences = new ArrayList<>(a.assumptions());
        sentences.add(sentence);
        Architecture noted = new Architecture(a.modelType(), a.family(), a.known(), a.structure(), a.tied(), sentences);
        return new Model(model.checkpoint(), model.config(), new Layout(noted, modules, plain, layout.prequantized(), layout.dropped(), layout.config()));
    }

    static Rows rows(Module module, int part) {
        return Rows.of(module.weight(), module.parts().get(part).firstRow(), module.parts().get(part).rows());
    }
}
