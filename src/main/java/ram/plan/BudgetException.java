package ram.plan;

/// The request cannot be met in the bytes that it allows. The message is one sentence with the sizes that are possible.
public final class BudgetException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final long asked;
    private final long smallestSafe;
    private final long smallestUnsafe;

    /// @param asked the limit in bytes
    /// @param smallestSafe fewest bytes with every floor in force
    /// @param smallestUnsafe fewest bytes when formats below the noise floor are allowed
    public BudgetException(String message, long asked, long smallestSafe, long smallestUnsafe) {
        super(message);
        this.asked = asked;
        this.smallestSafe = smallestSafe;
        this.smallestUnsafe = smallestUnsafe;
    }

    public long asked() {
        return asked;
    }

    public long smallestSafe() {
        return smallestSafe;
    }

    public long smallestUnsafe() {
        return smallestUnsafe;
    }
}
