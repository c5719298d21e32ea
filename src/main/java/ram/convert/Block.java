package ram.convert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ram.convert.FinishedBlocks.Region;
import ram.format.CodedMatrix;
import ram.format.Format;
import ram.layout.Layout;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.safetensors.DType;
import ram.tensor.TensorView;

/// One step of a conversion, small enough that many are in flight.
sealed interface Block {
    /// Bytes of source that it reads.
    long bytes();

    String stage();

    String module();

    /// Some rows of a module that is quantized: decoded once, and coded once in each of the formats.
    record Coded(String module, TensorView view, DType dtype, long firstRow, int rows, List<Target> targets) implements Block {
        @Override
        public long bytes() {
            return rows * view.shape().columns() * view.dtype().bytes();
        }

        @Override
        public String stage() {
            return "quantize";
        }
    }

    /// Some elements of a tensor that is written as it is.
    record Copied(TensorView view, DType dtype, long first, int count, List<Place> places) implements Block {
        @Override
        public long bytes() {
            return (long) count * view.dtype().bytes();
        }

        @Override
        public String stage() {
            return "copy";
        }

        @Override
        public String module() {
            return view.sources().isEmpty() ? "" : view.sources().getFirst();
        }
    }

    /// Where a tensor's data begins.
    ///
    /// @param number of the file, in the order of the plans
    record Place(Path file, int number, FileChannel channel, long offset) {
        Region write(MemorySegment data, long at) {
            try {
                ByteBuffer buffer = data.asByteBuffer();
                long position = offset + at;
                while (buffer.hasRemaining()) {
                    position += channel.write(buffer, position);
                }
                return new Region(number, offset + at, data.byteSize(), FinishedBlocks.crc(data.asByteBuffer()));
            } catch (IOException e) {
                throw new UncheckedIOException(file + ": cannot be written", e);
            }
        }
    }

    /// A format that some variants have a module in, all with the same codes.
    ///
    /// @param ready the codes, where they exist already
    /// @param variants their numbers
    /// @param places per variant, where the components go, by suffix
    record Target(Format format, Optional<CodedMatrix> ready, List<Integer> variants, List<Map<String, Place>> places) {
    }

    /// Cuts everything that is to be written into blocks, in the order of the output.
    static List<Block> all(Layout layout, List<Converter.Variant> variants, OutputTypes types, List<Map<String, Place>> places) {
        List<Block> blocks = new ArrayList<>();
        for (Module module : layout.modules()) {
            Map<List<Object>, Target> targets = new LinkedHashMap<>();
            List<Map<String, Place>> dense = new ArrayList<>();
            for (int v = 0; v < variants.size(); v++) {
                Format format = variants.get(v).formats().get(module.path());
                if (format.isDense()) {
                    dense.add(places.get(v));
                    continue;
                }
                Optional<CodedMatrix> ready = variants.get(v).ready().apply(module.path());
                Object same = ready.isEmpty() ? "coded here" : v;
                Target target = targets.computeIfAbsent(List.of(format, same), _ -> new Target(format, ready, new ArrayList<>(), new ArrayList<>()));
                target.variants().add(v);
                target.places().add(components(module, format, types, places.get(v)));
            }
            if (!dense.isEmpty()) {
                copy(blocks, module.path() + ".weight", module.weight(), types.of(module), dense);
            }
            if (!targets.isEmpty()) {
                List<Target> all = List.copyOf(targets.values());
                Converter.ranges(module).forEach(r -> blocks.add(new Coded(module.path(), module.weight(), types.of(module), r.first(), r.count(), all)));
            }
        }
        for (Layout.Prequantized p : layout.prequantized()) {
            p.tensors().forEach((name, t) -> copy(blocks, name, t, t.dtype(), places));
        }
        for (Layout.Plain plain : layout.plain()) {
            copy(blocks, plain.name(), plain.view(), types.of(plain), places);
        }
        return blocks;
    }

    private static Map<String, Place> components(Module module, Format format, OutputTypes types, Map<String, Place> places) {
        Map<String, Place> out = new LinkedHashMap<>();
        format.components(module.weight().shape(), types.of(module)).forEach(c -> out.put(c.suffix(), place(places, module.path() + "." + c.suffix())));
        return out;
    }

    private static void copy(List<Block> blocks, String name, TensorView view, DType dtype, List<Map<String, Place>> places) {
        long elements = view.shape().elements();
        List<Place> targets = places.stream().map(p -> place(p, name)).toList();
        for (long first = 0; first < elements; first += Converter.BLOCK) {
            blocks.add(new Copied(view, dtype, first, Math.toIntExact(Math.min(Converter.BLOCK, elements - first)), targets));
        }
    }

    private static Place place(Map<String, Place> places, String name) {
        Place place = places.get(name);
        if (place == null) {
            throw new IllegalStateException("the plan has no place for the tensor '" + name + "'");
        }
        return place;
    }
}
