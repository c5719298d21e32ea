package ram.layout;

/// What a module does in the network; formats and sensitivities are reported by it.
public enum Kind {
    EMBEDDING("embedding"), HEAD("head"),
    Q("q"), K("k"), V("v"), O("o"), QKV("qkv"),
    GATE("gate"), UP("up"), DOWN("down"), GATE_UP("gate_up"),
    ROUTER("router"), SHARED_EXPERT_GATE("shared_expert_gate"),
    LATENT("latent"), LINEAR_ATTENTION("linear_attention"), OTHER("other");

    private final String label;

    Kind(String label) {
        this.label = label;
    }

    /// The name in tables and documents.
    public String label() {
        return label;
    }
}
