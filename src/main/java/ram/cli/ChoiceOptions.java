package ram.cli;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import ram.UsageException;
import ram.format.Format;
import ram.plan.FormatRule;
import ram.plan.Limit;
import ram.plan.MlxVersion;
import ram.plan.PlanRequest;
import ram.plan.Policy;

/// Options that say how formats are chosen, and from which, whatever the limit.
final class ChoiceOptions {
    @Option(names = "--policy", paramLabel = "POLICY", completionCandidates = Completions.Policies.class, defaultValue = "budget", description = "How to choose: budget (default), mint, uniform, mixed_2_6, mixed_3_4, mixed_3_6, mixed_4_6, v1, v2, v2-opt, v3, v3-opt, v4 or auto.")
    String policy;

    @Option(names = "--keep", paramLabel = "REGEX", description = "Keep modules dense whose path the pattern is found in. Repeatable; of several rules that match, the last one counts.")
    List<String> keep = List.of();

    @Option(names = "--set", paramLabel = "REGEX=FORMAT", description = "Give modules this format, such as 'embed_tokens=8:64'. Repeatable, in order with --keep.")
    List<String> set = List.of();

    @Option(names = "--formats", paramLabel = "MODE", completionCandidates = Completions.Modes.class, split = ",", defaultValue = "affine", description = "Formats to choose from: affine, mxfp4, nvfp4, mxfp8 (default: ${DEFAULT-VALUE}).")
    List<String> formats;

    @Option(names = "--mlx-version", paramLabel = "VERSION", description = "Choose only what this version of MLX loads, such as 0.29, and warn about what is slow there.")
    String mlxVersion;

    @Option(names = "--allow-unsafe", description = "Allow formats that leave less than 9 dB between weight and error.")
    boolean allowUnsafe;

    Policy policy() {
        return Policy.named(policy);
    }

    /// The policy's name as it was given, of which `auto` is an alias.
    String named() {
        return policy.strip();
    }

    Set<Format.Mode> modes() {
        return modes(formats);
    }

    /// What is wanted, without a limit.
    PlanRequest request(CommandSpec spec) {
        PlanRequest defaults = PlanRequest.defaults();
        return new PlanRequest(Limit.NONE, policy(), defaults.bits(), defaults.groupSize(), modes(), rules(spec), allowUnsafe, Optional.ofNullable(mlxVersion).map(MlxVersion::parse));
    }

    private static Set<Format.Mode> modes(List<String> names) {
        if (names.isEmpty()) {
            throw noFormat("names no format");
        }
        Set<Format.Mode> modes = EnumSet.noneOf(Format.Mode.class);
        for (String name : names) {
            try {
                modes.add(Format.Mode.valueOf(name.strip().toUpperCase(Locale.ROOT)));
            } catch (IllegalArgumentException e) {
                throw noFormat("there is no format '" + name + "'");
            }
        }
        modes.remove(Format.Mode.DENSE);
        return modes;
    }

    private static UsageException noFormat(String what) {
        return new UsageException("--formats: " + what + "; choose from affine, mxfp4, nvfp4, mxfp8");
    }

    /// Every format of the wanted modes.
    static List<Format> candidates(List<String> names) {
        return Format.ofModes(modes(names));
    }

    /// The rules of both options in the order in which they stand on the command line, which separate lists have lost.
    private static List<FormatRule> rules(CommandSpec spec) {
        List<FormatRule> rules = new ArrayList<>();
        List<String> args = spec.commandLine().getParseResult().expandedArgs();
        int end = args.contains("--") ? args.indexOf("--") : args.size();
        for (int i = 0; i < end; i++) {
            String arg = args.get(i);
            boolean isKeep = arg.equals("--keep") || arg.startsWith("--keep=");
            boolean isSet = arg.equals("--set") || arg.startsWith("--set=");
            if (isKeep || isSet) {
                String value = arg.indexOf('=') >= 0 ? arg.substring(arg.indexOf('=') + 1) : args.get(++i);
                rules.add(isKeep ? FormatRule.keep(value) : FormatRule.set(value));
            }
        }
        return rules;
    }
}
