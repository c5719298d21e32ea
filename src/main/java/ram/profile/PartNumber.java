package ram.profile;

import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ram.layout.Layout;
import ram.layout.Module;

/// One of several equal parts of an analysis, such as `3/16`. The matrices of a model, in its order, are cut into runs of nearly equal bytes; the cut
/// depends on the layout alone, so machines that know nothing of each other agree about it.
///
/// @param index from 1
/// @param count number of parts, at most [#MOST]
public record PartNumber(int index, int count) {
    /// Parts that an analysis may be cut into.
    public static final int MOST = 100_000;
    /// An analysis in one piece.
    public static final PartNumber WHOLE = new PartNumber(1, 1);
    private static final Pattern TEXT = Pattern.compile("(\\d{1,6})/(\\d{1,6})");

    public PartNumber {
        if (count < 1 || count > MOST || index < 1 || index > count) {
            throw new IllegalArgumentException("there is no part " + index + " of " + count + "; parts are counted from 1, and there are at most " + MOST);
        }
    }

    /// @throws IllegalArgumentException when the text is not I/N with 1 ≤ I ≤ N
    public static PartNumber parse(String text) {
        Matcher m = TEXT.matcher(text);
        if (!m.matches()) {
            throw new IllegalArgumentException("'" + text + "' is not a part such as 3/16");
        }
        return new PartNumber(Integer.parseInt(m.group(1)), Integer.parseInt(m.group(2)));
    }

    /// The matrices of this part, by module. Each belongs to the part in which its middle byte lies.
    Map<Module, List<Module.Part>> of(Layout layout) {
        Map<Module, List<Module.Part>> out = new IdentityHashMap<>();
        long total = Profiles.work(layout);
        long before = 0;
        for (Module module : layout.modules()) {
            List<Module.Part> mine = new ArrayList<>();
            for (Module.Part part : module.parts()) {
                long bytes = bytes(module, part);
                double middle = (before + bytes / 2.0) / total;
                if ((int) Math.min(count - 1, Math.floor(middle * count)) == index - 1) {
                    mine.add(part);
                }
                before += bytes;
            }
            if (!mine.isEmpty()) {
                out.put(module, mine);
            }
        }
        return out;
    }

    /// Bytes of source that this part measures.
    public long work(Layout layout) {
        return of(layout).entrySet().stream().mapToLong(e -> e.getValue().stream().mapToLong(p -> bytes(e.getKey(), p)).sum()).sum();
    }

    /// Whether this part takes care of the thing with this number, of things that weigh nothing.
    boolean takes(int number) {
        return number % count == index - 1;
    }

    private static long bytes(Module module, Module.Part part) {
        return Math.multiplyExact(Math.multiplyExact(part.rows(), module.weight().shape().columns()), module.weight().dtype().bytes());
    }

    @Override
    public String toString() {
        return index + "/" + count;
    }
}
