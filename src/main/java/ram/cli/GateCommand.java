package ram.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import javax.xml.stream.XMLOutputFactory;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamWriter;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;
import ram.UsageException;
import ram.eval.EvalDocuments;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.report.Gate;

@Command(name = "gate", sortOptions = false, description = "Checks a manifest or an evaluation against limits; exit code 3 when one does not hold.")
final class GateCommand implements Callable<Integer> {
    private static final String SUITE = "ram gate";
    /// How an outcome begins, whoever indented it.
    private static final Pattern OUTCOME = Pattern.compile("\\s*(<\\?xml[^<>]*\\?>)?\\s*<testsuite\\s+name=\"" + SUITE + "\"[\\s>]");
    private static final int START_BYTES = 1000;

    @Parameters(paramLabel = "MANIFEST|EVAL", description = "manifest.json, an output folder that has one, or what `ram eval --json` printed.")
    Path file;

    @Option(names = "--max-kl", paramLabel = "NATS", description = "Most mean KL divergence from the reference: as measured, else as predicted.")
    Double maxKl;

    @Option(names = "--max-ppl-increase", paramLabel = "SHARE", description = "Most increase of perplexity, of mean and median, such as 2%% or 0.02.")
    String maxIncrease;

    @Option(names = "--min-bits", paramLabel = "BITS", description = "Minimum bits of any quantized module.")
    Long minBits;

    @Option(names = "--max-size", paramLabel = "SIZE", description = "Maximum size of all *.safetensors files.")
    Size maxSize;

    @Option(names = "--baseline", paramLabel = "MANIFEST", description = "An earlier manifest or output folder: size, predicted damage and, if it was evaluated, measured divergence must not be worse (the last two by no more than a thousandth).")
    Path baseline;

    @Option(names = "--tolerance", paramLabel = "SHARE", description = "How much worse than the baseline each of these may be, such as 1%% or 0.01.")
    String tolerance;

    @Option(names = "--json", description = "Print one JSON document.")
    boolean json;

    @Option(names = "--junit", paramLabel = "FILE", description = "Also write the outcome as JUnit XML.")
    Path junit;

    @ParentCommand
    RamCommand root;

    @Spec
    CommandSpec spec;

    @Override
    public Integer call() {
        if (minBits != null && minBits < 1) {
            throw new UsageException("--min-bits must be 1 or more, not " + minBits);
        }
        if (maxKl != null && !(maxKl >= 0 && maxKl < Double.POSITIVE_INFINITY)) {
            throw new UsageException("--max-kl must be a number of nats, 0 or more, not " + maxKl);
        }
        Gate.Limits limits = new Gate.Limits(maxKl == null ? OptionalDouble.empty() : OptionalDouble.of(maxKl),
                maxIncrease == null ? OptionalDouble.empty() : OptionalDouble.of(share("--max-ppl-increase", maxIncrease)),
                minBits == null ? OptionalLong.empty() : OptionalLong.of(minBits), maxSize == null ? OptionalLong.empty() : OptionalLong.of(maxSize.bytes()), tolerated());
        Optional<Manifest> manifest = Optional.empty();
        Optional<JsonNode> evaluation;
        Path given = Documents.manifest(file);
        Optional<Path> before = Optional.ofNullable(baseline).map(Documents::manifest);
        if (junit != null) {
            OutputFiles.refuseExisting(junit, true, given, before.orElse(null));
            removeEarlier(junit);
        }
        if (Documents.schema(given).equals(EvalDocuments.SCHEMA)) {
            evaluation = Optional.of(Documents.evaluation(given));
        } else {
            manifest = Optional.of(ManifestJson.read(given));
            evaluation = manifest.get().evaluation().map(e -> e);
        }
        List<Gate.Check> checks = Gate.check(manifest, evaluation, limits, before.map(ManifestJson::read));
        if (json) {
            Documents.print(spec, Gate.json(checks));
        } else {
            print(checks);
        }
        if (junit != null) {
            OutputFiles.write(junit, xml(checks).getBytes(StandardCharsets.UTF_8));
        }
        return checks.stream().allMatch(Gate.Check::holds) ? ExitCode.DONE : ExitCode.GATE;
    }

