package ram.cli;

import java.util.Iterator;
import java.util.List;
import java.util.stream.Stream;
import ram.plan.Policy;

/// The words that completion offers where an option takes one of a few, and is no enum.
final class Completions {
    private Completions() {
    }

    static final class Policies implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return Stream.concat(Policy.labels().stream(), Stream.of("auto")).iterator();
        }
    }

    static final class Targets implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return List.of("knee", "phone", "laptop", "server").iterator();
        }
    }

    static final class Modes implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return List.of("affine", "mxfp4", "nvfp4", "mxfp8").iterator();
        }
    }

    static final class Types implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return List.of("bfloat16", "float16", "float32").iterator();
        }
    }
}
