package ram.plan;

import java.util.List;
import java.util.OptionalInt;

/// How much of a machine's memory a model's weights may take, for machines whose processors share one memory.
///
/// Metal advises programs to stay within `recommendedMaxWorkingSetSize`: Macs are reported with 10.7 or 11.8 of 16 GiB, 17.8 of 24, 107.5 of 128
/// (github.com/exo-explore/exo/pull/1672, AlexsJones/llmfit/pull/754, sgl-project/sglang/pull/29949, antirez/ds4/pull/893). 2/3 of the memory up to 36 GiB and 3/4 above
/// stay below all of these; `sysctl iogpu.wired_limit_mb` raises it. The rest is the system's. Of that share a tenth, at least 1 GiB, is kept for the context (keys and values of
/// earlier tokens) and intermediate results: long contexts of large models need more. A phone gives one program about half of its memory.
/// These are rules of thumb from what such machines report, not guarantees.
public final class Devices {
    /// What machines are sold with and a sweep shows, in GiB.
    public static final List<Integer> SHOWN_GIB = List.of(8, 16, 24, 32, 48, 64, 96, 128, 192);
    /// The rule in one sentence, for output.
    public static final String RULE = "The weights may take 2/3 of a machine's memory (3/4 above 36 GiB), less a tenth of that share, at least 1 GiB, for the context.";

    private static final List<Integer> SOLD_GIB = List.of(8, 16, 18, 24, 32, 36, 48, 64, 96, 128, 192, 256, 512);
    private static final int LARGEST_OF_TWO_THIRDS_GIB = 36;
    private static final long GIB = 1L << 30;

    private Devices() {
    }

    /// Most bytes of weights on a machine with this memory; 0 when none are left.
    ///
    /// @param gib its memory, 1 to 1,000,000
    static long weightBytes(int gib) {
        long memory = gib * GIB;
        return withoutContext(gib <= LARGEST_OF_TWO_THIRDS_GIB ? memory / 3 * 2 : memory / 4 * 3);
    }

    /// The same on a phone.
    static long phoneWeightBytes(int gib) {
        return withoutContext(gib * GIB / 2);
    }

    /// The smallest memory in GiB, of those that machines are sold with, in which this many bytes of weights fit; empty when none is enough.
    public static OptionalInt smallestFor(long weightBytes) {
        return SOLD_GIB.stream().mapToInt(g -> g).filter(g -> weightBytes <= weightBytes(g)).findFirst();
    }

    private static long withoutContext(long share) {
        return Math.max(0, share - Math.max(GIB, share / 10));
    }
}
