package ram.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.text.ParseException;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.TypeConversionException;
import picocli.CommandLine.UnmatchedArgumentException;
import ram.InputException;
import ram.Stage;
import ram.UsageException;
import ram.format.Format;
import ram.journal.Journal;
import ram.plan.BudgetException;
import ram.profile.PartNumber;
import ram.safetensors.MappedPages;

/// The entry point. Exit codes: 0 done, 1 failed, 2 usage, 3 a gate did not hold, 4 the budget cannot be met, 5 the input is not usable, 130 interrupted.
public final class Main {
    private static final long SECONDS_TO_STOP = 20;
    private static final int LONGEST = 2000;
    private static final Pattern OPTION_FOR_A_VALUE = Pattern.compile("Expected parameter for option '(.*?)' but found '(.*)'", Pattern.DOTALL);
    private static final String INTERRUPTED = "interrupted; nothing was published";
    private static final String TO_RESUME = "; run the same command again to resume, or with --fresh to start over";

    private Main() {
    }

    public static void main(String[] args) {
        // Libraries would write digits of Arabic or Persian into scripts, and sort options as Turkish does.
        Locale.setDefault(Locale.ROOT);
        ObservedOutput stdout = new ObservedOutput(new FileOutputStream(FileDescriptor.out));
        PrintWriter out = new PrintWriter(stdout, false, StandardCharsets.UTF_8);
        PrintWriter err = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
        CountDownLatch done = new CountDownLatch(1);
        stopCleanly(Thread.currentThread(), done);
        int code = ExitCode.FAILED;
        try {
            code = run(out, err, args);
            if (code == ExitCode.DONE && stdout.failure().isPresent()) {
                err.println("ram: stdout: cannot be written: " + stdout.failure().get().getMessage());
                code = ExitCode.FAILED;
            }
        } finally {
            // Whatever comes out of it: the virtual machine, which goes down then too, would wait for the work.
            done.countDown();
        }
        System.exit(code);
    }

