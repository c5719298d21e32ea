package ram.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import ram.Count;
import ram.document.JsonDocument;
import ram.format.Format;
import ram.layout.ExpectedTensors;
import ram.layout.Layout;
import ram.layout.LayoutOptions;
import ram.layout.Model;
import ram.layout.Module;
import ram.plan.ByteSize;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.safetensors.TensorInfo;

@Command(name = "inspect", sortOptions = false,
        description = "Shows a model's architecture, modules and sizes, and what can be quantized and what not, and why. Reads headers only.")
final class InspectCommand implements Callable<Integer> {
    @Parameters(paramLabel = "MODEL", description = "Folder with config.json and *.safetensors.")
    Path model;

    @Option(names = "--requantize", description = "Look at a source that is quantized already as if it were decoded.")
    boolean requantize;

    @Option(names = "--json", description = "Print one JSON document.")
    boolean json;

    @Spec
    CommandSpec spec;

    /// Modules or tensors that differ in their layer and expert number only.
    private record Row(String pattern, String kind, Shape shape, DType dtype, String fate) {
    }

    /// How many, and how large together.
    private record Sum(long count, long parameters, long bytes) {
        Sum plus(long parameters, long bytes) {
            return new Sum(count + 1, Math.addExact(this.parameters, parameters), Math.addExact(this.bytes, bytes));
        }
    }

    @Override
    public Integer call() {
        try (Model m = Model.open(model, new LayoutOptions(requantize))) {
            List<String> problems = ExpectedTensors.problems(m.layout(), m.config());
            if (json) {
                Documents.print(spec, JsonDocument.bytes(document(m, problems)));
            } else {
                print(m, spec.commandLine().getOut());
                print(problems, spec.commandLine().getOut());
            }
            return problems.isEmpty() ? ExitCode.DONE : ExitCode.INPUT;
        }
    }

    private static Map<Row, Sum> rows(Layout layout) {
        Map<Row, Sum> rows = new LinkedHashMap<>();
        for (Module module : layout.modules()) {
            add(rows, new Row(pattern(module.path()), module.kind().label(), module.weight().shape(), module.weight().dtype(), fate(module)),
                    module.weight().shape().elements(), module.weight().bytes());
        }
        for (Layout.Prequantized p : layout.prequantized()) {
            add(rows, new Row(pattern(p.path()), p.kind().label(), p.shape(), p.weight().dtype(), "passed through as " + p.format()), p.shape().elements(), p.bytes());
        }
        for (Layout.Plain plain : layout.plain()) {
            add(rows, new Row(pattern(plain.name()), "-", plain.view().shape(), plain.view().dtype(), "kept: " + plain.why()), plain.view().shape().elements(), plain.view().bytes());
        }
        return rows;
    }

    private static void add(Map<Row, Sum> rows, Row row, long parameters, long bytes) {
        rows.merge(row, new Sum(1, parameters, bytes), (a, _) -> a.plus(parameters, bytes));
    }

    private static String pattern(String path) {
        return path.replaceAll("(?<=\\.)\\d+(?=\\.)", "*");
    }

    private static String fate(Module module) {
        if (module.mustStayDense().isPresent()) {
            return "kept: " + module.mustStayDense().get();
        }
        List<Format> possible = module.possible(Format.allAffine());
        if (possible.isEmpty()) {
            return "kept: no group size divides " + module.weight().shape().columns();
        }
        String groups = possible.stream().map(f -> String.valueOf(f.groupSize())).distinct().sorted((a, b) -> Integer.parseInt(a) - Integer.parseInt(b)).collect(Collectors.joining("|"));
        return "quantizable, group " + groups + module.preset().map(f -> ", mlx_lm uses " + f).orElse("");
    }

