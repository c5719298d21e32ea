package ram.plan;

/// The request cannot be met in the bytes that it allows. The message is one sentence with the sizes that are possible.
public final class BudgetException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final long smallestSafe;
    private final long smallestUnsafe;

    /// @param smallestSafe fewest bytes with every floor in force
    /// @param smallestUnsafe fewest bytes when formats below the noise floor are allowed
    public BudgetException(String message, long smallestSafe, long smallestUnsafe) {
        super(message);
        this.smallestSafe = smallestSafe;
        this.smallestUnsafe = smallestUnsafe;
    }

    /// Bytes of the smallest plan without [PlanRequest#allowUnsafe].
    public long smallestSafe() {
        return smallestSafe;
    }

    /// Bytes of the smallest plan with it.
    public long smallestUnsafe() {
        return smallestUnsafe;
    }
}
