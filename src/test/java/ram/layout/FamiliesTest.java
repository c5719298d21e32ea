package ram.layout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ram.safetensors.DType;
import ram.safetensors.SafetensorsFile;
import ram.safetensors.Shape;

/// Classes and variants that have no recorded case; `families.txt` says how to read it.
class FamiliesTest {
    @TempDir
    Path folder;

    record Example(String name, List<String> lines) {
        @Override
        public String toString() {
            return name;
        }
    }

    static List<Example> examples() throws IOException {
        try (InputStream in = FamiliesTest.class.getResourceAsStream("families.txt")) {
            List<Example> out = new ArrayList<>();
            for (String block : new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\n## ")) {
                if (block.contains("\n{")) {
                    out.add(new Example(block.lines().findFirst().orElseThrow(), block.lines().skip(1).filter(l -> !l.isBlank()).toList()));
                }
            }
            return out;
        }
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("examples")
    void isLoadedAsDocumented(Example example) throws IOException {
        Files.writeString(folder.resolve("config.json"), example.lines().getFirst());
        SafetensorsFile file = new SafetensorsFile();
        Map<String, String> shapes = new TreeMap<>();
        TreeSet<String> wanted = new TreeSet<>();
        for (String line : example.lines().subList(1, example.lines().size())) {
            String[] words = line.split(" ");
            if (line.startsWith("<")) {
                DType dtype = words.length > 3 ? DType.named(words[3]).orElseThrow() : DType.BF16;
                Shape shape = words[2].equals("-") ? Shape.of() : Shape.of(Arrays.stream(words[2].split("x")).mapToLong(Long::parseLong).toArray());
                file.add(words[1], dtype, shape, new byte[Math.toIntExact(shape.elements() * dtype.bytes())]);
                shapes.put(words[1], words[2]);
            } else {
                wanted.add(line.startsWith("=") && words.length == 2 ? line + " " + shapes.getOrDefault(words[1], "*") : line);
            }
        }
        file.write(folder.resolve("model.safetensors"));
        try (Model model = Model.open(folder)) {
            Layout layout = model.layout();
            TreeSet<String> found = new TreeSet<>();
            for (Module m : layout.modules()) {
                found.add("> " + m.path() + " " + m.kind().label() + " " + text(m.weight().shape()) + (m.preset().isPresent() ? " *" : "") + (m.mustStayDense().isPresent() ? " !" : ""));
                assertEquals(m.weight().shape().rank() == 3 && m.kind() != Kind.LATENT, m.expert(), m.path());
                assertEquals(m.path().contains("share") && m.kind() != Kind.SHARED_EXPERT_GATE, m.sharedExpert(), m.path());
            }
            for (Layout.Plain p : layout.plain()) {
                String line = "= " + p.name() + " ";
                found.add(line + (wanted.contains(line + "*") ? "*" : text(p.view().shape())));
                assertTrue(!p.why().contains("unknown") || p.view().shape().rank() < 2, p.name() + ": " + p.why());
            }
            layout.dropped().forEach(d -> found.add("- " + d.tensor()));
            assertEquals(String.join("\n", wanted), String.join("\n", found));
            assertEquals(example.name().replaceFirst(":.*", ""), layout.architecture().modelType() + " " + layout.architecture().structure().label());
            assertTrue(layout.architecture().known());
        }
    }

    private static String text(Shape shape) {
        return shape.rank() == 0 ? "-" : shape.dims().stream().map(String::valueOf).collect(Collectors.joining("x"));
    }
}