    private static void print(Model m, PrintWriter out) {
        Layout layout = m.layout();
        Map<Row, Sum> rows = rows(layout);
        long parameters = rows.values().stream().mapToLong(Sum::parameters).sum();
        long sourceBytes = m.checkpoint().tensors().values().stream().mapToLong(TensorInfo::bytes).sum();
        long fileBytes = m.checkpoint().shards().stream().mapToLong(s -> s.size()).sum();
        out.println(layout.architecture().modelType() + ", " + layout.architecture().structure().label()
                + (layout.architecture().known() ? ", loaded by mlx_lm as " + layout.architecture().family() : ", unknown to ram, treated as a plain model"));
        out.println(String.format(Locale.ROOT, "%s parameters, %,d tensors of %s in %d file%s of %s", count(parameters), m.checkpoint().tensors().size(),
                ByteSize.format(sourceBytes), m.checkpoint().shards().size(), m.checkpoint().shards().size() == 1 ? "" : "s", ByteSize.format(fileBytes)));
        out.println("output head: " + (layout.architecture().tied() ? "shares the embedding" : "its own"));
        layout.architecture().assumptions().forEach(a -> out.println("assumed: " + a));
        out.println();
        Table table = new Table("module or tensor", "kind", ">number", "shape", "dtype", ">parameters", ">size", "in the output");
        rows.forEach((row, sum) -> table.row(row.pattern(), row.kind(), sum.count(), row.shape(), row.dtype(), count(sum.parameters()), ByteSize.format(sum.bytes()), row.fate()));
        table.print(out);
        if (!layout.dropped().isEmpty()) {
            out.println();
            Table dropped = new Table("not written", ">number", "why");
            Map<List<String>, Long> groups = new LinkedHashMap<>();
            layout.dropped().forEach(d -> groups.merge(List.of(pattern(d.tensor()), d.why()), 1L, Long::sum));
            groups.forEach((g, n) -> dropped.row(g.get(0), n, g.get(1)));
            dropped.print(out);
        }
        out.println();
        Table dtypes = new Table("stored dtype", ">tensors", ">size");
        Map<DType, Sum> byType = new TreeMap<>();
        m.checkpoint().tensors().values().forEach(t -> byType.merge(t.dtype(), new Sum(1, 0, t.bytes()), (a, _) -> a.plus(0, t.bytes())));
        byType.forEach((d, s) -> dtypes.row(d, s.count(), ByteSize.format(s.bytes())));
        dtypes.print(out);
    }

    /// What `quantize` refuses, too.
    private void print(List<String> problems, PrintWriter out) {
        if (!problems.isEmpty()) {
            out.println();
            problems.forEach(p -> out.println("problem: " + p));
            out.println(model + ": " + Count.of(problems.size(), "problem") + "; correct config.json, or download both again");
        }
    }

    /// `8.19 B`, `30.5 B`, `467 M`: three significant digits.
    static String count(long n) {
        String[] units = {"", " K", " M", " B", " T"};
        int unit = 0;
        double v = n;
        while (unit < units.length - 1 && v >= 999.5) {
            v /= 1000;
            unit++;
        }
        return unit == 0 ? String.valueOf(n) : String.format(Locale.ROOT, v < 9.995 ? "%.2f%s" : v < 99.95 ? "%.1f%s" : "%.0f%s", v, units[unit]);
    }

    private static ObjectNode document(Model m, List<String> problems) {
        Layout layout = m.layout();
        ObjectNode root = JsonDocument.object();
        root.put("schema", "ram.inspection/1");
        ObjectNode architecture = root.putObject("architecture");
        architecture.put("model_type", layout.architecture().modelType());
        architecture.put("family", layout.architecture().family());
        architecture.put("known", layout.architecture().known());
        architecture.put("structure", layout.architecture().structure().label());
        architecture.put("tied", layout.architecture().tied());
        ArrayNode assumptions = architecture.putArray("assumptions");
        layout.architecture().assumptions().forEach(assumptions::add);
        root.put("tensors", m.checkpoint().tensors().size());
        root.put("tensor_bytes", m.checkpoint().tensors().values().stream().mapToLong(TensorInfo::bytes).sum());
        root.put("parameters", rows(layout).values().stream().mapToLong(Sum::parameters).sum());
        ArrayNode modules = root.putArray("modules");
        for (Module module : layout.modules()) {
            ObjectNode node = modules.addObject();
            node.put("path", module.path()).put("kind", module.kind().label()).put("layer", module.layer());
            put(node, module.weight().shape(), module.weight().dtype());
            node.put("experts", module.expert() ? module.parts().size() : 0);
            module.mustStayDense().ifPresent(why -> node.put("must_stay_dense", why));
            module.preset().ifPresent(f -> node.put("preset", f.toString()));
        }
        ArrayNode prequantized = root.putArray("prequantized");
        for (Layout.Prequantized p : layout.prequantized()) {
            ObjectNode node = prequantized.addObject();
            node.put("path", p.path()).put("kind", p.kind().label()).put("layer", p.layer()).put("format", p.format().toString());
        }
        ArrayNode plain = root.putArray("plain");
        for (Layout.Plain p : layout.plain()) {
            ObjectNode node = plain.addObject();
            node.put("name", p.name());
            put(node, p.view().shape(), p.view().dtype());
            node.put("why", p.why());
        }
        ArrayNode dropped = root.putArray("dropped");
        layout.dropped().forEach(d -> dropped.addObject().put("tensor", d.tensor()).put("why", d.why()));
        root.set("problems", JsonDocument.texts(problems));
        return root;
    }

    private static void put(ObjectNode node, Shape shape, DType dtype) {
        ArrayNode dims = node.putArray("shape");
        shape.dims().forEach(dims::add);
        node.put("dtype", dtype.name());
    }
}
