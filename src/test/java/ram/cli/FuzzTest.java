package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ram.Folders;
import ram.SyntheticModel;

/// Valid files with something wrong in them, through the commands that read them. Whatever is wrong ends in one sentence and an exit code, soon, and leaves
/// nothing outside the output. `-Dram.fuzz.seconds` and `-Dram.fuzz.seed` say how long and which; `scripts/fuzz` runs it by hand.
class FuzzTest {
    private static final int SECONDS = Integer.getInteger("ram.fuzz.seconds", 60);
    private static final long SEED = Long.getLong("ram.fuzz.seed", 1);
    private static final long ONE_CASE = Long.getLong("ram.fuzz.case", -1);
    private static final int PATIENCE_SECONDS = 30;

    private static final ExecutorService THREAD = Executors.newSingleThreadExecutor(work -> {
        Thread thread = new Thread(work, "fuzzed");
        thread.setDaemon(true);
        return thread;
    });

    @TempDir
    static Path base;

    /// A file to change and the commands that read it; `IN` stands for the folder with the file, `BASE` for the unchanged files, `WORK` for where output goes.
    private record Target(String folder, String file, List<String> commands) {
    }

    private static final List<String> MODEL = List.of("inspect IN", "inspect IN --json", "plan IN --dry-run --budget 100kB", "analyze IN -o WORK/p.json", "quantize IN --budget 150kB -o WORK/out",
            "quantize IN --policy uniform --bits 4 --keep-nonfinite -o WORK/out2");
    private static final List<Target> TARGETS = List.of(
            new Target("dense", "model.safetensors", MODEL),
            new Target("dense", "config.json", MODEL),
            new Target("experts", "model.safetensors", MODEL),
            new Target("experts", "config.json", MODEL),
            new Target("sharded", "model.safetensors.index.json", MODEL),
            new Target("sharded", "model-00001-of-00002.safetensors", MODEL),
            new Target("dense", "tokens.i32", List.of("eval IN --tokens IN/tokens.i32 --seq-len 8 --samples 2")),
            new Target("dense", "config.json", List.of("eval IN --tokens IN/tokens.i32 --seq-len 8 --samples 2")),
            new Target("documents", "profile.json", List.of("plan IN/profile.json --budget 150kB", "sweep IN/profile.json --budgets 5", "explain BASE/documents/manifest.json --profile IN/profile.json",
                    "report IN/profile.json -o WORK/r.html", "quantize BASE/dense --profile IN/profile.json --budget 150kB -o WORK/out")),
            new Target("documents", "manifest.json", List.of("explain IN/manifest.json --profile BASE/documents/profile.json", "explain IN/manifest.json lm_head --profile BASE/documents/profile.json",
                    "gate IN/manifest.json --max-kl 1 --min-bits 2", "diff IN/manifest.json BASE/documents/manifest.json", "report IN -o WORK/r.html")),
            new Target("documents", "evaluation.json", List.of("gate IN/evaluation.json --max-kl 1 --max-ppl-increase 5%", "report BASE/documents/manifest.json --eval IN/evaluation.json -o WORK/r.html")),
            new Target("documents", "part-1.json", List.of("merge IN/part-1.json IN/part-2.json -o WORK/p.json")),
            new Target("out", "model.safetensors", List.of("verify IN", "verify IN --source BASE/dense", "inspect IN", "eval IN --tokens BASE/dense/tokens.i32 --seq-len 8 --samples 2")),
            new Target("out", "config.json", List.of("verify IN", "verify IN --source BASE/dense", "inspect IN", "eval IN --tokens BASE/dense/tokens.i32 --seq-len 8 --samples 2")),
            new Target("out", "manifest.json", List.of("verify IN", "gate IN --max-size 1MB")),
            new Target("out", "model.safetensors.index.json", List.of("verify IN", "inspect IN")));

    @BeforeAll
    static void validFiles() throws IOException {
        Path dense = base.resolve("dense");
        SyntheticModel.writeTiny(false, dense);
        SyntheticModel.writeTiny(true, base.resolve("experts"));
        byte[] tokens = new byte[4 * 64];
        for (int i = 0; i < tokens.length; i += 4) {
            tokens[i] = (byte) (i * 7 % 64);
        }
        Files.write(dense.resolve("tokens.i32"), tokens);
        shard(dense, base.resolve("sharded"));
        Path documents = Files.createDirectories(base.resolve("documents"));
        run("analyze " + dense + " -o " + documents.resolve("profile.json"));
        run("plan " + documents.resolve("profile.json") + " --budget 150kB -o " + documents.resolve("manifest.json"));
        run("analyze " + dense + " --part 1/2 -o " + documents.resolve("part-1.json"));
        run("analyze " + dense + " --part 2/2 -o " + documents.resolve("part-2.json"));
        run("quantize " + dense + " --budget 150kB -o " + base.resolve("out"));
        Files.writeString(documents.resolve("evaluation.json"), Cli.run("eval", base.resolve("out"), "--reference", dense, "--tokens", dense.resolve("tokens.i32"), "--seq-len", 8, "--samples", 2, "--json").out());
    }

