package ram;

/// A request that makes no sense for this input, whatever the bytes say: a pattern that matches no module, an unknown policy.
/// The message names the option and the remedy.
public final class UsageException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /// @param message one sentence that names the option and the remedy
    public UsageException(String message) {
        super(message);
    }
}
