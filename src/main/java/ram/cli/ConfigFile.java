package ram.cli;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.yaml.snakeyaml.DumperOptions;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import org.yaml.snakeyaml.error.MarkedYAMLException;
import org.yaml.snakeyaml.error.YAMLException;
import org.yaml.snakeyaml.representer.Representer;
import org.yaml.snakeyaml.resolver.Resolver;
import ram.NotJson;
import ram.UsageException;

/// A file with defaults of options: at the top those of all commands, and a map for each command that has its own.
///
/// @param content texts, lists and maps; every number is the text that it was written as
record ConfigFile(Path file, Map<String, Object> content) {
    private static final List<String> NAMES = List.of("ram.yaml", "ram.yml", "ram.json");
    private static final String VARIABLE = "RAM_CONFIG";
    private static final int MOST_BYTES = 1 << 20;

    /// The file to read: that of `--config`, else that of the variable RAM_CONFIG, else the one in the current folder.
    ///
    /// @param option may be null
    static Optional<Path> find(Path option, Surroundings around) {
        if (option != null) {
            if (option.toString().isEmpty()) {
                throw new UsageException("--config: the name is empty; give that of a file of YAML or JSON");
            }
            return Optional.of(around.folder().resolve(option));
        }
        if (!around.variable(VARIABLE).isEmpty()) {
            return Optional.of(around.folder().resolve(around.variable(VARIABLE)));
        }
        // Not passed over, as whoever made it expects it to count: a link that leads nowhere, and a folder, which containers make for a mounted file that is not there.
        return NAMES.stream().map(around.folder()::resolve).filter(file -> Files.isRegularFile(file) || Files.isDirectory(file) || Files.isSymbolicLink(file) && !Files.exists(file)).findFirst();
    }

    /// @throws UsageException when the file cannot be read or is no map
    static ConfigFile read(Path file) {
        Object content;
        try {
            if (Files.isDirectory(file)) {
                throw new UsageException(file + ": is a folder; give a file of YAML or JSON in its place");
            }
            String text = text(file);
            content = file.toString().endsWith(".json") ? json(text) : yaml(text);
        } catch (CharacterCodingException e) {
            throw new UsageException(file + ": is not UTF-8 text");
        } catch (JsonProcessingException e) {
            throw new UsageException(file + ": line " + e.getLocation().getLineNr() + ": " + NotJson.why(e));
        } catch (IOException e) {
            throw new UsageException(file + ": cannot be read; give an existing file with --config" + " or " + VARIABLE);
        } catch (MarkedYAMLException e) {
            throw new UsageException(file + ": line " + (e.getProblemMark().getLine() + 1) + ": " + e.getProblem());
        } catch (YAMLException e) {
            throw new UsageException(file + ": " + e.getMessage().lines().findFirst().orElse(""));
        }
        if (content == null) {
            return new ConfigFile(file, Map.of());
        }
        if (!(content instanceof Map<?, ?> map)) {
            throw new UsageException(file + ": must be a map from options to values, such as 'threads: 2'");
        }
        return new ConfigFile(file, texts(map));
    }

    /// What a pipe or a device holds, only reading tells.
    private static String text(Path file) throws IOException {
        try (InputStream in = Files.newInputStream(file)) {
            byte[] bytes = in.readNBytes(MOST_BYTES + 1);
            if (bytes.length > MOST_BYTES) {
                throw new UsageException(file + ": is larger than a configuration can be; give a file of YAML or JSON");
            }
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        }
    }

    private static Object json(String text) throws JsonProcessingException {
        if (text.isBlank()) {
            return null;
        }
        return JsonMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).enable(JsonParser.Feature.INCLUDE_SOURCE_IN_LOCATION)
                .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS, DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build()
                .readValue(text, new TypeReference<Object>() { });
    }

    private static Object yaml(String text) {
        LoaderOptions options = new LoaderOptions();
        options.setAllowDuplicateKeys(false);
        options.setMaxAliasesForCollections(10);
        options.setNestingDepthLimit(10);
        options.setCodePointLimit(MOST_BYTES);
        DumperOptions unused = new DumperOptions();
        return new Yaml(new SafeConstructor(options), new Representer(unused), unused, options, new AsWritten()).load(text);
    }

    static Map<String, Object> texts(Map<?, ?> map) {
        Map<String, Object> out = new LinkedHashMap<>();
        map.forEach((key, value) -> out.put(String.valueOf(key), switch (value) {
            case null -> "";
            case Map<?, ?> m -> m;
            case List<?> l -> l;
            default -> value.toString();
        }));
        return out;
    }

    /// Leaves plain words as they are: the version 0.30 is no number, and `no` no truth value.
    private static final class AsWritten extends Resolver {
        @Override
        protected void addImplicitResolvers() {
        }
    }
}
