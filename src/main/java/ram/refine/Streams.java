package ram.refine;

/// Activations of the model itself, for the pieces that are followed, and of the coded modules.
record Streams(Activations exact, Activations coded) implements AutoCloseable {
    void force() {
        exact.force();
        coded.force();
    }

    @Override
    public void close() {
        exact.close();
        coded.close();
    }
}
