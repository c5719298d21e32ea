package ram.convert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;
import ram.InputException;
import ram.Stage;
import ram.convert.FinishedBlocks.Finished;
import ram.convert.FinishedBlocks.Region;
import ram.format.CodedMatrix;
import ram.format.Format;
import ram.format.Quantizer;
import ram.journal.Journal;
import ram.layout.Layout;
import ram.layout.Model;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.numeric.Decoder;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.plan.Manifest;
import ram.plan.ManifestJson;
import ram.plan.OutputSize;
import ram.profile.AnalysisOptions;
import ram.profile.Profile;
import ram.profile.Profiles;
import ram.rewrite.Rewriting;
import ram.safetensors.DType;
import ram.safetensors.ShardPlan;
import ram.tensor.RowBlocks;
import ram.tensor.Rows;

/// Streams a model into the safetensors files of an MLX folder. Work is cut into row blocks that are written at their final place,
/// so the bytes do not depend on how many threads there are, and only the blocks in flight are in memory.
public final class Converter {
    /// Elements of a row block: large enough to amortise a write, small enough that dozens fit into any working set.
    public static final long BLOCK = 1 << 20;
    private static final float LARGEST_FLOAT16 = 65504;
    /// The least that is rounded to infinity.
    private static final float OVERFLOWING_FLOAT16 = 65520;

    /// What was measured while one module was coded.
    ///
    /// @param squaredError Σ (w − ŵ)² of the written weight against the source
    /// @param squaredNorm Σ w²
    public record Measured(double squaredError, double squaredNorm) {
        /// Σ (w − ŵ)² over Σ w²; 0 of a module of zeros.
        public double relativeError() {
            return squaredNorm == 0 ? 0 : squaredError / squaredNorm;
        }

        /// Of the first `count` values; sums of blocks of the same size and order are the same to the bit.
        ///
        /// @param decoded is overwritten
        public static Measured between(float[] source, float[] decoded, int count) {
            for (int i = 0; i < count; i++) {
                decoded[i] = source[i] - decoded[i];
            }
            return new Measured(Kernels.sumOfSquares(decoded, 0, count), Kernels.sumOfSquares(source, 0, count));
        }

        /// Of the values of both.
        public Measured plus(Measured other) {
            return new Measured(squaredError + other.squaredError, squaredNorm + other.squaredNorm);
        }
    }

    /// One of several outputs that are made of a model in one pass.
    ///
    /// @param formats the format of each module of the layout, by path
    /// @param plan the files; it must hold every tensor of the layout in these formats and types
    /// @param folder where to write the files
    /// @param ready modules that are coded already, in the same formats, by path
    public record Variant(Map<String, Format> formats, ShardPlan plan, Path folder, Function<String, Optional<CodedMatrix>> ready) {
        public Variant {
            formats = Map.copyOf(formats);
            Objects.requireNonNull(plan);
            Objects.requireNonNull(folder);
            Objects.requireNonNull(ready);
        }

        /// With nothing ready.
        public Variant(Map<String, Format> formats, ShardPlan plan, Path folder) {
            this(formats, plan, folder, _ -> Optional.empty());
        }
    }

    /// Rows of a module that are written together.
    ///
    /// @param part what they are of
    /// @param first the first of them in the module's weight
    public record RowRange(Module.Part part, long first, int count) {
    }

    private final Quantizer quantizer;
    private final int threads;

    /// @param threads 1 or more; the output does not depend on it
    public Converter(Quantizer quantizer, int threads) {
        this.quantizer = quantizer;
        this.threads = threads;
    }

