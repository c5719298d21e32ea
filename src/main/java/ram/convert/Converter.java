package ram.convert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongConsumer;
import ram.InputException;
import ram.format.BlockCoder;
import ram.format.Format;
import ram.format.Quantizer;
import ram.layout.Layout;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.numeric.Decoder;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.safetensors.ShardPlan;
import ram.tensor.Rows;
import ram.tensor.TensorView;

/// Streams a model into the safetensors files of an MLX folder. Work is cut into row blocks that are written at their final place,
/// so the bytes do not depend on how many threads there are, and only the blocks in flight are in memory.
public final class Converter {
    /// Elements of a row block: large enough to amortise a write, small enough that dozens fit into any working set.
    public static final long BLOCK = 1 << 20;

    /// What was measured while one module was coded.
    ///
    /// @param squaredError Σ (w − ŵ)² of the written weight against the source
    /// @param squaredNorm Σ w²
    public record Measured(double squaredError, double squaredNorm) {
        public double relativeError() {
            return squaredNorm == 0 ? 0 : squaredError / squaredNorm;
        }

        /// Of one block; sums of blocks of the same size and order are the same to the bit.
        ///
        /// @param decoded is overwritten
        public static Measured between(float[] source, float[] decoded) {
            for (int i = 0; i < source.length; i++) {
                decoded[i] = source[i] - decoded[i];
            }
            return new Measured(Kernels.sumOfSquares(decoded, 0, decoded.length), Kernels.sumOfSquares(source, 0, source.length));
        }

        public Measured plus(Measured other) {
            return new Measured(squaredError + other.squaredError, squaredNorm + other.squaredNorm);
        }
    }

    /// What one step measured.
    private record Coding(String module, Measured measured) {
    }

    /// One step of the work, small enough that many are in flight.
    private sealed interface Block {
        /// Bytes of source that it reads.
        long bytes();
    }

    /// Some rows of a module that is quantized.
    ///
    /// @param places where its components go, by suffix
    private record Coded(String module, TensorView view, Format format, DType dtype, long firstRow, int rows, Map<String, Place> places) implements Block {
        @Override
        public long bytes() {
            return rows * view.shape().columns() * view.dtype().bytes();
        }
    }

    /// Some elements of a tensor that is written as it is.
    private record Copied(TensorView view, DType dtype, long first, int count, Place place) implements Block {
        @Override
        public long bytes() {
            return (long) count * view.dtype().bytes();
        }
    }

    /// Where a tensor's data begins.
    private record Place(Path file, FileChannel channel, long offset) {
        void write(MemorySegment data, long at) {
            try {
                ByteBuffer buffer = data.asByteBuffer();
                long position = offset + at;
                while (buffer.hasRemaining()) {
                    position += channel.write(buffer, position);
                }
            } catch (IOException e) {
                throw new UncheckedIOException(file + ": cannot be written", e);
            }
        }
    }

    private final Quantizer quantizer;
    private final int threads;

