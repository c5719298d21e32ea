package ram.safetensors;

import java.io.IOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ram.InputException;

/// Bounds how much of the mapped files is resident. Pages that were read stay with the process until the system needs them, which looks like, and under a
/// limit counts as, memory in use; beyond the limit they are handed back. The system's file cache keeps them, so reading one again costs little,
/// and a page that is being read comes back at once: when they are released influences no result. It also knows which tensor lies where, for who could not read one.
///
/// Where the system has no `madvise`, or no `/proc` that tells how much is resident, nothing is released and the system decides alone.
public final class MappedPages {
    private static final long CHECK_EVERY = 16 << 20;
    /// A page that is needed comes with its neighbours.
    private static final long LEAST_TOUCHED = 64 << 10;
    private static final int MADV_DONTNEED = 4;
    private static final Path STATUS = Path.of("/proc/self/status");
    private static final Pattern RESIDENT_FILES = Pattern.compile("^RssFile:\\s*(\\d+) kB$", Pattern.MULTILINE);

    private static final Object LOCK = new Object();
    private static final List<Mapping> MAPPINGS = new ArrayList<>();
    private static final AtomicLong SINCE_CHECK = new AtomicLong();
    private static volatile long limit = 512 << 20;
    private static long before = -1;

    private MappedPages() {
    }

    /// A whole file.
    private record Mapping(MemorySegment memory, Shard shard) {
        boolean holds(MemorySegment part) {
            return part.address() >= memory.address() && part.address() - memory.address() < memory.byteSize();
        }

        Optional<Place> placeOf(MemorySegment part) {
            long at = part.address() - memory.address();
            return shard.tensors().values().stream().filter(t -> at >= t.offset() && at - t.offset() < t.bytes()).findFirst().map(t -> new Place(shard, t));
        }
    }

    /// A tensor, and where it is mapped.
    private record Place(Shard shard, TensorInfo tensor) {
        boolean isCut() {
            return shard.currentSize() < tensor.offset() + tensor.bytes();
        }
    }

    /// @param bytes of mapped files that may be resident, roughly
    public static void limit(long bytes) {
        limit = Math.max(CHECK_EVERY, bytes);
    }

    /// To be called about every read of mapped memory.
    public static void touched(long bytes) {
        if (SINCE_CHECK.addAndGet(Math.max(LEAST_TOUCHED, bytes)) >= CHECK_EVERY) {
            SINCE_CHECK.set(0);
            check();
        }
    }

    /// What to throw when mapped memory could not be read: a page that cannot be delivered, because the file was truncated under its mapping or the disk failed. To be asked
    /// while the file is open. Of several parts that were read at once it is the first whose file is too short now, else the first.
    ///
    /// @param parts of mapped tensors; other memory, and null, is passed over
    /// @return it names the file and the tensor
    /// @throws InternalError the failure itself, where no part is mapped
    public static InputException unreadable(InternalError failure, MemorySegment... parts) {
        List<Place> places = Arrays.stream(parts).filter(Objects::nonNull).flatMap(p -> place(p).stream()).toList();
        Place place = places.stream().filter(Place::isCut).findFirst().or(() -> places.stream().findFirst()).orElseThrow(() -> failure);
        return new InputException(place.shard().file() + ": tensor '" + place.tensor().name()
                + "' cannot be read; the file was truncated while it was in use or the disk failed, run again when nothing writes to it or download it again", failure);
    }

    private static Optional<Place> place(MemorySegment part) {
        synchronized (LOCK) {
            return MAPPINGS.stream().filter(m -> m.holds(part)).findFirst().flatMap(m -> m.placeOf(part));
        }
    }

    static void add(MemorySegment mapping, Shard shard) {
        synchronized (LOCK) {
            if (before < 0) {
                // the program's own files
                before = Math.max(0, residentFileBytes());
            }
            MAPPINGS.add(new Mapping(mapping, shard));
        }
    }

    /// Calls `unmap` while nothing is released: what lies at the same addresses afterwards must not be touched.
    static void remove(MemorySegment mapping, Runnable unmap) {
        synchronized (LOCK) {
            MAPPINGS.removeIf(m -> m.memory().address() == mapping.address());
            unmap.run();
        }
    }

    private static void check() {
        synchronized (LOCK) {
            if (isOver(residentFileBytes(), before, limit)) {
                MAPPINGS.forEach(m -> Release.release(m.memory()));
            }
        }
    }

    /// Not where it is unknown: pages handed back at every check would be read again and again.
    static boolean isOver(long resident, long before, long limit) {
        return resident >= 0 && resident - before > limit;
    }

    /// Unknown (−1) where there is no /proc.
    private static long residentFileBytes() {
        try {
            Matcher found = RESIDENT_FILES.matcher(new String(Files.readAllBytes(STATUS), StandardCharsets.ISO_8859_1));
            return found.find() ? Math.multiplyExact(Long.parseLong(found.group(1)), 1024) : -1;
        } catch (IOException | RuntimeException e) {
            return -1;
        }
    }

    /// Apart, because preparing the call takes some time that small models need not spend.
    private static final class Release {
        private static final MethodHandle MADVISE = find();

        private static MethodHandle find() {
            try {
                Linker linker = Linker.nativeLinker();
                return linker.defaultLookup().find("madvise").map(f -> linker.downcallHandle(f,
                        FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT))).orElse(null);
            } catch (UnsupportedOperationException | IllegalCallerException e) {
                return null;
            }
        }

        static void release(MemorySegment mapping) {
            if (MADVISE == null) {
                return;
            }
            try {
                int _ = (int) MADVISE.invokeExact(mapping, mapping.byteSize(), MADV_DONTNEED);
            } catch (Throwable e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
