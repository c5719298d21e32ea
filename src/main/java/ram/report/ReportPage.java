package ram.report;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Properties;

/// A report as one HTML file that needs nothing beside it. Whatever comes from the model stands in a block of JSON, from which the page's script makes text nodes.
public final class ReportPage {
    private static final String CHARTS = "/META-INF/resources/webjars/echarts/%s/echarts.min.js";

    private ReportPage() {
    }

    /// @param data what [ReportData] found
    public static byte[] of(ObjectNode data) {
        // A closing tag inside a string must not end the element around it.
        String json = data.toString().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029");
        return new Page(resource("report.html"))
                .with("style", resource("report.css"))
                .with("charts", resource(CHARTS.formatted(version())).replace("</script", "<\\/script"))
                .with("script", resource("report.js"))
                .with("data", json).bytes();
    }

    private record Page(String text) {
        Page with(String name, String value) {
            String mark = "{{" + name + "}}";
            int at = text.indexOf(mark);
            return new Page(text.substring(0, at) + value + text.substring(at + mark.length()));
        }

        byte[] bytes() {
            return text.getBytes(StandardCharsets.UTF_8);
        }
    }

    private static String version() {
        Properties properties = new Properties();
        try (InputStream in = open("/META-INF/maven/org.webjars/echarts/pom.properties")) {
            properties.load(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return properties.getProperty("version");
    }

    private static String resource(String name) {
        try (InputStream in = open(name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(name, e);
        }
    }

    private static InputStream open(String name) {
        InputStream in = ReportPage.class.getResourceAsStream(name);
        if (in == null) {
            throw new IllegalStateException(name + " is not in the program's jar");
        }
        return in;
    }
}
