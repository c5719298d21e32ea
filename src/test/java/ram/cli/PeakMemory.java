package ram.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;

/// Runs one command and prints as the last line the most kB of memory that were ever resident. Linux only.
final class PeakMemory {
    static final Path STATUS = Path.of("/proc/self/status");

    private PeakMemory() {
    }

    public static void main(String[] args) throws IOException {
        int code = Main.run(new PrintWriter(System.out), new PrintWriter(System.err), args);
        try (var lines = Files.lines(STATUS)) {
            System.out.println(lines.filter(l -> l.startsWith("VmHWM:")).findFirst().orElseThrow().replaceAll("\\D", ""));
        }
        System.exit(code);
    }
}
