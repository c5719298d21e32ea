package ram;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// Command lines that start a class of the tests or of the program in a Java process of its own.
public final class Jvm {
    /// What the launcher gives to commands that run kernels.
    private static final List<String> VECTORS = List.of("--add-modules", "jdk.incubator.vector");

    /// For processes of which only the files count: what the optimising compiler costs is more than it saves in seconds. The bytes are the same.
    private static final List<String> QUICK = List.of("-XX:TieredStopAtLevel=1", "-Dram.vector=0");

    private Jvm() {
    }

    /// @param options of the virtual machine
    public static List<String> command(List<String> options, Class<?> main, Object... args) {
        List<String> out = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "--enable-native-access=ALL-UNNAMED"));
        out.addAll(options);
        out.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        for (Object arg : args) {
            out.add(arg.toString());
        }
        return out;
    }

    /// Options together with those that kernels need.
    public static List<String> withVectors(String... options) {
        return with(VECTORS, options);
    }

    /// Options together with those that make a short run shorter.
    public static List<String> quick(String... options) {
        return with(QUICK, withVectors(options).toArray(String[]::new));
    }

    private static List<String> with(List<String> more, String... options) {
        List<String> out = new ArrayList<>(List.of(options));
        out.addAll(more);
        return out;
    }
}
