package ram.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.InputException;
import ram.Jvm;
import ram.SyntheticModel;
import ram.convert.Converter;
import ram.format.Format;
import ram.format.Quantizer;
import ram.journal.Journal;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.OutputTypes;
import ram.plan.Manifest;
import ram.plan.OutputSize;
import ram.plan.PlanRequest;
import ram.plan.Planner;
import ram.profile.AnalysisOptions;
import ram.profile.Profile;
import ram.profile.ProfileJson;
import ram.profile.Profiles;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.safetensors.ShardPlan;
import ram.tensor.TensorView;
import ram.verify.Verifier;

/// What happens when one of the many reads and writes of a run fails: in a layer below the tensors, where any n-th block can fail, and in the system calls of
/// a whole process, which `strace` makes fail where it is installed. `-Dram.faults` says how many of each.
class InjectedFaultsTest {
    private static final int FAULTS = Integer.getInteger("ram.faults", 6);

    @TempDir
    static Path folder;

    private static Path model;
    private static Model real;
    private static Profile profile;
    private static Manifest plan;

    @BeforeAll
    static void plan() throws IOException {
        model = folder.resolve("model");
        SyntheticModel.writeSmall(10, model);
        real = Model.open(model);
        profile = Profiles.analyze(real, AnalysisOptions.defaults(2), "test", _ -> { });
        plan = Planner.plan(profile, PlanRequest.ofBudget(4_000_000));
    }

    /// A tensor one of whose reads fails.
    private record Failing(TensorView view, AtomicLong readsLeft, Throwable failure) implements TensorView {
        @Override
        public DType dtype() {
            return view.dtype();
        }

        @Override
        public Shape shape() {
            return view.shape();
        }

        @Override
        public void read(long first, MemorySegment target) {
            if (readsLeft.getAndDecrement() == 0) {
                throw failure instanceof Error e ? raise(e) : (RuntimeException) failure;
            }
            view.read(first, target);
        }

        private static RuntimeException raise(Error e) {
            throw e;
        }

        @Override
        public List<String> sources() {
            return view.sources();
        }
    }

    private static Model failing(AtomicLong readsLeft, Throwable failure) {
        Layout l = real.layout();
        return new Model(real.checkpoint(), real.config(), new Layout(l.architecture(), l.modules().stream().map(m -> m.withWeight(new Failing(m.weight(), readsLeft, failure))).toList(),
                l.plain().stream().map(p -> new Layout.Plain(p.name(), new Failing(p.view(), readsLeft, failure), p.why(), p.keepDType())).toList(), l.prequantized(), l.dropped(), l.config()));
    }

    private interface Work<T> {
        T on(Model model, Path journal) throws IOException;
    }

    private interface Same<T> {
        void check(T expected, T actual);
    }

    /// Counts the reads of a step, lets some of them fail, and requires that the failure comes out as it is and that the step then goes on to the same result.
    private static <T> void failAnywhere(String name, Work<T> work, Same<T> same) throws IOException {
        AtomicLong reads = new AtomicLong(Long.MAX_VALUE);
        T expected = work.on(failing(reads, null), folder.resolve(name + ".whole"));
        long all = Long.MAX_VALUE - reads.get();
        assertTrue(all > 8, name + " reads " + all + " times");
        SplittableRandom random = new SplittableRandom(7);
        for (int i = 0; i < FAULTS; i++) {
            Throwable failure = switch (i % 3) {
                case 0 -> new UncheckedIOException("model.safetensors", new IOException("Input/output error"));
                case 1 -> new InputException("model.safetensors: tensor 'x' cannot be read");
                default -> new OutOfMemoryError("injected");
            };
            Path journal = folder.resolve(name + i);
            Model failing = failing(new AtomicLong(i == 0 ? 0 : i == 1 ? all - 1 : random.nextLong(all)), failure);
            assertEquals(failure.getMessage(), assertThrows(failure.getClass(), () -> work.on(failing, journal)).getMessage());
            same.check(expected, work.on(real, journal));
        }
    }

    @Test
    void readsOfAnAnalysis() throws IOException {
        failAnywhere("analysis", (m, file) -> {
            try (Journal journal = Journal.open(file, "the same")) {
                return ProfileJson.write(Profiles.analyze(m, AnalysisOptions.defaults(2), "test", Optional.of(journal), _ -> { }));
            }
        }, (expected, actual) -> assertArrayEquals(expected, actual));
    }

    @Test
    void readsOfAConversion() throws IOException {
        OutputTypes types = OutputTypes.of(real.layout(), real.config(), Optional.empty());
        Map<String, Format> formats = plan.formats();
        ShardPlan shards = OutputSize.of(profile, formats);
        failAnywhere("conversion", (m, file) -> {
            Path out = Files.createDirectories(file.resolveSibling(file.getFileName() + ".out"));
            try (Journal journal = Journal.open(file, "the same")) {
                new Converter(Quantizer.MSE, 2).write(m.layout(), types, List.of(new Converter.Variant(formats, shards, out)), Optional.of(journal), _ -> { });
            }
            return Files.readAllBytes(out.resolve("model.safetensors"));
        }, (expected, actual) -> assertArrayEquals(expected, actual));
    }

