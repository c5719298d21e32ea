package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;

/// Templates for tools and the like lie in a folder of their own, from which tokenizers load them.
class ChatTemplatesTest {
    @TempDir
    Path folder;

    @Test
    void theyAreCopiedProvedAndReplaced() throws IOException {
        Path source = Folders.copy(Cli.TINY, folder.resolve("source"));
        Path templates = Files.createDirectory(source.resolve("additional_chat_templates"));
        Files.writeString(templates.resolve("tool_use.jinja"), "{{ tools }}");
        Files.writeString(templates.resolve("notes.txt"), "not for a tokenizer");
        Path out = folder.resolve("out");
        Object[] quantize = {"quantize", source, "--budget", "1MB", "-o", out, "--force", "--quiet"};
        for (int i = 0; i < 2; i++) {
            assertEquals(0, Cli.run(quantize).exitCode());
        }
        Path template = out.resolve("additional_chat_templates/tool_use.jinja");
        assertEquals("{{ tools }}", Files.readString(template));
        assertFalse(Files.exists(out.resolve("additional_chat_templates/notes.txt")));
        assertTrue(Files.readString(out.resolve("manifest.json")).contains("\"additional_chat_templates/tool_use.jinja\""));
        assertEquals(0, Cli.run("verify", out).exitCode());

        Files.writeString(template, "{{ other }}");
        refused(out, "additional_chat_templates/tool_use.jinja is not the file that the manifest lists: its SHA-256 differs");
        Files.delete(template);
        refused(out, "additional_chat_templates/tool_use.jinja is missing, but the manifest lists it");
        Files.writeString(template, "{{ tools }}");
        Path added = Files.writeString(out.resolve("additional_chat_templates/rag.jinja"), "");
        refused(out, "the file additional_chat_templates/rag.jinja was added later, and programs that load the folder read it; remove it");
        assertEquals("ram: " + out + " holds additional_chat_templates/rag.jinja, which is not part of an output of ram, so --force does not replace it; "
                + "choose another output folder, or remove it by hand", Cli.run(quantize).sentence());
        Files.delete(added);
        assertEquals(0, Cli.run("verify", out).exitCode());
    }

    @Test
    void aManifestDoesNotLeadOutOfTheFolder() throws IOException {
        Path out = folder.resolve("out");
        assertEquals(0, Cli.run("quantize", Cli.TINY, "--budget", "1MB", "-o", out, "--quiet").exitCode());
        Path manifest = out.resolve("manifest.json");
        String sound = Files.readString(manifest);
        for (String name : new String[] {"additional_chat_templates/", "additional_chat_templates/../config.json", "../out/config.json", "other/tokenizer.json"}) {
            Files.writeString(manifest, sound.replace("\"name\" : \"tokenizer.json\"", "\"name\" : \"" + name + "\""));
            refused(out, "the manifest lists '" + name + "', which is not the name of a file in this folder");
        }
    }

    private static void refused(Path out, String sentence) {
        Cli.Result r = Cli.run("verify", out);
        assertEquals(5, r.exitCode());
        assertTrue((r.out() + r.err()).contains(sentence), r.out() + r.err());
    }
}