    /// Writes a planned model as an MLX folder: tensors, config.json, tokenizer, index, model card and manifest. Nothing has the name of `out` before all is there.
    ///
    /// @param model as it was opened; it is rewritten here where the profile was measured so
    /// @param profile of the same model
    /// @param plan made from the profile
    /// @param out must not exist
    /// @param progress is told the bytes of source that were read, from several threads
    /// @return the plan with the errors of what was written and the SHA-256 of every file
    /// @throws ram.UsageException when `out` exists, or the plan was made from another profile
    /// @throws InputException when a weight is not finite or the source cannot be read
    public static Manifest convert(Model model, Profile profile, Manifest plan, Path out, int threads, LongConsumer progress) {
        Profiles.requireMatch(profile, model, Path.of("profile"));
        plan.requireMadeFrom(profile);
        StagedFolder.refuseExisting(out, false);
        Model source = profile.options().containsKey(AnalysisOptions.REWRITE) ? Rewriting.of(model, threads, _ -> { }).model() : model;
        OutputTypes types = OutputTypes.of(source.layout(), source.config(), Optional.of(profile.dtype()));
        Quantizer quantizer = profile.quantizer();
        try (StagedFolder folder = StagedFolder.open(out, false, true)) {
            Variant variant = new Variant(plan.formats(), OutputSize.of(profile, plan.formats()), folder.path());
            Map<String, Measured> measured = new Converter(quantizer, threads).write(source.layout(), types, List.of(variant), Optional.empty(), progress).getFirst();
            Manifest written = OutputFolder.writeSideFiles(source, profile, plan.withQuantizer(quantizer, quantizer), variant, measured);
            OutputFolder.write(folder.path().resolve("README.md"), ModelCard.write(model.checkpoint().folder(), written));
            written = written.withFiles(Receipts.of(model, threads), Receipts.of(folder.path(), threads));
            OutputFolder.write(folder.path().resolve("manifest.json"), ManifestJson.write(written));
            folder.publish();
            return written;
        }
    }

    /// Bytes of source that a conversion reports to its progress.
    public static long work(Layout layout) {
        long sum = 0;
        for (Module m : layout.modules()) {
            sum += m.weight().bytes();
        }
        for (Layout.Plain p : layout.plain()) {
            sum += p.view().bytes();
        }
        for (Layout.Prequantized p : layout.prequantized()) {
            sum += p.bytes();
        }
        return sum;
    }

    /// Writes the files of each variant into its folder. The source is read once, and what variants have in common is coded once.
    ///
    /// @param journal records what is finished; what it says is finished, and is still intact, is not done again
    /// @param progress is told the bytes of source that were read, from several threads
    /// @return per variant, what was measured per quantized module, by path
    /// @throws InputException when a weight is not finite or the source cannot be read
    public List<Map<String, Measured>> write(Layout layout, OutputTypes types, List<Variant> variants, Optional<Journal> journal, LongConsumer progress) {
        List<Map<String, Block.Place>> places = new ArrayList<>();
        List<Path> files = new ArrayList<>();
        List<FileChannel> channels = new ArrayList<>();
        try {
            for (Variant variant : variants) {
                places.add(create(variant, files, channels));
            }
            List<Map<String, Measured>> measured = variants.stream().<Map<String, Measured>>map(_ -> new LinkedHashMap<>()).toList();
            List<Block> blocks = Block.all(layout, variants, types, places);
            FinishedBlocks finished = new FinishedBlocks(journal, files, channels);
            int[] next = {0};
            try (Workers workers = new Workers(threads)) {
                workers.forEachAfterFirst(IntStream.range(0, blocks.size()).boxed().toList(), i -> {
                    Block block = blocks.get(i);
                    try (Stage _ = Stage.of(block.stage(), block.module())) {
                        Finished done = finished.earlier(i).orElseGet(() -> switch (block) {
                            case Block.Coded coded -> code(coded);
                            case Block.Copied copied -> copy(copied);
                        });
                        progress.accept(block.bytes());
                        return done;
                    }
                }, done -> {
                    int i = next[0]++;
                    finished.add(i, done);
                    if (blocks.get(i) instanceof Block.Coded coded) {
                        for (int t = 0; t < coded.targets().size(); t++) {
                            Measured m = done.measured().get(t);
                            coded.targets().get(t).variants().forEach(v -> measured.get(v).merge(coded.module(), m, Measured::plus));
                        }
                    }
                });
            }
            return measured;
        } finally {
            channels.forEach(Converter::closeQuietly);
        }
    }

    /// Bytes of output that a journal says are written already.
    public static long written(Journal journal) {
        return FinishedBlocks.bytes(journal.earlier());
    }

    /// Begins the files of one variant, or goes on with them.
    ///
    /// @param files receives their names
    /// @param channels receives what is to be closed
    /// @return where each tensor goes, by name
    private static Map<String, Block.Place> create(Variant variant, List<Path> files, List<FileChannel> channels) {
        Map<String, Block.Place> places = new HashMap<>();
        for (ShardPlan.ShardFile shard : variant.plan().shards()) {
            Path file = variant.folder().resolve(shard.fileName());
            FileChannel channel = open(file);
            int number = files.size();
            files.add(file);
            channels.add(channel);
            new Block.Place(file, number, channel, 0).write(MemorySegment.ofArray(shard.head()), 0);
            shard.tensors().forEach(t -> places.put(t.entry().name(), new Block.Place(file, number, channel, t.offset())));
        }
        return places;
    }

