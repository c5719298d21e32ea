package ram.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.ParseException;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import jdk.jfr.Configuration;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import ram.Stage;
import ram.UsageException;

/// A recording of the Java Flight Recorder around one command, and a short account of it.
final class RunProfile implements AutoCloseable {
    private static final int MODULES = 5;

    private final Path file;
    private final PrintWriter err;
    private final Recording recording;

    private RunProfile(Path file, PrintWriter err, Recording recording) {
        this.file = file;
        this.err = err;
        this.recording = recording;
    }

    /// Begins to record.
    ///
    /// @param err where the account goes; null for none
    /// @throws ram.UsageException when the file exists
    static RunProfile start(Path file, PrintWriter err) throws IOException, ParseException {
        if (Files.exists(file)) {
            throw new UsageException(file + " exists already; choose another name for --profile-run");
        }
        Recording recording = new Recording(Configuration.getConfiguration("profile"));
        recording.enable(Stage.NAME).withoutThreshold();
        recording.start();
        return new RunProfile(file, err, recording);
    }

    /// Writes the file.
    @Override
    public void close() throws IOException {
        recording.stop();
        recording.dump(file);
        recording.close();
        if (err != null) {
            report();
        }
    }

    private static final class Sum {
        private long steps;
        private double seconds;

        void add(double more) {
            steps++;
            seconds += more;
        }
    }

    private void report() throws IOException {
        Map<String, Sum> stages = new LinkedHashMap<>();
        Map<String, Sum> modules = new LinkedHashMap<>();
        try (RecordingFile events = new RecordingFile(file)) {
            while (events.hasMoreEvents()) {
                RecordedEvent event = events.readEvent();
                if (event.getEventType().getName().equals(Stage.NAME)) {
                    double seconds = event.getDuration().toNanos() / 1e9;
                    stages.computeIfAbsent(event.getString("stage"), _ -> new Sum()).add(seconds);
                    modules.computeIfAbsent(event.getString("stage") + " " + event.getString("module"), _ -> new Sum()).add(seconds);
                }
            }
        }
        double total = stages.values().stream().mapToDouble(s -> s.seconds).sum();
        err.printf(Locale.ROOT, "%-40s %10s %10s %6s%n", "stage, summed over threads", "steps", "seconds", "%");
        print(stages, stages.size(), total);
        if (!modules.isEmpty()) {
            err.println("of which most in");
            print(modules, MODULES, total);
        }
        err.println("wrote " + file + "; 'jfr view hot-methods " + file + "' tells more");
    }

    private void print(Map<String, Sum> sums, int most, double total) {
        List<Map.Entry<String, Sum>> sorted = sums.entrySet().stream()
                .sorted(Comparator.comparingDouble((Map.Entry<String, Sum> e) -> e.getValue().seconds).reversed()).limit(most).toList();
        for (Map.Entry<String, Sum> e : sorted) {
            err.println(String.format(Locale.ROOT, "%-40s %10d %10.3f %6.1f", e.getKey(), e.getValue().steps, e.getValue().seconds, 100 * e.getValue().seconds / total));
        }
    }
}