    /// The outcome of an earlier run must not pass for this one's, should this one fail.
    ///
    /// @throws UsageException when the file is something else
    private static void removeEarlier(Path junit) {
        try {
            if (!Files.isRegularFile(junit)) {
                return;
            }
            byte[] start;
            try (InputStream in = Files.newInputStream(junit)) {
                start = in.readNBytes(START_BYTES);
            }
            if (start.length > 0 && !OUTCOME.matcher(new String(start, StandardCharsets.UTF_8)).lookingAt()) {
                throw new UsageException(junit + " is not an earlier outcome of ram gate, so it was not touched; choose another name or remove it");
            }
            if (Files.isSymbolicLink(junit)) {
                // a link stays one, and an empty file is no outcome either
                Files.write(junit, new byte[0]);
            } else {
                Files.delete(junit);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(junit + ": cannot be replaced", e);
        }
    }

    private void print(List<Gate.Check> checks) {
        PrintWriter out = spec.commandLine().getOut();
        boolean annotate = root.global.around.variable("GITHUB_ACTIONS").equals("true");
        for (Gate.Check c : checks) {
            out.println((c.holds() ? "ok      " : "FAILED  ") + c.name() + ": " + c.sentence());
            if (annotate && !c.holds()) {
                // The workflow command's own escapes.
                out.println("::error title=ram gate " + c.name() + "::" + c.sentence().replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"));
            }
        }
    }

    private OptionalDouble tolerated() {
        if (tolerance == null) {
            return OptionalDouble.empty();
        }
        if (baseline == null) {
            GlobalOptions.noteWithoutEffect(spec, "--tolerance is about what --baseline names, and changes nothing without it");
        }
        double share = share("--tolerance", tolerance);
        if (share < 0 || share > 1) {
            throw new UsageException("--tolerance must be from 0 to 100 %, such as 1% or 0.01, not " + tolerance);
        }
        return OptionalDouble.of(share);
    }

    private static double share(String option, String text) {
        try {
            String t = text.strip();
            // not divided by 100, which 0.7 % would leave a little less than 0.007
            double v = (t.endsWith("%") ? new BigDecimal(t.substring(0, t.length() - 1).strip()).movePointLeft(2) : new BigDecimal(t)).doubleValue();
            if (Double.isFinite(v)) {
                return v;
            }
        } catch (NumberFormatException | ArithmeticException _) {
            // Said below.
        }
        throw new UsageException(option + ": '" + text + "' is not a share; write 2% or 0.02");
    }

    /// With a replacement character for each that XML 1.0 cannot hold, not even escaped.
    private static String printable(String text) {
        int[] points = text.codePoints().map(c -> c >= 0x20 && c <= 0xD7FF || c == '\t' || c == '\n' || c == '\r' || c >= 0xE000 && c <= 0xFFFD || c >= 0x10000 ? c : 0xFFFD).toArray();
        return new String(points, 0, points.length);
    }

    private static String xml(List<Gate.Check> checks) {
        StringWriter text = new StringWriter();
        try {
            XMLStreamWriter xml = XMLOutputFactory.newInstance().createXMLStreamWriter(text);
            xml.writeStartDocument("UTF-8", "1.0");
            xml.writeStartElement("testsuite");
            xml.writeAttribute("name", SUITE);
            xml.writeAttribute("tests", String.valueOf(checks.size()));
            xml.writeAttribute("failures", String.valueOf(checks.stream().filter(c -> !c.holds()).count()));
            for (Gate.Check c : checks) {
                xml.writeStartElement("testcase");
                xml.writeAttribute("classname", "ram.gate");
                xml.writeAttribute("name", printable(c.model().isEmpty() ? c.name() : c.name() + " of " + c.model()));
                if (c.holds()) {
                    xml.writeStartElement("system-out");
                    xml.writeCharacters(printable(c.sentence()));
                    xml.writeEndElement();
                } else {
                    xml.writeStartElement("failure");
                    xml.writeAttribute("message", printable(c.sentence()));
                    xml.writeEndElement();
                }
                xml.writeEndElement();
            }
            xml.writeEndElement();
            xml.writeEndDocument();
            xml.close();
        } catch (XMLStreamException e) {
            throw new IllegalStateException(e);
        }
        return text + "\n";
    }
}