    @Test
    void readsOfAVerification() throws IOException {
        Path out = folder.resolve("verified");
        Manifest written = Converter.convert(real, profile, plan, out, 2, _ -> { });
        failAnywhere("verification", (m, _) -> {
            List<String> problems = Verifier.verify(out, Optional.of(m), written.writtenErrors(), 2, _ -> { }).problems();
            if (!problems.isEmpty()) {
                throw new InputException(problems.getFirst());
            }
            return problems;
        }, (expected, actual) -> assertEquals(expected, actual));
    }

    private record Ended(int exitCode, List<String> lines) {
        String all() {
            return exitCode + ": " + String.join("\n", lines);
        }
    }

    /// @param injection what strace makes fail, empty for nothing
    private static Ended quantize(Path out, List<String> injection) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(injection);
        command.addAll(Jvm.command(Jvm.quick("-Xmx512m"), Main.class, "quantize", model, "--bpw", 4.5, "--quantizer", "rtn", "--quiet", "-o", out));
        Path log = folder.resolve("log");
        Process p = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
        assertTrue(p.waitFor(120, TimeUnit.SECONDS), "hangs with " + injection);
        List<String> lines = Files.readAllLines(log, StandardCharsets.UTF_8).stream().filter(l -> !l.startsWith("WARNING: Using incubator") && !l.isBlank()).toList();
        return new Ended(p.exitValue(), lines);
    }

    /// System calls on the files of a run, and how they can fail.
    private static final List<String> CALLS = List.of("pwrite64:error=EIO", "pwrite64:error=ENOSPC", "write:error=EIO", "fsync:error=EIO", "openat:error=EACCES", "openat:error=EMFILE", "rename:error=EIO",
            "mkdir:error=ENOSPC", "ftruncate:error=EIO", "read:error=EIO", "pread64:error=EIO", "mmap:error=ENOMEM", "unlink:error=EIO", "statx:error=EIO");

    @Test
    void systemCalls() throws IOException, InterruptedException {
        Path strace = Path.of("/usr/bin/strace");
        assumeTrue(Files.isExecutable(strace), "no strace");
        Path expected = folder.resolve("expected");
        assertEquals(0, quantize(expected, List.of(strace.toString(), "-f", "-qq", "-o", "/dev/null", "-e", "trace=mkdir")).exitCode(), "processes may not be traced here");
        SplittableRandom random = new SplittableRandom(11);
        int failed = 0;
        for (int i = 0; i < FAULTS; i++) {
            String call = CALLS.get(i % CALLS.size());
            int number = 1 + (int) Math.pow(random.nextInt(2, 5), random.nextInt(4)) - 1 + (i < CALLS.size() ? 0 : random.nextInt(3));
            Path out = folder.resolve("out" + i);
            Path partial = folder.resolve(".out" + i + ".partial");
            List<String> injection = new ArrayList<>(List.of(strace.toString(), "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call.substring(0, call.indexOf(':')), "-e", "inject=" + call + ":when=" + number));
            for (Path touched : List.of(model, model.resolve("model.safetensors"), model.resolve("config.json"), out, partial, partial.resolve("out"), partial.resolve("analyze.journal"), partial.resolve("write.journal"),
                    partial.resolve("out/model.safetensors"), partial.resolve("out/manifest.json"), partial.resolve("out/config.json"), partial.resolve("out/README.md"), partial.resolve("out/model.safetensors.index.json"),
                    folder.resolve(".out" + i + ".lock"))) {
                injection.addAll(List.of("-P", touched.toString()));
            }
            Ended ended = quantize(out, injection);
            String what = call + " number " + number + " ended with " + ended.all();
            if (ended.exitCode() != 0) {
                failed++;
                assertTrue(ended.exitCode() == 1 || ended.exitCode() == 5, what);
                assertFalse(Files.exists(out), what);
                assertTrue(ended.lines().getLast().startsWith("ram: ") && ended.lines().stream().noneMatch(l -> l.startsWith("\tat ") || l.contains("Exception")), what);
                Ended again = quantize(out, List.of());
                assertEquals(0, again.exitCode(), what + "\nand then with " + again.all());
            }
            try (Stream<Path> files = Files.list(expected)) {
                for (Path file : files.toList()) {
                    assertEquals(-1, Files.mismatch(file, out.resolve(file.getFileName())), what + "\n" + file);
                }
            }
            Folders.delete(out);
        }
        System.out.println("system calls: " + FAULTS + " faults, of which " + failed + " ended a run in a sentence and " + (FAULTS - failed) + " did no harm");
    }
}
