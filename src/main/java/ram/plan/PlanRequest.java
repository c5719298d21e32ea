package ram.plan;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import ram.UsageException;
import ram.format.Format;

/// What is wanted of a plan.
///
/// @param limit what it has to keep within
/// @param bits of the policies that are not priced
/// @param groupSize of the policies that are not priced
/// @param modes formats to choose from; dense always is one
/// @param rules in the order given
/// @param allowUnsafe whether formats below the noise floor may be chosen
/// @param mlxVersion the version that has to load the result, where that matters
public record PlanRequest(Limit limit, Policy policy, int bits, int groupSize, Set<Format.Mode> modes, List<FormatRule> rules, boolean allowUnsafe,
                          Optional<MlxVersion> mlxVersion) {
    public PlanRequest {
        Objects.requireNonNull(policy);
        modes = modes.isEmpty() ? EnumSet.noneOf(Format.Mode.class) : EnumSet.copyOf(modes);
        rules = List.copyOf(rules);
        if (limit instanceof Limit.Divergence && !policy.objective().map(Objective::isDivergence).orElse(false)) {
            throw new UsageException("--max-kl: only the policy budget can be asked for a divergence; use it, or give another limit");
        }
        if (mlxVersion.isPresent()) {
            rules.stream().filter(r -> !mlxVersion.get().loads(r.format())).findFirst().ifPresent(r -> {
                throw new UsageException(r.option() + ": MLX " + mlxVersion.get() + " does not load " + r.format() + "; " + MlxVersion.first(r.format()) + " is the first that does");
            });
            for (Format.Mode mode : modes) {
                Format any = switch (mode) {
                    case MXFP4 -> Format.MXFP4;
                    case NVFP4 -> Format.NVFP4;
                    case MXFP8 -> Format.MXFP8;
                    default -> Format.DENSE;
                };
                if (!mlxVersion.get().loads(any)) {
                    throw new UsageException("--formats: MLX " + mlxVersion.get() + " does not load " + mode.mlxName() + "; " + MlxVersion.first(any) + " is the first that does");
                }
            }
            if (!policy.isPriced() && bits == 5 && !mlxVersion.get().loads(Format.affine(5, 64))) {
                throw new UsageException("--bits: MLX " + mlxVersion.get() + " does not load 5 bits; " + MlxVersion.first(Format.affine(5, 64)) + " is the first that does");
            }
        }
        if (!policy.isPriced()) {
            try {
                Format.affine(bits, groupSize);
            } catch (IllegalArgumentException e) {
                throw new UsageException("--bits and --group: " + e.getMessage() + "; use bits 2, 3, 4, 5, 6 or 8 and groups of 32, 64 or 128");
            }
        }
    }

    /// Policy `budget`, affine formats, every floor in force; no limit yet.
    public static PlanRequest defaults() {
        return new PlanRequest(Limit.NONE, Policy.BUDGET, 4, 64, EnumSet.of(Format.Mode.AFFINE), List.of(), false, Optional.empty());
    }

    /// The defaults, within a size of all written safetensors files.
    public static PlanRequest ofBudget(long bytes) {
        return defaults().withBudget(bytes);
    }

    /// The request that a manifest was planned for.
    ///
    /// @throws UsageException when its settings cannot be understood
    public static PlanRequest of(Manifest manifest) {
        Set<Format.Mode> modes = EnumSet.noneOf(Format.Mode.class);
        List<FormatRule> rules = new ArrayList<>();
        int bits = 4;
        int groupSize = 64;
        boolean allowUnsafe = false;
        Optional<MlxVersion> mlxVersion = Optional.empty();
        for (Map.Entry<String, String> e : manifest.planning().entrySet()) {
            String value = e.getValue();
            try {
                switch (e.getKey().replaceFirst("_\\d+$", "")) {
                    case "formats" -> {
                        for (String mode : value.isEmpty() ? new String[0] : value.split(",")) {
                            modes.add(Format.Mode.valueOf(mode.toUpperCase(Locale.ROOT)));
                        }
                    }
                    case "allow_unsafe" -> allowUnsafe = Boolean.parseBoolean(value);
                    case "rule" -> rules.add(FormatRule.ofOption(value));
                    case "quantizer", "target" -> {
                        // How the plan was carried out, and where the budget came from.
                    }
                    case "mlx_version" -> mlxVersion = Optional.of(MlxVersion.parse(value));
                    case "bits" -> bits = Integer.parseInt(value);
                    case "group_size" -> groupSize = Integer.parseInt(value);
                    default -> throw new IllegalArgumentException(e.getKey());
                }
            } catch (IllegalArgumentException x) {
                throw new UsageException("the manifest was planned with " + e.getKey() + " = '" + value + "', which this version does not know");
            }
        }
        return new PlanRequest(manifest.limit(), Policy.named(manifest.policy()), bits, groupSize, modes, rules, allowUnsafe, mlxVersion);
    }

    /// The same with another limit.
    public PlanRequest within(Limit limit) {
        return new PlanRequest(limit, policy, bits, groupSize, modes, rules, allowUnsafe, mlxVersion);
    }

    /// The same within a size of all written safetensors files.
    public PlanRequest withBudget(long bytes) {
        return within(new Limit.Budget(bytes));
    }

    /// @param bits of `uniform`
    /// @param groupSize of policies without a budget
    public PlanRequest withPolicy(Policy policy, int bits, int groupSize) {
        return new PlanRequest(limit, policy, bits, groupSize, modes, rules, allowUnsafe, mlxVersion);
    }

    /// @param modes the formats to choose from; affine ones are not implied
    public PlanRequest withModes(Set<Format.Mode> modes) {
        return new PlanRequest(limit, policy, bits, groupSize, modes, rules, allowUnsafe, mlxVersion);
    }

    /// @param rules of several that match a module the last one counts
    public PlanRequest withRules(List<FormatRule> rules) {
        return new PlanRequest(limit, policy, bits, groupSize, modes, rules, allowUnsafe, mlxVersion);
    }

    /// @param allowUnsafe whether formats may be chosen that leave less than 9 dB between weight and error
    public PlanRequest withAllowUnsafe(boolean allowUnsafe) {
        return new PlanRequest(limit, policy, bits, groupSize, modes, rules, allowUnsafe, mlxVersion);
    }

    /// Whether MLX, of the wanted version, loads a format.
    boolean loads(Format format) {
        return mlxVersion.isEmpty() || mlxVersion.get().loads(format);
    }

    /// The words that ask for it on a command line, not quoted: those of [#goal()], then settings that differ from the defaults.
    public List<String> arguments() {
        List<String> out = new ArrayList<>(goal());
        if (allowUnsafe) {
            out.add("--allow-unsafe");
        }
        if (policy == Policy.UNIFORM) {
            out.addAll(List.of("--bits", String.valueOf(bits)));
        }
        if (!modes.equals(defaults().modes)) {
            out.addAll(List.of("--formats", modes.isEmpty() ? Format.Mode.DENSE.mlxName() : modeNames()));
        }
        if (!policy.isPriced()) {
            out.addAll(List.of("--group", String.valueOf(groupSize)));
        }
        mlxVersion.ifPresent(v -> out.addAll(List.of("--mlx-version", v.toString())));
        rules.forEach(r -> out.addAll(r.arguments()));
        return List.copyOf(out);
    }

    /// The first of [#arguments()]: limit and policy.
    public List<String> goal() {
        List<String> out = new ArrayList<>(limit.arguments());
        if (policy != Policy.BUDGET) {
            out.addAll(List.of("--policy", policy.label()));
        }
        return List.copyOf(out);
    }

    private String modeNames() {
        return modes.stream().map(Format.Mode::mlxName).sorted().collect(Collectors.joining(","));
    }

    /// The settings that influence numbers, by name; the limit and the policy are not among them.
    SortedMap<String, String> options() {
        SortedMap<String, String> out = new TreeMap<>();
        out.put("formats", modeNames());
        out.put("allow_unsafe", String.valueOf(allowUnsafe));
        mlxVersion.ifPresent(v -> out.put("mlx_version", v.toString()));
        for (int i = 0; i < rules.size(); i++) {
            out.put(String.format(Locale.ROOT, "rule_%03d", i + 1), rules.get(i).option());
        }
        if (policy == Policy.UNIFORM) {
            out.put("bits", String.valueOf(bits));
        }
        if (!policy.isPriced()) {
            out.put("group_size", String.valueOf(groupSize));
        }
        return out;
    }
}