    /// On SIGINT and SIGTERM the work is interrupted and given time to record what is finished.
    private static void stopCleanly(Thread work, CountDownLatch done) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (done.getCount() > 0) {
                work.interrupt();
                try {
                    done.await(SECONDS_TO_STOP, TimeUnit.SECONDS);
                } catch (InterruptedException _) {
                    // The virtual machine is going down all the same.
                }
            }
        }, "ram-stop"));
    }

    /// Runs one command and returns its exit code.
    public static int run(PrintWriter out, PrintWriter err, String... args) {
        return run(out, err, Surroundings.real(), args);
    }

    static int run(PrintWriter stdout, PrintWriter stderr, Surroundings around, String... args) {
        PrintWriter out = new Lines(stdout, false);
        PrintWriter err = new Lines(stderr, true);
        RamCommand root = new RamCommand();
        root.global.around = around;
        CommandLine line = commandLine(root).setOut(out).setErr(err);
        try {
            root.global.defaults = Defaults.of(around, args);
            return line.execute(root.global.defaults.apply(args));
        } catch (UsageException e) {
            return fail(err, root, e, ExitCode.USAGE, e.getMessage());
        } catch (OutOfMemoryError e) {
            return fail(err, root, e, ExitCode.FAILED, "ran out of memory; raise --memory or lower --threads (or give the Java virtual machine more with RAM_OPTS=-Xmx4g)");
        } catch (InternalError e) {
            return fail(err, root, e, ExitCode.INPUT, "a file was truncated while it was in use, or the disk failed (" + e.getMessage() + "); run again when nothing writes to the model folder");
        } catch (LinkageError e) {
            return fail(err, root, e, ExitCode.FAILED, "a part of the program is missing or damaged (" + e + "); build or unpack it again, and leave the class path as it is");
        } catch (RuntimeException | Error e) {
            return fail(err, root, e, ExitCode.FAILED, internal(e));
        } finally {
            out.flush();
            err.flush();
        }
    }

    static CommandLine commandLine(RamCommand root) {
        CommandLine line = new CommandLine(root);
        CommandTexts.install(line);
        line.registerConverter(Size.class, adapt(Size::parse));
        line.registerConverter(Format.class, adapt(Format::parse));
        line.registerConverter(PartNumber.class, adapt(PartNumber::parse));
        line.setCaseInsensitiveEnumValuesAllowed(true);
        line.setUsageHelpAutoWidth(true);
        line.setAbbreviatedOptionsAllowed(false);
        line.setParameterExceptionHandler((e, args) -> usageError(e, root.global.defaults, args));
        line.setExecutionStrategy(parsed -> {
            parsed.commandSpec().commandLine().setColorScheme(CommandLine.Help.defaultColorScheme(root.global.around.colors(root.global.color)));
            root.global.check(parsed.asCommandLineList().getLast());
            Logging.configure(root.global);
            MappedPages.limit(root.global.mapped());
            if (root.global.verbosity() > 0) {
                root.global.defaults.note().ifPresent(parsed.commandSpec().commandLine().getErr()::println);
            }
            return root.global.profileRun == null ? new CommandLine.RunLast().execute(parsed) : recorded(parsed, root.global);
        });
        line.setExecutionExceptionHandler((e, command, parsed) -> executionError(e, command, root));
        return line;
    }

    private static int recorded(CommandLine.ParseResult parsed, GlobalOptions global) {
        CommandLine command = parsed.commandSpec().commandLine();
        if (!Stage.RECORDABLE) {
            UsageException e = new UsageException("--profile-run needs the Java module " + Stage.MODULE + ", which this Java runtime is made without; give a whole JDK with RAM_JAVA, or leave the option out");
            throw new CommandLine.ExecutionException(command, e.getMessage(), e);
        }
        try (RunProfile _ = RunProfile.start(global.profileRun, global.quiet ? null : command.getErr())) {
            return new CommandLine.RunLast().execute(parsed);
        } catch (UsageException | IOException | ParseException e) {
            throw new CommandLine.ExecutionException(command, e.getMessage(), e);
        }
    }

    /// The reason why a value is refused becomes the text that the user reads.
    private static <T> CommandLine.ITypeConverter<T> adapt(CommandLine.ITypeConverter<T> parse) {
        return text -> {
            try {
                return parse.convert(text);
            } catch (IllegalArgumentException e) {
                throw new TypeConversionException(e.getMessage());
            }
        };
    }

    private static int usageError(ParameterException e, Defaults defaults, String[] args) {
        CommandLine command = e.getCommandLine();
        PrintWriter err = command.getErr();
        err.println(sentence(e, command.getCommandSpec(), defaults, args));
        err.println("Try '" + command.getCommandSpec().qualifiedName() + " --help'.");
        return ExitCode.USAGE;
    }

    private static String sentence(ParameterException e, CommandSpec command, Defaults defaults, String[] args) {
        if (e instanceof UnmatchedArgumentException unmatched) {
            return unexpected(unmatched.getUnmatched().getFirst(), command);
        }
        Matcher option = OPTION_FOR_A_VALUE.matcher(e.getMessage());
        if (option.matches()) {
            return "ram: " + defaults.traced(option.group(1) + " needs a value, but " + instead(option.group(2), command.findOption(option.group(1)), command));
        }
        if (e instanceof MissingParameterException) {
            // What is missing may just be spelt wrongly.
            Optional<String> unknown = Arrays.stream(args).takeWhile(a -> !a.equals("--")).filter(a -> a.startsWith("--") && !command.optionsMap().containsKey(name(a))).findFirst();
            if (unknown.isPresent()) {
                return unexpected(unknown.get(), command);
            }
        }
        if (e.getMessage().equals("Missing required subcommand")) {
            return "ram: give a command: " + String.join(", ", commands());
        }
        if (e.getMessage().startsWith("Unknown subcommand")) {
            return unexpected(e.getValue(), command);
        }
        return "ram: " + defaults.traced(e.getMessage().replaceFirst("^Error: ", ""));
    }

    /// About what stands in the place of a value: picocli takes no word for one that begins like an option, or is a command.
    private static String instead(String word, OptionSpec wanting, CommandSpec command) {
        if (command.optionsMap().containsKey(name(word)) || word.equals("--")) {
            return name(word) + " follows; give one";
        }
        return "'" + word + (word.startsWith("-") ? "' reads as an option" : "' is a command") + (wanting != null && wanting.type() == Path.class ? "; write ./" + word + " if that is the name of a file" : "");
    }

    /// About an argument that the command does not know.
    private static String unexpected(String argument, CommandSpec command) {
        String who = command.qualifiedName() + ": ";
        if (argument.length() > 1 && argument.startsWith("-")) {
            if (command.optionsMap().containsKey(name(argument))) {
                return who + "the option " + name(argument) + " stands after '--', where everything is an argument; put it before";
            }
            return who + "unknown option '" + name(argument) + "'" + Suggestion.of(name(argument), command.optionsMap().keySet());
        }
        return command.subcommands().isEmpty() ? who + "unexpected argument '" + argument + "'"
                : who + "unknown command '" + argument + "'" + Suggestion.of(argument, commands());
    }

    private static String name(String option) {
        return option.startsWith("--") && option.indexOf('=') > 0 ? option.substring(0, option.indexOf('=')) : option;
    }

    private static int executionError(Exception e, CommandLine command, RamCommand root) {
        PrintWriter err = command.getErr();
        return switch (e) {
            case InputException _ -> fail(err, root, e, ExitCode.INPUT, e.getMessage());
            case UsageException _ -> fail(err, root, e, ExitCode.USAGE, root.global.defaults.traced(e.getMessage()));
            case BudgetException _ -> fail(err, root, e, ExitCode.BUDGET, e.getMessage());
            case UncheckedIOException io when io.getCause() instanceof ClosedByInterruptException -> fail(err, root, e, ExitCode.INTERRUPTED, interrupted(command, root));
            case UncheckedIOException io -> fail(err, root, e, ExitCode.FAILED, io.getMessage() + ": " + reason(io.getCause()));
            case IOException io -> fail(err, root, e, ExitCode.FAILED, reason(io));
            case CancellationException _, InterruptedException _ -> fail(err, root, e, ExitCode.INTERRUPTED, interrupted(command, root));
            default -> fail(err, root, e, ExitCode.FAILED, internal(e));
        };
    }

    private static String internal(Throwable e) {
        return "internal error: " + e + "; run again with -vv and report what it prints";
    }

    /// Where no step was recorded, the same command begins anew.
    private static String interrupted(CommandLine command, RamCommand root) {
        boolean recorded = root.global.journals.stream().anyMatch(Journal::holdsSteps);
        return recorded && command.getCommand() instanceof Resumable r && r.resumable() ? INTERRUPTED + TO_RESUME : INTERRUPTED;
    }

    private static String reason(IOException e) {
        return switch (e) {
            case NoSuchFileException f -> f.getFile() + " does not exist";
            case AccessDeniedException f -> f.getFile() + " may not be accessed; check its permissions";
            case FileAlreadyExistsException f -> f.getFile() + " is there already and no folder";
            case FileSystemException f when f.getReason() != null -> f.getReason();
            default -> e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        };
    }

    /// Names in files can be of any length.
    private static String shortened(String sentence) {
        return sentence.length() <= LONGEST ? sentence : sentence.substring(0, LONGEST / 2) + " … " + sentence.substring(sentence.length() - LONGEST / 2);
    }

    private static int fail(PrintWriter err, RamCommand root, Throwable e, int code, String sentence) {
        err.println("ram: " + shortened(sentence));
        if (root.global.verbosity() >= 2) {
            e.printStackTrace(err);
        }
        return code;
    }

    /// The names of the commands that are meant for people.
    static List<String> commands() {
        return List.copyOf(FishCompletion.visible(commandLine(new RamCommand())).keySet());
    }
}
