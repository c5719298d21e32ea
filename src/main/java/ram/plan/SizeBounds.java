package ram.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import ram.format.Format;
import ram.layout.Layout;
import ram.layout.Module;
import ram.layout.OutputTypes;
import ram.safetensors.DType;
import ram.safetensors.ShardPlan;
import ram.safetensors.ShardPlan.Entry;

/// What sizes are possible, from headers alone: the noise floor is not known yet, so the smallest size may turn out to be unsafe.
///
/// @param smallest total file size with every module in its smallest format
/// @param largest total file size with everything dense
/// @param smallestData the part of it that is tensor data, without headers
/// @param largestData likewise
/// @param parameters number of weights
public record SizeBounds(long smallest, long largest, long smallestData, long largestData, long parameters) {
    /// @param types the types in which tensors will be written
    /// @throws ram.UsageException when a rule of the request matches no module or asks for what is not possible
    public static SizeBounds of(Layout layout, OutputTypes types, PlanRequest request) {
        List<Entry> small = new ArrayList<>();
        List<Entry> large = new ArrayList<>();
        long parameters = 0;
        Rules rules = new Rules(request.rules());
        for (Module m : layout.modules()) {
            DType dtype = types.of(m);
            Optional<Format> forced = rules.formatOf(m.path(), m.kind(), m.weight().shape(), m.mustStayDense());
            List<Format> possible = m.possible(Candidates.offered(request));
            Format smallest = forced.orElse(Format.DENSE);
            if (forced.isEmpty()) {
                for (Format f : possible) {
                    boolean allowed = !Candidates.isRouting(m.kind()) || Candidates.isFineEnoughForRouting(f);
                    if (allowed && f.bytes(m.weight().shape(), dtype) < smallest.bytes(m.weight().shape(), dtype)) {
                        smallest = f;
                    }
                }
            }
            small.addAll(OutputSize.entries(m.path(), m.weight().shape(), dtype, smallest));
            large.addAll(OutputSize.entries(m.path(), m.weight().shape(), dtype, forced.orElse(Format.DENSE)));
            parameters = Math.addExact(parameters, m.weight().shape().elements());
        }
        rules.checkAllMatched();
        List<Entry> fixed = new ArrayList<>();
        for (Layout.Prequantized p : layout.prequantized()) {
            p.tensors().forEach((name, t) -> fixed.add(new Entry(name, t.dtype(), t.shape())));
            parameters = Math.addExact(parameters, p.shape().elements());
        }
        for (Layout.Plain p : layout.plain()) {
            fixed.add(new Entry(p.name(), types.of(p), p.view().shape()));
            parameters = Math.addExact(parameters, p.view().shape().elements());
        }
        small.addAll(fixed);
        large.addAll(fixed);
        ShardPlan least = ShardPlan.of(small);
        ShardPlan most = ShardPlan.of(large);
        return new SizeBounds(least.totalBytes(), most.totalBytes(), least.dataBytes(), most.dataBytes(), parameters);
    }

    /// @throws BudgetException when the budget is below the smallest size
    private void require(long budget) {
        if (budget < smallest) {
            throw new BudgetException("the budget of " + ByteSize.exact(budget) + " is below the smallest possible size of "
                    + ByteSize.exact(smallest) + ", and even that may need --allow-unsafe", smallest, smallest);
        }
    }

    /// @throws BudgetException when the limit is a size or a number of bits per weight below the smallest
    public void require(Limit limit) {
        limit.budget().ifPresent(this::require);
        if (limit instanceof Limit.BitsPerWeight(double bits) && parameters > 0 && bits < 8.0 * smallestData / parameters) {
            throw new BudgetException(String.format(Locale.ROOT, "%s bits per weight are below the smallest possible %.3f, and even that may need --allow-unsafe", bits, 8.0 * smallestData / parameters),
                    smallest, smallest);
        }
    }
}
