package ram;

/// Numbers of things in sentences.
public final class Count {
    private Count() {
    }

    /// The number and the noun behind it, with an s unless there is one.
    public static String of(long n, String noun) {
        return n + " " + noun + (n == 1 ? "" : "s");
    }
}
