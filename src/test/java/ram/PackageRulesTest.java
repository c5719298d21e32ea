package ram;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.constantpool.ClassEntry;
import java.lang.classfile.constantpool.MemberRefEntry;
import java.lang.classfile.constantpool.PoolEntry;
import java.lang.classfile.constantpool.Utf8Entry;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// Which package may know which, read from the compiled classes.
class PackageRulesTest {
    /// In the order of the data flow: a package may use those before it.
    private static final List<String> ORDER = List.of("safetensors", "numeric", "tensor", "format", "layout", "journal", "document", "metric", "sensitivity", "rewrite", "profile",
            "plan", "convert", "verify", "eval", "refine", "report", "cli");

    /// Libraries, and the only packages that may use them.
    private static final Map<String, Set<String>> LIBRARIES = Map.of(
            "picocli/", Set.of("cli"),
            "ch/qos/logback/", Set.of("cli"),
            "org/yaml/", Set.of("cli"),
            "org/ejml/", Set.of("metric"),
            "jdk/incubator/vector/", Set.of("numeric", "format", "eval"),
            "ai/djl/", Set.of("eval"));

    private static final Pattern TYPE = Pattern.compile("L([\\w/$]+)[;<]");

    private static List<Path> classes() throws IOException {
        try (Stream<Path> files = Files.walk(Path.of("target/classes/ram"))) {
            return files.filter(f -> f.toString().endsWith(".class")).sorted().toList();
        }
    }

    private static Set<String> typesIn(Path file) throws IOException {
        ClassModel model = ClassFile.of().parse(file);
        Set<String> types = new TreeSet<>();
        for (PoolEntry entry : model.constantPool()) {
            if (entry instanceof ClassEntry c) {
                types.add(c.asInternalName());
            } else if (entry instanceof Utf8Entry u && u.stringValue().length() < 10_000) {
                Matcher m = TYPE.matcher(u.stringValue());
                while (m.find()) {
                    types.add(m.group(1));
                }
            }
        }
        return types;
    }

    /// The same bytes on every machine: these functions of Math may differ in the last bit from one virtual machine to another.
    @Test
    void resultsComeFromStrictMath() throws IOException {
        Set<String> loose = Set.of("exp", "expm1", "log", "log10", "log1p", "pow", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "atan2", "cbrt", "hypot");
        List<String> violations = new ArrayList<>();
        for (Path file : classes()) {
            if (file.startsWith("target/classes/ram/cli")) {
                continue;
            }
            for (PoolEntry entry : ClassFile.of().parse(file).constantPool()) {
                if (entry instanceof MemberRefEntry m && m.owner().asInternalName().equals("java/lang/Math") && loose.contains(m.name().stringValue())) {
                    violations.add(file.getFileName() + " uses Math." + m.name().stringValue());
                }
            }
        }
        assertEquals(List.of(), violations);
    }

    @Test
    void dependenciesPointDownTheDataFlow() throws IOException {
        List<String> violations = new ArrayList<>();
        for (Path file : classes()) {
            Path inside = Path.of("target/classes/ram").relativize(file);
            if (inside.getNameCount() < 2) {
                continue;
            }
            String from = inside.getName(0).toString();
            assertTrue(ORDER.contains(from), "the package ram." + from + " has no place in the data flow");
            for (String type : typesIn(file)) {
                Matcher m = Pattern.compile("\\[*L?ram/(\\w+)/.*").matcher(type);
                if (m.matches() && ORDER.indexOf(m.group(1)) > ORDER.indexOf(from)) {
                    violations.add(inside + " uses " + type);
                }
                LIBRARIES.forEach((library, allowed) -> {
                    if (type.startsWith(library) && !allowed.contains(from)) {
                        violations.add(inside + " uses " + type);
                    }
                });
            }
        }
        assertEquals(List.of(), violations);
    }
}