    private static FileChannel open(Path file) {
        try {
            return FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be created", e);
        }
    }

    /// Cuts a module as it is written, in its order: sums over these are the same to the bit, whoever adds them up.
    public static List<RowRange> ranges(Module module) {
        long step = Math.max(1, BLOCK / module.weight().shape().columns());
        List<RowRange> out = new ArrayList<>();
        for (Module.Part part : module.parts()) {
            for (long row = 0; row < part.rows(); row += step) {
                out.add(new RowRange(part, part.firstRow() + row, Math.toIntExact(Math.min(step, part.rows() - row))));
            }
        }
        return out;
    }

    private static Finished copy(Block.Copied block) {
        DType from = block.view().dtype();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment source = arena.allocate((long) block.count() * from.bytes(), 8);
            block.view().read(block.first(), source);
            MemorySegment target = source;
            if (block.dtype() != from) {
                float[] values = new float[block.count()];
                Decoder.decode(from, source, 0, values, 0, values.length);
                if (block.dtype() == DType.F16 && overflows(values)) {
                    throw new InputException("tensor '" + block.module() + "' holds values too large for float16; give --dtype bfloat16");
                }
                target = arena.allocate((long) block.count() * block.dtype().bytes(), 8);
                Decoder.encode(block.dtype(), values, 0, values.length, target, 0);
            }
            MemorySegment data = target;
            return new Finished(block.places().stream().map(p -> p.write(data, block.first() * block.dtype().bytes())).toList(), List.of());
        }
    }

    /// Whether float16 makes infinity of a finite value; what is not finite before is not lost by it.
    private static boolean overflows(float[] values) {
        boolean found = false;
        for (float v : values) {
            float magnitude = Math.abs(v);
            found |= magnitude >= OVERFLOWING_FLOAT16 && magnitude <= Float.MAX_VALUE;
        }
        return found;
    }

    /// Codes a few rows at a time, which stay in the processor's second cache from decoding the source to measuring the result.
    private Finished code(Block.Coded block) {
        int rows = block.rows();
        int columns = Math.toIntExact(block.view().shape().columns());
        RowBlocks blocks = RowBlocks.of(Rows.of(block.view(), block.firstRow(), rows));
        float[] decoded = blocks.room();
        try (Arena arena = Arena.ofConfined()) {
            List<CodedMatrix> coded = block.targets().stream().map(t -> t.ready().map(ready -> ready.slice(block.firstRow(), rows))
                    .orElseGet(() -> CodedMatrix.allocate(t.format(), block.dtype(), rows, columns, arena))).toList();
            List<Measured> measured = new ArrayList<>(Collections.nCopies(coded.size(), new Measured(0, 0)));
            for (RowBlocks.Block read : blocks) {
                int count = read.rows();
                for (int t = 0; t < coded.size(); t++) {
                    CodedMatrix some = coded.get(t).slice(read.firstRow(), count);
                    if (block.targets().get(t).ready().isEmpty()) {
                        some.encode(quantizer, read.values());
                    }
                    some.read(0, count, decoded);
                    if (!isRepresentable(block.dtype(), decoded, count * columns)) {
                        throw new InputException("module '" + block.module() + "' holds weights too large for float16; give --dtype bfloat16");
                    }
                    measured.set(t, measured.get(t).plus(Measured.between(read.values(), decoded, count * columns)));
                }
            }
            if (measured.stream().anyMatch(m -> !Double.isFinite(m.squaredNorm()))) {
                throw new InputException("module '" + block.module() + "' holds weights that are infinite or not a number; the checkpoint is damaged, get another copy");
            }
            List<Region> regions = new ArrayList<>();
            for (int t = 0; t < coded.size(); t++) {
                for (Map<String, Block.Place> places : block.targets().get(t).places()) {
                    coded.get(t).components().forEach((suffix, data) -> regions.add(places.get(suffix).write(data, block.firstRow() * (data.byteSize() / rows))));
                }
            }
            return new Finished(List.copyOf(regions), measured);
        }
    }

    /// Whether MLX decodes to these values in the type of the scales. Only float16 ends within reach of weights.
    public static boolean isRepresentable(DType stored, float[] decoded, int count) {
        return stored != DType.F16 || Kernels.maxMagnitude(decoded, 0, count) <= LARGEST_FLOAT16;
    }

    private static void closeQuietly(FileChannel channel) {
        try {
            channel.close();
        } catch (IOException _) {
            // What was written is forced to disk at publication, where a failure is reported.
        }
    }
}
