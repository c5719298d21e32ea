package ram.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.Model.ArgGroupSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;
import ram.UsageException;

/// Options that a command gets from a [ConfigFile]: they are put before those of the command line, as if one had typed them there, except where the
/// command line has the same option or one that takes its place. So a file can say nothing that the command line could not.
final class Defaults {
    /// Options of which one takes the place of the others, beside the groups that commands declare.
    private static final List<Set<String>> ALTERNATIVES = List.of(Set.of("--budget", "--target", "--bpw", "--max-kl"), Set.of("--eval-text", "--eval-tokens"));
    /// What says where to look for the file, or what to do instead of a command, is not in it.
    private static final Set<String> NOT_IN_A_FILE = Set.of("--config", "--help", "--version");
    private static final Set<String> WITHOUT_A_FILE = Set.of("help", "completion", "man");

    /// An option and its words.
    private record Entry(String key, OptionSpec option, List<String> words) {
        String name() {
            return option.longestName();
        }
    }

    private final Path file;
    private final Map<String, Entry> added;

    private Defaults(Path file, Collection<Entry> added) {
        this.file = file;
        this.added = new LinkedHashMap<>();
        added.forEach(e -> this.added.put(e.name(), e));
    }

    static Defaults none() {
        return new Defaults(null, List.of());
    }

    /// What a file adds to a command line.
    ///
    /// @throws UsageException naming the file and the key, for what cannot be read, or has no place there
    static Defaults of(Surroundings around, String... args) {
        boolean named = Arrays.stream(args).anyMatch(a -> a.equals("--config") || a.startsWith("--config="));
        if (!named && ConfigFile.find(null, around).isEmpty()) {
            return none();
        }
        RamCommand root = new RamCommand();
        CommandLine line = Main.commandLine(root);
        Stream.concat(Stream.of(line), line.getSubcommands().values().stream()).forEach(c -> c.getCommandSpec().parser().collectErrors(true));
        ParseResult whole = line.parseArgs(args);
        if (!whole.hasSubcommand()) {
            return none();
        }
        ParseResult parsed = whole.subcommand();
        boolean usable = Stream.of(whole, parsed).allMatch(r -> r.errors().stream().allMatch(MissingParameterException.class::isInstance) && !r.isUsageHelpRequested() && !r.isVersionHelpRequested());
        Optional<Path> file = ConfigFile.find(root.global.config, around);
        if (!usable || file.isEmpty() || WITHOUT_A_FILE.contains(parsed.commandSpec().name())) {
            return none();
        }
        ConfigFile config = ConfigFile.read(file.get());
        Set<String> given = new TreeSet<>();
        Stream.of(whole, parsed).flatMap(r -> r.matchedOptions().stream()).forEach(o -> given.add(o.longestName()));
        return new Defaults(file.get(), entries(config, line, parsed.commandSpec(), given));
    }

    private static List<Entry> entries(ConfigFile config, CommandLine root, CommandSpec command, Set<String> given) {
        Map<String, CommandLine> commands = FishCompletion.visible(root);
        Set<String> everywhere = new LinkedHashSet<>(commands.keySet());
        commands.values().forEach(c -> everywhere.addAll(keys(c.getCommandSpec())));
        List<Entry> own = new ArrayList<>();
        List<Entry> common = new ArrayList<>();
        config.content().forEach((key, value) -> {
            if (commands.containsKey(key) && (value instanceof Map || value.equals("") || option(command, key).isEmpty())) {
                CommandSpec its = commands.get(key).getCommandSpec();
                options(config, key, value).forEach((name, v) -> {
                    String path = key + "." + name;
                    OptionSpec option = option(its, name).orElseThrow(() -> new UsageException(config.file() + ": " + path + ": the command '" + key + "' has no option '" + name + "'"
                            + Suggestion.of(name, keys(its))));
                    Entry entry = new Entry(path, option, words(config, path, option, v));
                    if (its == command) {
                        own.add(entry);
                    }
                });
            } else if (everywhere.contains(key)) {
                OptionSpec option = commands.values().stream().flatMap(c -> option(c.getCommandSpec(), key).stream()).findFirst().orElseThrow();
                List<String> words = words(config, key, option, value);
                option(command, key).ifPresent(o -> common.add(new Entry(key, o, words)));
            } else {
                throw new UsageException(config.file() + ": " + key + ": there is no such option or command" + Suggestion.of(key, everywhere));
            }
        });
        List<Entry> out = new ArrayList<>(own);
        out.removeIf(e -> given.stream().anyMatch(g -> replaces(command, g, e.name())));
        common.removeIf(e -> Stream.concat(given.stream(), own.stream().map(Entry::name)).anyMatch(g -> replaces(command, g, e.name())));
        out.addAll(0, common);
        return out;
    }

