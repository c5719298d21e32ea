package ram.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;

/// Which build of the program this is; `unknown` where the build could not find out.
record BuildInfo(String version, String commit) {
    static BuildInfo read() {
        Properties properties = new Properties();
        try (InputStream in = BuildInfo.class.getResourceAsStream("build.properties")) {
            if (in != null) {
                properties.load(in);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        String commit = value(properties, "commit");
        return new BuildInfo(value(properties, "version"), value(properties, "dirty").equals("true") ? commit + "-dirty" : commit);
    }

    private static String value(Properties properties, String key) {
        String value = properties.getProperty(key, "unknown");
        return value.isBlank() || value.startsWith("${") ? "unknown" : value;
    }

    @Override
    public String toString() {
        return "ram " + version + " (" + commit + ")";
    }
}