    public Converter(Quantizer quantizer, int threads) {
        this.quantizer = quantizer;
        this.threads = threads;
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
            sum += p.weight().bytes() + p.scales().bytes() + p.biases().map(TensorView::bytes).orElse(0L);
        }
        return sum;
    }

    /// Writes the files of `plan` into `folder`.
    ///
    /// @param formats the format of each module of the layout, by path
    /// @param plan the files; it must hold every tensor of the layout in these formats and types
    /// @param progress is told the bytes of source that were read, from several threads
    /// @return what was measured per quantized module, by path
    /// @throws InputException when a weight is not finite or the source cannot be read
    public Map<String, Measured> write(Layout layout, Map<String, Format> formats, OutputTypes types, ShardPlan plan, Path folder, LongConsumer progress) {
        Map<String, Place> places = new HashMap<>();
        List<FileChannel> channels = new ArrayList<>();
        try {
            for (ShardPlan.ShardFile shard : plan.shards()) {
                Path file = folder.resolve(shard.fileName());
                FileChannel channel = open(file);
                channels.add(channel);
                new Place(file, channel, 0).write(MemorySegment.ofArray(shard.head()), 0);
                shard.tensors().forEach(t -> places.put(t.entry().name(), new Place(file, channel, t.offset())));
            }
            List<Block> blocks = blocks(layout, formats, types, places);
            Map<String, Measured> measured = new LinkedHashMap<>();
            try (Workers workers = new Workers(threads)) {
                workers.forEach(blocks, block -> {
                    Optional<Coding> coding = switch (block) {
                        case Coded coded -> Optional.of(new Coding(coded.module(), code(coded)));
                        case Copied copied -> copy(copied);
                    };
                    progress.accept(block.bytes());
                    return coding;
                }, coding -> coding.ifPresent(c -> measured.merge(c.module(), c.measured(), Measured::plus)));
            }
            return measured;
        } finally {
            channels.forEach(Converter::closeQuietly);
        }
    }

    private static FileChannel open(Path file) {
        try {
            return FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": cannot be created", e);
        }
    }

    /// Cuts everything that is to be written into blocks, in the order of the output.
    private static List<Block> blocks(Layout layout, Map<String, Format> formats, OutputTypes types, Map<String, Place> places) {
        List<Block> blocks = new ArrayList<>();
        for (Module module : layout.modules()) {
            Format format = formats.get(module.path());
            if (format.isDense()) {
                copy(blocks, module.path() + ".weight", module.weight(), types.of(module), places);
                continue;
            }
            Shape shape = module.weight().shape();
            Map<String, Place> components = new LinkedHashMap<>();
            format.components(shape, types.of(module)).forEach(c -> components.put(c.suffix(), place(places, module.path() + "." + c.suffix())));
            long step = Math.max(1, BLOCK / shape.columns());
            for (Module.Part part : module.parts()) {
                for (long row = 0; row < part.rows(); row += step) {
                    int rows = Math.toIntExact(Math.min(step, part.rows() - row));
                    blocks.add(new Coded(module.path(), module.weight(), format, types.of(module), part.firstRow() + row, rows, components));
                }
            }
        }
        for (Layout.Prequantized p : layout.prequantized()) {
            copy(blocks, p.path() + ".weight", p.weight(), p.weight().dtype(), places);
            copy(blocks, p.path() + ".scales", p.scales(), p.scales().dtype(), places);
            p.biases().ifPresent(b -> copy(blocks, p.path() + ".biases", b, b.dtype(), places));
        }
        for (Layout.Plain plain : layout.plain()) {
            copy(blocks, plain.name(), plain.view(), types.of(plain), places);
        }
        return blocks;
    }

    private static void copy(List<Block> blocks, String name, TensorView view, DType dtype, Map<String, Place> places) {
        long elements = view.shape().elements();
        for (long first = 0; first < elements; first += BLOCK) {
            blocks.add(new Copied(view, dtype, first, Math.toIntExact(Math.min(BLOCK, elements - first)), place(places, name)));
        }
    }

    private static Place place(Map<String, Place> places, String name) {
        Place place = places.get(name);
        if (place == null) {
            throw new IllegalStateException("the plan has no place for the tensor '" + name + "'");
        }
        return place;
    }

    private static Optional<Coding> copy(Copied block) {
        DType from = block.view().dtype();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment source = arena.allocate((long) block.count() * from.bytes(), 8);
            block.view().read(block.first(), source);
            MemorySegment target = source;
            if (block.dtype() != from) {
                float[] values = new float[block.count()];
                Decoder.decode(from, source, 0, values, 0, values.length);
                target = arena.allocate((long) block.count() * block.dtype().bytes(), 8);
                Decoder.encode(block.dtype(), values, 0, values.length, target, 0);
            }
            block.place().write(target, block.first() * block.dtype().bytes());
        }
        return Optional.empty();
    }

    private Measured code(Coded block) {
        int rows = block.rows();
        int columns = Math.toIntExact(block.view().shape().columns());
        float[] values = new float[Math.multiplyExact(rows, columns)];
        Rows.of(block.view(), block.firstRow(), rows).read(0, rows, values);
        BlockCoder coder = new BlockCoder(block.format(), quantizer, block.dtype());
        try (Arena arena = Arena.ofConfined()) {
            Map<String, MemorySegment> parts = new HashMap<>();
            for (Format.Component c : block.format().components(Shape.of(rows, columns), block.dtype())) {
                parts.put(c.suffix(), arena.allocate(c.bytes(), 8));
            }
            coder.encode(values, rows, columns, null, parts.get("weight"), parts.get("scales"), parts.get("biases"));
            parts.forEach((suffix, data) -> block.places().get(suffix).write(data, block.firstRow() * (data.byteSize() / rows)));
            float[] decoded = new float[values.length];
            coder.decode(parts.get("weight"), parts.get("scales"), parts.get("biases"), rows, columns, decoded);
            return Measured.between(values, decoded);
        }
    }

    private static void closeQuietly(FileChannel channel) {
        try {
            channel.close();
        } catch (IOException _) {
            // What was written is forced to disk at publication, where a failure is reported.
        }
    }
}
