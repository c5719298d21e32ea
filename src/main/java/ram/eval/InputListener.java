package ram.eval;

/// Is shown what enters each linear module during a forward pass, in the order of computation, in the caller's thread.
@FunctionalInterface
public interface InputListener {
    /// @param path MLX module path
    /// @param expert number of the expert in a stack, 0 otherwise
    /// @param x `tokens · columns` values, token after token; valid during the call only and not to be changed
    void inputs(String path, int expert, float[] x, int tokens, int columns);
}