    private static Map<String, Object> options(ConfigFile config, String command, Object value) {
        if (value.equals("")) {
            return Map.of();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw new UsageException(config.file() + ": " + command + ": is a command and takes a map from its options to values");
        }
        return ConfigFile.texts(map);
    }

    private static Optional<OptionSpec> option(CommandSpec command, String key) {
        return Optional.ofNullable(command.optionsMap().get("--" + key)).filter(o -> !NOT_IN_A_FILE.contains(o.longestName()));
    }

    private static Set<String> keys(CommandSpec command) {
        Set<String> keys = new LinkedHashSet<>();
        command.optionsMap().forEach((name, o) -> {
            if (name.startsWith("--") && !NOT_IN_A_FILE.contains(name) && !o.hidden()) {
                keys.add(name.substring(2));
            }
        });
        return keys;
    }

    /// The option as one would type it.
    private static List<String> words(ConfigFile config, String key, OptionSpec option, Object value) {
        String where = config.file() + ": " + key + ": ";
        if (value instanceof Map) {
            throw new UsageException(where + "takes a value, not a map");
        }
        if (option.arity().max() == 0) {
            return switch (value.toString()) {
                case "true" -> List.of(option.longestName());
                case "false" -> List.of();
                default -> throw new UsageException(where + "takes true or false, not '" + value + "'");
            };
        }
        if (value instanceof List<?> && !option.isMultiValue()) {
            throw new UsageException(where + "takes one value, not a list");
        }
        List<String> words = new ArrayList<>();
        for (Object v : value instanceof List<?> list ? list : List.of(value)) {
            if (v == null || v instanceof Map || v instanceof List || v.toString().isEmpty()) {
                throw new UsageException(where + (value instanceof List ? "takes a list of single values" : "has no value; give one or leave it out"));
            }
            words.add(option.longestName() + "=" + v);
        }
        return words;
    }

    private static boolean replaces(CommandSpec command, String given, String other) {
        return given.equals(other) || ALTERNATIVES.stream().anyMatch(a -> a.contains(given) && a.contains(other))
                || command.argGroups().stream().filter(ArgGroupSpec::exclusive).anyMatch(g -> has(g, given) && has(g, other));
    }

    private static boolean has(ArgGroupSpec group, String option) {
        return group.options().stream().anyMatch(o -> o.longestName().equals(option));
    }

    /// The command line with what was added, right after the command's name.
    String[] apply(String... args) {
        if (added.isEmpty()) {
            return args;
        }
        CommandSpec root = Main.commandLine(new RamCommand()).getCommandSpec();
        int at = 0;
        while (at < args.length && !root.subcommands().containsKey(args[at])) {
            OptionSpec option = root.optionsMap().get(args[at]);
            at += option != null && option.arity().max() > 0 ? 2 : 1;
        }
        if (at >= args.length) {
            return args;
        }
        List<String> all = new ArrayList<>(List.of(args));
        all.addAll(at + 1, words());
        return all.toArray(String[]::new);
    }

    private List<String> words() {
        return added.values().stream().flatMap(e -> e.words().stream()).toList();
    }

    /// A line for whoever wants to know; nothing without a file.
    Optional<String> note() {
        return Optional.ofNullable(file).map(f -> "config    " + f + (added.isEmpty() ? "" : ": " + String.join(" ", words())));
    }

    /// A sentence about an option, or one that leads back to the file when the option comes from it.
    String traced(String sentence) {
        for (Entry e : added.values()) {
            if (Pattern.compile("(?<![\\w-])" + Pattern.quote(e.name()) + "(?![\\w-])").matcher(sentence).find()) {
                String bare = sentence.startsWith(e.name() + ": ") ? sentence.substring(e.name().length() + 2) : sentence;
                List<String> candidates = new ArrayList<>();
                if (e.option().completionCandidates() != null) {
                    e.option().completionCandidates().forEach(candidates::add);
                }
                String value = e.words().isEmpty() ? "" : e.words().getFirst().substring(e.words().getFirst().indexOf('=') + 1);
                return file + ": " + e.key() + ": " + bare + (candidates.contains(value) ? "" : Suggestion.of(value, candidates));
            }
        }
        return sentence;
    }
}
