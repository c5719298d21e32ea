package ram;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/// A step of the work as an event of the Java Flight Recorder: what is done, on what, and how long one thread was busy with it.
/// Costs next to nothing while nothing is recorded.
///
///     try (Stage _ = Stage.of("errors", module.path())) { … }
@Name(Stage.NAME)
@Label("Stage")
@Category("ram")
@Description("A step of the work on one module")
@StackTrace(false)
public final class Stage extends Event implements AutoCloseable {
    /// The name of the event in a recording.
    public static final String NAME = "ram.Stage";

    @Label("Stage")
    String stage;

    @Label("Module")
    String module;

    private Stage(String stage, String module) {
        this.stage = stage;
        this.module = module;
    }

    /// Begins a step.
    ///
    /// @param module path of a module or name of a tensor
    public static Stage of(String stage, String module) {
        Stage event = new Stage(stage, module);
        event.begin();
        return event;
    }

    /// Ends it.
    @Override
    public void close() {
        commit();
    }
}
