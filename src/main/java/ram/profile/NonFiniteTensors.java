package ram.profile;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import ram.InputException;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.Module;
import ram.metric.NonFinite;
import ram.numeric.Workers;
import ram.tensor.RowBlocks;
import ram.tensor.Rows;
import ram.tensor.TensorView;
import ram.tensor.Views;

/// What is done about values that are infinite or not a number.
///
/// @param model as it is analysed: modules that hold such values must stay dense, and read 0 in their places
/// @param names of the tensors of the output that hold such values
record NonFiniteTensors(Model model, SortedSet<String> names) {
    /// Reads everything once.
    static NonFiniteTensors kept(Model model, Workers workers) {
        Layout layout = model.layout();
        SortedSet<String> names = new TreeSet<>();
        List<Module> modules = new ArrayList<>();
        for (Module m : layout.modules()) {
            List<Optional<String>> found = workers.map(m.parts(), part -> find(NonFinite.LARGEST, Rows.of(m.weight(), part.firstRow(), part.rows()), m.weight()).map(n -> part.name() + " holds " + n));
            Optional<String> why = found.stream().flatMap(Optional::stream).findFirst();
            if (why.isPresent()) {
                names.add(m.path() + ".weight");
                modules.add(new Module(m.path(), m.kind(), m.layer(), Views.within(NonFinite.LARGEST, m.weight()), m.parts(), m.preset(), why, m.expert(), m.sharedExpert()));
            } else {
                modules.add(m);
            }
        }
        List<Layout.Plain> plain = new ArrayList<>();
        for (Layout.Plain p : layout.plain()) {
            Optional<NonFinite> found = find(Float.MAX_VALUE, Rows.of(p.view()), p.view());
            if (found.isPresent()) {
                names.add(p.name());
                plain.add(new Layout.Plain(p.name(), Views.within(Float.MAX_VALUE, p.view()), p.why() + "; holds " + found.get(), p.keepDType()));
            } else {
                plain.add(p);
            }
        }
        Layout changed = new Layout(layout.architecture(), modules, plain, layout.prequantized(), layout.dropped(), layout.config());
        return new NonFiniteTensors(new Model(model.checkpoint(), model.config(), changed), names);
    }

    /// @param largest magnitude that is not refused
    /// @param name of the tensor that `rows` are of
    /// @throws InputException when a value is not a number or beyond that
    static void refuse(float largest, String name, Rows rows, TensorView view) {
        find(largest, rows, view).ifPresent(n -> {
            throw new InputException(MatrixAnalysis.refusal(name, n));
        });
    }

    private static Optional<NonFinite> find(float largest, Rows rows, TensorView view) {
        if (!view.dtype().isFloating() || view.shape().elements() == 0) {
            return Optional.empty();
        }
        long index = -1;
        long found = 0;
        for (RowBlocks.Block b : RowBlocks.of(rows)) {
            float[] values = b.values();
            int count = b.rows() * rows.columns();
            for (int i = 0; i < count; i++) {
                if (!(Math.abs(values[i]) <= largest)) {
                    index = index < 0 ? b.firstRow() * rows.columns() + i : index;
                    found++;
                }
            }
        }
        return found == 0 ? Optional.empty() : Optional.of(new NonFinite(index, found));
    }
}
