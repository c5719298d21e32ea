package ram.convert;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import ram.InputException;

/// The files beside the weights that a loader needs: tokenizer, generation settings, custom code, licence.
final class SideFiles {
    /// What a tokenizer can be made from.
    private static final Pattern VOCABULARY = Pattern.compile("tokenizer\\..*|tekken\\.json|(.*_)?vocab.*|.*\\.(model|tiktoken)");
    private static final Pattern CARRIED = Pattern.compile(
            VOCABULARY + "|tokenizer.*|merges\\.txt|special_tokens_map\\.json|added_tokens\\.json|generation_config\\.json|chat_template.*|"
            + ".*\\.(py|jinja)|(preprocessor|processor|video_preprocessor)_config\\.json|(LICENSE|LICENCE|NOTICE|USE_POLICY)(\\..*)?");
    /// Where a tokenizer looks for templates beyond the default one: the only folder below that of a model with files that a loader reads.
    private static final String TEMPLATES = "additional_chat_templates";
    private static final long MAX_CARD_BYTES = 1_000_000;

    private SideFiles() {
    }

    static boolean isCarried(String name) {
        return CARRIED.matcher(name).matches();
    }

    static boolean hasVocabulary(Path model) {
        return names(model).anyMatch(name -> VOCABULARY.matcher(name).matches());
    }

    /// The names of the files that are copied, sorted. Links are followed, as the hub's cache is made of them; folders but that of templates are not.
    ///
    /// @throws InputException when a link leads nowhere, as after a download that was interrupted
    static List<String> in(Path model) {
        List<String> carried = names(model).filter(SideFiles::isCarried).toList();
        carried.stream().map(model::resolve).filter(f -> !Files.exists(f)).findFirst().ifPresent(f -> {
            throw InputException.in(f, "is a link to a file that does not exist; download it again");
        });
        return carried.stream().filter(name -> Files.isRegularFile(model.resolve(name))).toList();
    }

    /// The names of what lies in a model's folder, sorted, with what lies in the folder of templates in place of that; without what the system put there.
    static Stream<String> names(Path model) {
        return list(model).flatMap(name -> name.equals(TEMPLATES) && Files.isDirectory(model.resolve(name))
                ? list(model.resolve(name)).map(template -> TEMPLATES + "/" + template) : Stream.of(name));
    }

    private static Stream<String> list(Path folder) {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).filter(name -> !SystemFiles.contain(name)).sorted().toList().stream();
        } catch (IOException e) {
            throw new UncheckedIOException(folder + ": cannot be listed", e);
        }
    }

    /// Whether a name can be one of [#names]: none that leads elsewhere.
    static boolean isName(String name) {
        String plain = name.startsWith(TEMPLATES + "/") ? name.substring(TEMPLATES.length() + 1) : name;
        return !plain.isEmpty() && Path.of(plain).equals(Path.of(plain).getFileName());
    }

    /// What copies of them take.
    static long bytes(Path model) {
        long sum = 0;
        for (String name : in(model)) {
            try {
                sum = Math.addExact(sum, Files.size(model.resolve(name)));
            } catch (IOException e) {
                throw new UncheckedIOException(model.resolve(name) + ": cannot be examined", e);
            }
        }
        return sum;
    }

    static void copy(Path model, Path out) {
        for (String name : in(model)) {
            // the content alone: a source that nobody may write shall not give an output that nobody may
            Path target = out.resolve(name);
            OutputFolder.create(target.getParent());
            try (OutputStream copy = Files.newOutputStream(target)) {
                Files.copy(model.resolve(name), copy);
            } catch (IOException e) {
                throw new UncheckedIOException(model.resolve(name) + ": cannot be copied to " + out, e);
            }
        }
    }

    /// The hub's name of the license whose text lies beside the source, for those that can be told by their first words.
    static Optional<String> license(Path model) {
        for (String name : List.of("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")) {
            Path file = model.resolve(name);
            try {
                if (Files.isRegularFile(file) && Files.size(file) <= MAX_CARD_BYTES) {
                    String start = Files.readString(file).strip().replaceAll("\\s+", " ");
                    return start.startsWith("Apache License Version 2.0") ? Optional.of("apache-2.0") : start.startsWith("MIT License") ? Optional.of("mit") : Optional.empty();
                }
            } catch (IOException e) {
                return Optional.empty();
            }
        }
        return Optional.empty();
    }

    /// A value of the front matter of the source's README.md, as it stands there: a plain or quoted one on its line, or a list, which is put on one line.
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
            if (line.find()) {
                String value = line.group(1).strip();
                return "|>[{&*!%@`".indexOf(value.charAt(0)) < 0 || value.matches("\\[[^\\[\\]{}]*\\]") ? Optional.of(value) : Optional.empty();
            }
            Matcher list = Pattern.compile("^" + Pattern.quote(key) + ":[ \\t]*\\R((?:[ \\t]*- [ \\t]*[\\w./-]{1,200}[ \\t]*(?:\\R|\\z)){1,20})", Pattern.MULTILINE).matcher(block.group(1));
            return list.find() ? Optional.of(list.group(1).lines().map(l -> l.strip().substring(1).strip()).collect(Collectors.joining(", ", "[", "]"))) : Optional.empty();
        } catch (IOException e) {
            // A card that cannot be read, or is not UTF-8, carries nothing over; it is not needed to run the model.
            return Optional.empty();
        }
    }
}
