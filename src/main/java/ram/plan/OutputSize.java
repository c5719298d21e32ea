package ram.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ram.UsageException;
import ram.format.Format;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.safetensors.DType;
import ram.safetensors.Shape;
import ram.safetensors.ShardPlan;
import ram.safetensors.ShardPlan.Entry;

/// The files that a plan will be written to, to the byte: modules in the order of the model, then those that were quantized before, then plain tensors.
public final class OutputSize {
    private OutputSize() {
    }

    /// @param formats one per module of the profile, in its order
    /// @throws IllegalArgumentException when a format does not fit its module
    public static ShardPlan of(Profile profile, List<Format> formats) {
        if (formats.size() != profile.modules().size()) {
            throw new IllegalArgumentException(formats.size() + " formats for " + profile.modules().size() + " modules");
        }
        List<Entry> entries = new ArrayList<>();
        for (int i = 0; i < formats.size(); i++) {
            ModuleProfile m = profile.modules().get(i);
            entries.addAll(entries(m.path(), m.shape(), m.dtype(), formats.get(i)));
        }
        entries.addAll(fixed(profile));
        return ShardPlan.of(entries);
    }

    /// @param formats by module path
    /// @throws UsageException when a module of the profile is not among them
    public static ShardPlan of(Profile profile, Map<String, Format> formats) {
        return of(profile, profile.modules().stream().map(m -> Optional.ofNullable(formats.get(m.path()))
                .orElseThrow(() -> new UsageException("the plan has no format for " + m.path() + "; plan again from this profile"))).toList());
    }

    /// The tensors whose size no plan changes.
    static List<Entry> fixed(Profile profile) {
        List<Entry> entries = new ArrayList<>();
        profile.prequantized().forEach(p -> entries.addAll(entries(p.path(), p.shape(), p.dtype(), p.format())));
        profile.plain().forEach(p -> entries.add(new Entry(p.name(), p.dtype(), p.shape())));
        return entries;
    }

    /// The stored tensors of one module.
    ///
    /// @throws IllegalArgumentException when the format does not fit the shape
    static List<Entry> entries(String path, Shape shape, DType dtype, Format format) {
        return format.components(shape, dtype).stream().map(c -> new Entry(path + "." + c.suffix(), c.dtype(), c.shape())).toList();
    }

    /// What these tensors add to the files.
    static long cost(List<Entry> entries) {
        long sum = 0;
        for (Entry e : entries) {
            sum = Math.addExact(sum, ShardPlan.costBytes(e));
        }
        return sum;
    }

    static long data(List<Entry> entries) {
        long sum = 0;
        for (Entry e : entries) {
            sum = Math.addExact(sum, e.bytes());
        }
        return sum;
    }

    /// Most bytes of tensors, as [#cost] counts them, that surely fit in files of `budget` bytes together. Never falls when the budget rises.
    static long capacity(long budget) {
        long atLastStep = budget / ShardPlan.SHARD_BYTES * ShardPlan.SHARD_BYTES - 1;
        long here = budget - ShardPlan.mostFileBytes(budget);
        return atLastStep < 0 ? here : Math.max(here, atLastStep - ShardPlan.mostFileBytes(atLastStep));
    }
}
