package ram.convert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// The files beside the weights that a loader needs: tokenizer, generation settings, custom code, licence.
final class SideFiles {
    private static final Pattern CARRIED = Pattern.compile(
            "tokenizer.*|vocab.*|merges\\.txt|special_tokens_map\\.json|added_tokens\\.json|generation_config\\.json|chat_template.*|"
            + ".*\\.(model|tiktoken|py|jinja)|(preprocessor|processor|video_preprocessor)_config\\.json|(LICENSE|LICENCE|NOTICE|USE_POLICY)(\\..*)?");
    private static final long MAX_CARD_BYTES = 1_000_000;

    private SideFiles() {
    }

    /// The names of the files that are copied, sorted. Links are followed, as the hub's cache is made of them; folders are not.
    static List<String> in(Path model) {
        try (Stream<Path> files = Files.list(model)) {
            return files.filter(Files::isRegularFile).map(f -> f.getFileName().toString()).filter(n -> CARRIED.matcher(n).matches()).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(model + ": cannot be listed", e);
        }
    }

    static void copy(Path model, Path out) {
        for (String name : in(model)) {
            try {
                Files.write(out.resolve(name), Files.readAllBytes(model.resolve(name)));
            } catch (IOException e) {
                throw new UncheckedIOException(model.resolve(name) + ": cannot be copied to " + out, e);
            }
        }
    }

    /// A value of the front matter of the source's README.md, as it stands there.
    static Optional<String> frontMatter(Path model, String key) {
        Path card = model.resolve("README.md");
        try {
            if (!Files.isRegularFile(card) || Files.size(card) > MAX_CARD_BYTES) {
                return Optional.empty();
            }
            Matcher block = Pattern.compile("\\A---\\R(.*?)\\R---", Pattern.DOTALL).matcher(Files.readString(card));
            if (!block.find()) {
                return Optional.empty();
            }
            Matcher line = Pattern.compile("^" + Pattern.quote(key) + ":[ \\t]*([^\\s#][^\\r\\n]{0,200})$", Pattern.MULTILINE).matcher(block.group(1));
            return line.find() ? Optional.of(line.group(1).strip()) : Optional.empty();
        } catch (IOException e) {
            // A card that cannot be read, or is not UTF-8, carries nothing over; it is not needed to run the model.
            return Optional.empty();
        }
    }
}
