package ram.plan;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import ram.UsageException;
import ram.format.Format;

/// What is wanted of a plan.
///
/// @param budget most bytes of all safetensors files together, headers included
/// @param bitsPerWeight most bits of tensor data (codes, scales, biases and what stays dense, without headers) per weight of the model, as mlx_lm counts
/// @param bits of the policies that are not priced
/// @param groupSize of the policies that are not priced
/// @param modes formats to choose from; dense always is one
/// @param rules in the order given
/// @param allowUnsafe whether formats below the noise floor may be chosen
/// @param linked sets of module paths that must get one format
/// @param mlxVersion the version that has to load the result, where that matters
/// @param maxDivergence instead of a limit in bytes, the most predicted mean KL divergence in nats; the smallest plan that promises it is made
public record PlanRequest(OptionalLong budget, OptionalDouble bitsPerWeight, Policy policy, int bits, int groupSize, Set<Format.Mode> modes,
                          List<FormatRule> rules, boolean allowUnsafe, List<List<String>> linked, OptionalDouble maxDivergence, Optional<MlxVersion> mlxVersion) {
    public PlanRequest {
        Objects.requireNonNull(policy);
        modes = modes.isEmpty() ? EnumSet.noneOf(Format.Mode.class) : EnumSet.copyOf(modes);
        rules = List.copyOf(rules);
        linked = linked.stream().map(List::copyOf).toList();
        if (maxDivergence.isPresent()) {
            if (budget.isPresent() || bitsPerWeight.isPresent()) {
                throw new UsageException("--max-kl excludes --budget and --bpw; give one of them");
            }
            if (policy != Policy.BUDGET) {
                throw new UsageException("--max-kl: policy " + policy.label() + " cannot be asked for a divergence; use policy budget");
            }
            if (!(maxDivergence.getAsDouble() > 0 && maxDivergence.getAsDouble() < Double.POSITIVE_INFINITY)) {
                throw new UsageException("--max-kl: must be more than 0 nats");
            }
        }
        if (budget.isPresent() && bitsPerWeight.isPresent()) {
            throw new UsageException("--budget and --bpw exclude each other; give one of them");
        }
        if (bitsPerWeight.isPresent() && !(bitsPerWeight.getAsDouble() > 0 && bitsPerWeight.getAsDouble() <= 64)) {
            throw new UsageException("--bpw: " + bitsPerWeight.getAsDouble() + " is not a number of bits above 0 and up to 64");
        }
        if (budget.isPresent() && budget.getAsLong() <= 0) {
            throw new UsageException("--budget: must be more than nothing");
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

    /// Policy `budget`, affine formats, every floor in force; no budget yet.
    public static PlanRequest defaults() {
        return new PlanRequest(OptionalLong.empty(), OptionalDouble.empty(), Policy.BUDGET, 4, 64, EnumSet.of(Format.Mode.AFFINE), List.of(), false, List.of(), OptionalDouble.empty(), Optional.empty());
    }

    public static PlanRequest ofBudget(long bytes) {
        return defaults().withBudget(bytes);
    }

    /// The request that a manifest was planned for.
    ///
    /// @throws UsageException when its settings cannot be understood
    public static PlanRequest of(Manifest manifest) {
        Set<Format.Mode> modes = EnumSet.noneOf(Format.Mode.class);
        List<FormatRule> rules = new ArrayList<>();
        List<List<String>> linked = new ArrayList<>();
        int bits = 4;
        int groupSize = 64;
        boolean allowUnsafe = false;
        OptionalDouble maxDivergence = OptionalDouble.empty();
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
                    case "linked" -> linked.add(List.of(value.split(",")));
                    case "quantizer", "target" -> {
                        // How the plan was carried out, and where the budget came from.
                    }
                    case "max_kl" -> maxDivergence = OptionalDouble.of(Double.parseDouble(value));
                    case "mlx_version" -> mlxVersion = Optional.of(MlxVersion.parse(value));
                    case "bits" -> bits = Integer.parseInt(value);
                    case "group_size" -> groupSize = Integer.parseInt(value);
                    default -> throw new IllegalArgumentException(e.getKey());
                }
            } catch (IllegalArgumentException x) {
                throw new UsageException("the manifest was planned with " + e.getKey() + " = '" + value + "', which this version does not know");
            }
        }
        return new PlanRequest(manifest.limit().budget(), manifest.limit().bitsPerWeight(), Policy.named(manifest.policy()), bits, groupSize, modes, rules, allowUnsafe, linked, maxDivergence, mlxVersion);
    }

    public PlanRequest withBudget(long bytes) {
        return new PlanRequest(OptionalLong.of(bytes), OptionalDouble.empty(), policy, bits, groupSize, modes, rules, allowUnsafe, linked, OptionalDouble.empty(), mlxVersion);
    }

    public PlanRequest withBitsPerWeight(double bpw) {
        return new PlanRequest(OptionalLong.empty(), OptionalDouble.of(bpw), policy, bits, groupSize, modes, rules, allowUnsafe, linked, OptionalDouble.empty(), mlxVersion);
    }

    public PlanRequest withMaxDivergence(double nats) {
        return new PlanRequest(OptionalLong.empty(), OptionalDouble.empty(), policy, bits, groupSize, modes, rules, allowUnsafe, linked, OptionalDouble.of(nats), mlxVersion);
    }

    public PlanRequest withoutLimit() {
        return new PlanRequest(OptionalLong.empty(), OptionalDouble.empty(), policy, bits, groupSize, modes, rules, allowUnsafe, linked, OptionalDouble.empty(), mlxVersion);
    }

    public PlanRequest withPolicy(Policy policy, int bits, int groupSize) {
        return new PlanRequest(budget, bitsPerWeight, policy, bits, groupSize, modes, rules, allowUnsafe, linked, maxDivergence, mlxVersion);
    }

    public PlanRequest withModes(Set<Format.Mode> modes) {
        return new PlanRequest(budget, bitsPerWeight, policy, bits, groupSize, modes, rules, allowUnsafe, linked, maxDivergence, mlxVersion);
    }

    /// Whether MLX, of the wanted version, loads a format.
    boolean loads(Format format) {
        return mlxVersion.isEmpty() || mlxVersion.get().loads(format);
    }

    public PlanRequest withRules(List<FormatRule> rules) {
        return new PlanRequest(budget, bitsPerWeight, policy, bits, groupSize, modes, rules, allowUnsafe, linked, maxDivergence, mlxVersion);
    }

    public PlanRequest withAllowUnsafe(boolean allowUnsafe) {
        return new PlanRequest(budget, bitsPerWeight, policy, bits, groupSize, modes, rules, allowUnsafe, linked, maxDivergence, mlxVersion);
    }

    public PlanRequest withLinked(List<List<String>> linked) {
        return new PlanRequest(budget, bitsPerWeight, policy, bits, groupSize, modes, rules, allowUnsafe, linked, maxDivergence, mlxVersion);
    }

    /// The settings that influence numbers, by name; the limit and the policy are not among them.
    SortedMap<String, String> options() {
        SortedMap<String, String> out = new TreeMap<>();
        out.put("formats", modes.stream().map(Format.Mode::mlxName).collect(Collectors.toCollection(TreeSet::new)).stream().collect(Collectors.joining(",")));
        out.put("allow_unsafe", String.valueOf(allowUnsafe));
        maxDivergence.ifPresent(d -> out.put("max_kl", String.valueOf(d)));
        mlxVersion.ifPresent(v -> out.put("mlx_version", v.toString()));
        for (int i = 0; i < rules.size(); i++) {
            out.put(String.format(Locale.ROOT, "rule_%03d", i + 1), rules.get(i).option());
        }
        for (int i = 0; i < linked.size(); i++) {
            out.put(String.format(Locale.ROOT, "linked_%03d", i + 1), String.join(",", linked.get(i)));
        }
        if (!policy.isPriced()) {
            out.put("bits", String.valueOf(bits));
            out.put("group_size", String.valueOf(groupSize));
        }
        return out;
    }
}
