package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.SyntheticModel;
import ram.report.ReportPage;

class ReportTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    static Path dir;
    private static Path profile;
    private static Path manifest;

    @BeforeAll
    static void analyzeAndPlan() {
        profile = Cli.analyzed(dir);
        manifest = dir.resolve("manifest.json");
        assertEquals(0, Cli.run("plan", profile, "--budget", "1MB", "-o", manifest).exitCode());
    }

    private Path report(String name, Object... args) {
        Path out = dir.resolve(name);
        List<Object> words = new ArrayList<>(List.of("report"));
        words.addAll(List.of(args));
        words.addAll(List.of("-o", out));
        Cli.Result r = Cli.run(words.toArray());
        assertEquals(0, r.exitCode(), r.err());
        return out;
    }

    private static JsonNode data(Path page) throws IOException {
        Matcher m = Pattern.compile("<script type=\"application/json\" id=\"data\">(.*?)</script>", Pattern.DOTALL).matcher(Files.readString(page));
        assertTrue(m.find());
        return JSON.readTree(m.group(1));
    }

    @Test
    void onePageWithEverythingInIt() throws IOException {
        Path page = report("a.html", manifest, "--profile", profile);
        JsonNode plan = JSON.readTree(manifest.toFile());
        JsonNode data = data(page);
        assertEquals(plan.path("modules").size(), data.path("modules").size());
        double damage = 0;
        long bytes = 0;
        for (JsonNode m : data.path("modules")) {
            damage += m.path("share").asDouble();
            bytes += m.path("bytes").asLong();
        }
        assertEquals(1, damage, 1e-3);
        long planned = 0;
        for (JsonNode m : plan.path("modules")) {
            planned += m.path("bytes").asLong();
        }
        assertEquals(planned, bytes);
        assertEquals(plan.path("notes"), data.path("notes"));
        assertTrue(data.path("frontier").path("points").size() > 100);
        assertEquals(1, data.path("distributions").valueStream().filter(d -> d.path("metric").asText().equals("stable_rank")).count());
        String text = Files.readString(page).replaceAll("(?s)<script>.*?</script>", "<script></script>");
        assertFalse(Pattern.compile("<(script|link|img|iframe)[^>]*(src|href)=").matcher(text).find(), "nothing may be loaded");
        assertArrayEquals(Files.readAllBytes(page), Files.readAllBytes(report("b.html", manifest, "--profile", profile)), "the same input gives the same bytes");
    }

    @Test
    void aPlanAloneOrAProfileAlone() throws IOException {
        JsonNode plan = data(report("plan.html", manifest));
        assertFalse(plan.has("frontier"));
        assertTrue(plan.path("planned").asBoolean());
        JsonNode measured = data(report("profile.html", profile));
        assertFalse(measured.path("planned").asBoolean());
        assertTrue(measured.path("frontier").path("points").size() > 100);
    }

    @Test
    void refusesWhatDoesNotBelongTogether(@TempDir Path other) throws IOException {
        Path foreign = other.resolve("profile.json");
        SyntheticModel.writeSmall(1, other.resolve("m"));
        assertEquals(0, Cli.run("analyze", other.resolve("m"), "-o", foreign, "--quiet").exitCode());
        Cli.Result r = Cli.run("report", manifest, "--profile", foreign, "-o", other.resolve("x.html"));
        assertEquals(2, r.exitCode());
        assertEquals("ram: the profile is not the one that the plan was made from: their source files differ; analyze the model again or give the right profile\n", r.err());
        assertFalse(Files.exists(other.resolve("x.html")));
        r = Cli.run("report", other.resolve("nothing.json"), "-o", other.resolve("x.html"));
        assertEquals(5, r.exitCode());
        Files.writeString(other.resolve("old.html"), "mine");
        r = Cli.run("report", manifest, "-o", other.resolve("old.html"));
        assertEquals(2, r.exitCode());
        assertEquals("mine", Files.readString(other.resolve("old.html")));
        r = Cli.run("report", manifest, "--eval", profile, "-o", other.resolve("x.html"));
        assertEquals(5, r.exitCode());
    }

    @Test
    void aBrowserDrawsItAndItsControlsWork(@TempDir Path work) throws Exception {
        Path page = report("tried.html", manifest, "--profile", profile, "--eval", evaluation(work));
        JsonNode found = tryIn(browser(), page, work);
        assertEquals("[]", found.path("failures").toString());
        assertEquals("[\"layers-chart\",\"frontier-chart\",\"curves-chart\",\"bytes-chart\",\"metrics-chart\",\"evaluation-chart\"]", found.path("charts").toString());
    }

    @Test
    void aBrowserDrawsExperts(@TempDir Path work) throws Exception {
        SyntheticModel.writeExperts(3, work.resolve("m"));
        Path measured = work.resolve("profile.json");
        assertEquals(0, Cli.run("analyze", work.resolve("m"), "-o", measured, "--quiet").exitCode());
        Path page = report("experts.html", measured);
        JsonNode experts = data(page).path("experts");
        assertEquals("[0,1,2]", experts.path("layers").toString());
        assertEquals(8, experts.path("cells").get(2).size());
        JsonNode found = tryIn(browser(), page, work);
        assertEquals("[]", found.path("failures").toString());
        assertTrue(found.path("charts").toString().contains("experts-chart"));
    }

    @Test
    void ofAModelOfManyModulesAllIsThereAndPartOfItIsDrawn(@TempDir Path work) throws Exception {
        ObjectNode data = (ObjectNode) data(report("few.html", manifest, "--profile", profile));
        List<JsonNode> few = data.path("modules").valueStream().toList();
        List<String> paths = new ArrayList<>();
        ArrayNode many = data.putArray("modules");
        for (int i = 0; i < 1234; i++) {
            ObjectNode module = few.get(i % few.size()).deepCopy();
            paths.add("copy." + i + "." + module.path("path").asText());
            many.add(module.put("path", paths.getLast()));
        }
        Path page = Files.write(work.resolve("many.html"), ReportPage.of(data));
        assertEquals(paths, data(page).path("modules").valueStream().map(m -> m.path("path").asText()).toList());
        assertEquals("[]", tryIn(browser(), page, "try-large-report.js", work).path("failures").toString());
    }

    @Test
    void namesInAModelAreTextOnly(@TempDir Path work) throws Exception {
        String evil = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>";
        Path hostile = work.resolve("profile.json");
        Files.writeString(hostile, Files.readString(profile).replace("\"model_type\" : \"qwen3\"", "\"model_type\" : " + JSON.writeValueAsString(evil)).replace("layers.1.mlp.down_proj", "layers.1.<img src=x onerror=window.hacked=1>.down_proj"));
        Path page = report("hostile.html", hostile);
        assertEquals(evil, data(page).path("model").asText());
        JsonNode found = tryIn(browser(), page, work);
        assertEquals("[]", found.path("failures").toString());
    }

    private static Path evaluation(Path work) throws IOException {
        Path text = work.resolve("text.txt");
        Files.writeString(text, "The weights alone tell how to compress a model. ".repeat(200));
        Cli.Result r = Cli.run("eval", Cli.TINY, "--reference", Cli.TINY, "--text", text, "--seq-len", 128, "--json", "--quiet");
        assertEquals(0, r.exitCode(), r.err());
        Path file = work.resolve("eval.json");
        Files.writeString(file, r.out());
        return file;
    }

    private static Path browser() {
        Optional<Path> found = Stream.of("chromium", "chromium-browser", "google-chrome")
                .flatMap(name -> Stream.of(System.getenv("PATH").split(":")).map(folder -> Path.of(folder, name))).filter(Files::isExecutable).findFirst();
        Assumptions.assumeTrue(found.isPresent(), "there is no Chromium on the PATH");
        return found.get();
    }

    /// Opens the page with a script at its end that uses it, and requires that the browser's console stays empty.
    private static JsonNode tryIn(Path browser, Path page, Path work) throws Exception {
        return tryIn(browser, page, "try-report.js", work);
    }

    private static JsonNode tryIn(Path browser, Path page, String with, Path work) throws Exception {
        Path tried = work.resolve("page.html");
        String script;
        try (InputStream in = ReportTest.class.getResourceAsStream("/ram/report/" + with)) {
            script = new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
        String text = Files.readString(page);
        int end = text.lastIndexOf("</body>");
        Files.writeString(tried, text.substring(0, end) + "<script>" + script + "</script>" + text.substring(end));
        Path dom = work.resolve("dom.html");
        Path log = work.resolve("browser.log");
        Process p = new ProcessBuilder(browser.toString(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + work.resolve("user"),
                "--enable-logging=stderr", "--v=0", "--window-size=1250,900", "--virtual-time-budget=60000", "--dump-dom", tried.toUri().toString())
                .redirectOutput(dom.toFile()).redirectError(log.toFile()).start();
        if (!p.waitFor(120, TimeUnit.SECONDS)) {
            p.destroyForcibly();
            throw new AssertionError("the browser did not end");
        }
        List<String> console = Files.readAllLines(log).stream().filter(l -> l.contains("CONSOLE")).toList();
        assertEquals(List.of(), console);
        Matcher m = Pattern.compile("<pre id=\"found\">(.*?)</pre>", Pattern.DOTALL).matcher(Files.readString(dom));
        assertTrue(m.find(), "the script in the page did not end");
        return JSON.readTree(m.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
    }
}
