package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.xpath.XPath;
import javax.xml.xpath.XPathConstants;
import javax.xml.xpath.XPathFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.NodeList;

/// What the archive and the image are made of.
class PackagingTest {
    private static final XPath XPATH = XPathFactory.newInstance().newXPath();

    private static Document read(String file) throws Exception {
        return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(new File(file));
    }

    /// The options of jlink without the folder that it writes to.
    private static List<String> inPom() throws Exception {
        NodeList found = (NodeList) XPATH.evaluate("//configuration[executable='jlink']/arguments/argument", read("pom.xml"), XPathConstants.NODESET);
        List<String> options = new ArrayList<>();
        for (int i = 0; i < found.getLength(); i++) {
            options.add(found.item(i).getTextContent());
        }
        return options.subList(0, options.indexOf("--output"));
    }

    private static List<String> inDockerfile() throws IOException {
        Matcher command = Pattern.compile("jlink ((?:[^\\\\\\n]|\\\\\\n)*)").matcher(Files.readString(Path.of("examples/Dockerfile")));
        assertTrue(command.find());
        List<String> options = List.of(command.group(1).replace("\\\n", " ").strip().split("\\s+"));
        return options.subList(0, options.indexOf("--output"));
    }

    @Test
    void theImageHasTheRuntimeOfTheArchive() throws Exception {
        assertEquals(inPom(), inDockerfile());
        assertFalse(inPom().contains("--strip-debug"), "on Linux it asks for objcopy, which a machine need not have");
    }

    @Test
    void theArchiveIsNamedAfterTheSystemThatItIsFor() throws Exception {
        assertEquals("${dist.os}-${os.arch}", XPATH.evaluate("/assembly/id", read("src/main/dist/archive.xml")));
        Document pom = read("pom.xml");
        assertEquals("linux", XPATH.evaluate("/project/properties/dist.os", pom));
        assertEquals("macos", XPATH.evaluate("//profile[activation/os/family='mac']/properties/dist.os", pom));
    }
}
