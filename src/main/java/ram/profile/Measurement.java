package ram.profile;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.LongConsumer;
import ram.Stage;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.metric.MetricReport;
import ram.numeric.Background;
import ram.numeric.Handoff;
import ram.numeric.Workers;
import ram.sensitivity.ModuleWeights;
import ram.sensitivity.Term;
import ram.tensor.Rows;

/// Measures matrices while more of them become known: with several threads, those of one layer are measured while the next layers are followed, so that no
/// thread waits for the end of either.
final class Measurement implements AutoCloseable {
    /// Small results that may wait for those of an embedding, which takes as long as a hundred other matrices.
    private static final int WAITING = 200;
    /// Matrices of which all are begun before the first is gone on with.
    private static final int TOGETHER = 8;
    /// What matrices may be held in beside the heap, as a part of that: an eighth of `--memory`, of which the heap has five.
    private static final int BESIDE_HEAP = 5;

    private final Workers workers;
    private final AnalysisOptions options;
    private final OutputTypes types;
    private final MatrixJournal finished;
    private final LongConsumer progress;
    private final Map<Module, List<Task>> tasks = new IdentityHashMap<>();
    private final Handoff<Step> handoff = new Handoff<>();
    private final Background<Boolean> beside;
    private volatile boolean stopped;

    /// @param workers shared with whoever finds the matrices
    /// @param progress is told the bytes of source that were measured, from several threads
    Measurement(Workers workers, AnalysisOptions options, OutputTypes types, MatrixJournal finished, LongConsumer progress) {
        this.workers = workers;
        this.options = options;
        this.types = types;
        this.finished = finished;
        this.progress = progress;
        beside = new Background<>(workers.threads(), this::measureGiven);
        beside.begin();
    }

    /// One matrix, what an error in it costs by its place, and what has been measured of it so far.
    private static final class Task {
        final Module module;
        final Module.Part part;
        /// Several numbers per row and column: given up once they are of no more use, as a model of many experts has gigabytes of them.
        List<Term> terms;
        /// What is gathered for the errors while the metrics are measured.
        volatile RowSample.Pass pass;
        MetricReport metrics;
        MatrixAnalysis.Errors errors;
        MatrixAnalysis.Result result;

        Task(Module module, Module.Part part, List<Term> terms) {
            this.module = module;
            this.part = part;
            this.terms = terms;
        }

        long elements() {
            return Math.multiplyExact(part.rows(), module.weight().shape().columns());
        }

        long bytes() {
            return elements() * module.weight().dtype().bytes();
        }

        Rows rows() {
            return Rows.of(module.weight(), part.firstRow(), part.rows());
        }
    }

    /// One half of the measurement of a matrix.
    private record Step(Task task, boolean metrics) {
    }

    /// Measures some matrices, or sees to it that they are measured.
    ///
    /// @param wanted the parts to measure; other modules and parts are passed over
    /// @throws ram.InputException when a weight among these or earlier ones is not finite or cannot be read
    void add(List<ModuleWeights> weights, Map<Module, List<Module.Part>> wanted) {
        List<Task> added = new ArrayList<>();
        for (ModuleWeights w : weights) {
            List<Module.Part> parts = w.module().parts();
            Set<Module.Part> mine = Set.copyOf(wanted.getOrDefault(w.module(), List.of()));
            for (int p = 0; p < parts.size(); p++) {
                if (mine.contains(parts.get(p))) {
                    Task task = new Task(w.module(), parts.get(p), w.parts().isEmpty() ? List.of() : w.parts().get(p));
                    tasks.computeIfAbsent(w.module(), _ -> new ArrayList<>()).add(task);
                    added.add(task);
                }
            }
        }
        for (Task task : added) {
            task.result = finished.earlier(task.module, task.part).orElse(null);
            if (task.result != null) {
                task.terms = List.of();
                progress.accept(task.bytes());
            }
        }
        // Metrics and errors of a matrix are separate steps, and the largest matrices come first, so that at the end no core is left alone with a large one.
        // The errors of some come after their metrics, whose first pass finds what the errors would need one of their own for.
        List<Task> missing = added.stream().filter(t -> t.result == null).sorted(Comparator.comparingLong(Task::elements).reversed()).toList();
        List<Step> steps = new ArrayList<>();
        for (int first = 0; first < missing.size(); first += TOGETHER) {
            List<Task> some = missing.subList(first, Math.min(missing.size(), first + TOGETHER));
            some.forEach(t -> steps.add(new Step(t, true)));
            some.forEach(t -> steps.add(new Step(t, false)));
        }
        if (workers.threads() == 1) {
            measure(steps);
        } else if (!handoff.give(steps)) {
            beside.get();
        }
    }

    /// What was measured, once all of it is: per module one result for each of its wanted parts.
    ///
    /// @throws ram.InputException when a weight is not finite or cannot be read
    Map<Module, List<MatrixAnalysis.Result>> results() {
        handoff.complete();
        beside.get();
        Map<Module, List<MatrixAnalysis.Result>> results = new IdentityHashMap<>();
        tasks.forEach((module, list) -> results.put(module, list.stream().map(t -> t.result).toList()));
        return results;
    }

    private boolean measureGiven() {
        try {
            measure(handoff);
            return true;
        } finally {
            handoff.close();
        }
    }

    private void measure(Iterable<Step> steps) {
        workers.forEach(steps, WAITING, this::measured, Runnable::run);
    }

    /// Measures, and returns what records it.
    private Runnable measured(Step step) {
        Task task = step.task;
        if (stopped) {
            return () -> { };
        }
        if (step.metrics) {
            MetricReport report = metrics(task);
            return () -> {
                task.metrics = report;
                combine(task);
            };
        }
        MatrixAnalysis.Errors errors = errors(task);
        return () -> {
            task.errors = errors;
            combine(task);
        };
    }

    private void combine(Task task) {
        if (task.metrics != null && task.errors != null) {
            task.result = MatrixAnalysis.combine(task.metrics, task.errors, task.terms);
            finished.add(task.module, task.part, task.result);
            task.terms = List.of();
            task.pass = null;
            task.metrics = null;
            task.errors = null;
        }
    }

    private MetricReport metrics(Task task) {
        try (Stage _ = Stage.of("metrics", task.module.path()); Arena arena = Arena.ofConfined()) {
            Rows rows = Rows.held(task.module.weight(), task.part.firstRow(), task.part.rows(), Runtime.getRuntime().maxMemory() / BESIDE_HEAP / workers.threads(), arena);
            if (!RowSample.whole(rows.rows(), rows.columns(), options.exact())) {
                task.pass = new RowSample.Pass(rows);
                rows = task.pass.watched();
            }
            MetricReport report = MatrixAnalysis.metrics(task.part.name(), rows);
            progress.accept(task.bytes());
            return report;
        }
    }

    private MatrixAnalysis.Errors errors(Task task) {
        Module module = task.module;
        try (Stage _ = Stage.of("errors", module.path())) {
            RowSample.Pass pass = task.pass;
            ErrorSums sums = new ErrorSums(task.rows(), module.possible(options.formats()), options.quantizer(), types.of(module), task.terms);
            return sums.measure(pass == null ? Optional.empty() : pass.found(), module.parts().size(), options.exact());
        }
    }

    /// Waits for the steps under way, whose files may be closed next; what waits is not begun.
    @Override
    public void close() {
        stopped = true;
        handoff.close();
        beside.await();
    }
}