    private static void run(String words) {
        Cli.Result r = Cli.run((Object[]) words.split(" "));
        assertEquals(0, r.exitCode(), words + ": " + r.err());
    }

    /// Two shards with the same content, of which the index takes some tensors each.
    private static void shard(Path from, Path to) throws IOException {
        Files.createDirectories(to);
        Files.copy(from.resolve("config.json"), to.resolve("config.json"));
        Map<String, List<String>> shards = FuzzInputs.split(from.resolve("model.safetensors"), to);
        StringBuilder map = new StringBuilder();
        shards.forEach((file, names) -> names.forEach(name -> map.append(map.isEmpty() ? "" : ",").append('"').append(name).append("\":\"").append(file).append('"')));
        Files.writeString(to.resolve("model.safetensors.index.json"), "{\"metadata\":{\"total_size\":1},\"weight_map\":{" + map + "}}");
    }

    @AfterAll
    static void stop() {
        THREAD.shutdownNow();
    }

    @Test
    void damagedFiles(@TempDir Path area) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
        Map<Integer, Integer> codes = new TreeMap<>();
        long number = 0;
        long commands = 0;
        while (ONE_CASE < 0 ? System.nanoTime() < end : number <= ONE_CASE) {
            long mine = number++;
            if (ONE_CASE >= 0 && mine != ONE_CASE) {
                continue;
            }
            commands += tryOne(mine, area.resolve("case-" + mine), codes);
        }
        System.out.println("fuzzed " + number + " inputs, " + commands + " commands, seed " + SEED + ", exit codes " + codes);
    }

    private static long tryOne(long number, Path area, Map<Integer, Integer> codes) throws Exception {
        SplittableRandom random = new SplittableRandom(SEED * 1_000_003 + number);
        Target target = TARGETS.get(random.nextInt(TARGETS.size()));
        Path work = Files.createDirectories(area.resolve("work"));
        Files.writeString(area.resolve("canary"), "alive");
        Path in = Folders.copy(base.resolve(target.folder()), area.resolve("in"));
        Path changed = in.resolve(target.file());
        String how = FuzzInputs.change(changed, random);
        Map<Path, String> before = contents(area, work);
        for (String command : target.commands()) {
            String words = command.replace("IN", in.toString()).replace("BASE", base.toString()).replace("WORK", work.toString());
            String what = "case " + number + " of seed " + SEED + " (" + target.folder() + "/" + target.file() + ", " + how + "): ram " + words
                    + "\nagain with: mvn test -Dtest=FuzzTest -Dram.fuzz.seed=" + SEED + " -Dram.fuzz.case=" + number + "\n";
            Cli.Result r = soon(words, what);
            codes.merge(r.exitCode(), 1, Integer::sum);
            check(r, what);
            assertEquals(before, contents(area, work), what + "files outside the output have changed");
        }
        Folders.delete(area);
        return target.commands().size();
    }

    private static Cli.Result soon(String words, String what) throws Exception {
        Future<Cli.Result> run = THREAD.submit(() -> Cli.run((Object[]) (words + " --quiet --memory 1GB").split(" ")));
        try {
            return run.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            StringBuilder stacks = new StringBuilder();
            Thread.getAllStackTraces().forEach((t, stack) -> {
                if (t.getName().startsWith("fuzzed") || t.getName().startsWith("ram-")) {
                    stacks.append(t.getName()).append(Arrays.stream(stack).limit(12).map(f -> "\n    " + f).reduce("", String::concat)).append('\n');
                }
            });
            return fail(what + "takes longer than " + PATIENCE_SECONDS + " s\n" + stacks);
        } catch (ExecutionException e) {
            return fail(what + "threw " + e.getCause(), e.getCause());
        }
    }

    private static void check(Cli.Result r, String what) {
        String said = what + "exit code " + r.exitCode() + "\n" + r.err();
        assertTrue(Set.of(0, 1, 2, 3, 4, 5).contains(r.exitCode()), said);
        assertTrue(!r.err().contains("internal error") && !r.err().contains("ran out of memory") && !r.err().contains("\tat ") && !r.err().contains("Exception"), said);
        if (r.exitCode() != 0 && r.exitCode() != 3 && r.out().isEmpty()) {
            assertTrue(r.err().lines().anyMatch(l -> l.startsWith("ram: ") && l.length() > 20 && l.length() < 4000), said);
            assertEquals(1, r.err().lines().filter(l -> l.startsWith("ram: ")).count(), said);
        }
    }

    /// Everything but what is in the output folder.
    private static Map<Path, String> contents(Path area, Path work) throws IOException {
        Map<Path, String> out = new LinkedHashMap<>();
        List<Path> paths = new ArrayList<>();
        try (Stream<Path> tree = Files.walk(area)) {
            tree.filter(p -> !p.startsWith(work)).sorted().forEach(paths::add);
        }
        for (Path p : paths) {
            out.put(p, Files.isRegularFile(p, LinkOption.NOFOLLOW_LINKS) ? new String(Files.readAllBytes(p), StandardCharsets.ISO_8859_1).hashCode() + " " + Files.size(p) : "");
        }
        return out;
    }
}
