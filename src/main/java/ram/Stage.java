package ram;

/// A step of the work as an event of the Java Flight Recorder: what is done, on what, and how long one thread was busy with it.
/// Costs next to nothing while nothing is recorded, and is nothing at all in a Java runtime that was made without the recorder.
///
///     try (Stage _ = Stage.of("errors", module.path())) { … }
public interface Stage extends AutoCloseable {
    /// The name of the event in a recording.
    String NAME = "ram.Stage";

    /// The module of Java that records.
    String MODULE = "jdk.jfr";

    /// Whether this Java runtime can record.
    boolean RECORDABLE = ModuleLayer.boot().findModule(MODULE).isPresent();

    /// Begins a step.
    ///
    /// @param module path of a module or name of a tensor
    static Stage of(String stage, String module) {
        return RECORDABLE ? StageEvent.begun(stage, module) : () -> { };
    }

    /// Ends it.
    @Override
    void close();
}
