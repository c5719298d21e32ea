package ram;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/// Apart, because it cannot even be loaded without the recorder.
@Name(Stage.NAME)
@Label("Stage")
@Category("ram")
@Description("A step of the work on one module")
@StackTrace(false)
final class StageEvent extends Event implements Stage {
    @Label("Stage")
    String stage;

    @Label("Module")
    String module;

    private StageEvent(String stage, String module) {
        this.stage = stage;
        this.module = module;
    }

    static StageEvent begun(String stage, String module) {
        StageEvent event = new StageEvent(stage, module);
        event.begin();
        return event;
    }

    @Override
    public void close() {
        commit();
    }
}
