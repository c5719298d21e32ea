package ram.plan;

import java.util.Locale;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ram.UsageException;
import ram.profile.Profile;

/// Where a model is to run, or what it is to be, in place of a budget in bytes.
///
/// @param name as it was given
/// @param memoryGib memory of the machine; 0 for the knee of the frontier
/// @param phone whether the machine is a phone, where a program may have less of it
public record Target(String name, int memoryGib, boolean phone) {
    /// What can be given, for help and errors.
    public static final String KNOWN = "knee (the most quality for the size), phone (8 GiB), laptop (16 GiB), server (192 GiB), or a machine's memory such as 48GB or \"48GB mac\"";
    private static final Pattern MACHINE = Pattern.compile("(\\d{1,4})\\s*gi?b(\\s+mac)?");
    private static final int KNEE_BUDGETS = 200;

    public Target {
        Objects.requireNonNull(name);
    }

    /// @throws UsageException when there is no such target, or the machine has no room for any weights
    public static Target parse(String text) {
        String name = text.strip().toLowerCase(Locale.ROOT);
        Matcher machine = MACHINE.matcher(name);
        Target target = switch (name) {
            case "knee" -> new Target(name, 0, false);
            case "phone" -> new Target(name, 8, true);
            case "laptop" -> new Target(name, 16, false);
            case "server" -> new Target(name, 192, false);
            default -> {
                if (!machine.matches()) {
                    throw new UsageException("--target: there is no target '" + text + "'; choose from " + KNOWN);
                }
                yield new Target(machine.group(1) + "GB" + (machine.group(2) == null ? "" : " mac"), Integer.parseInt(machine.group(1)), false);
            }
        };
        if (!target.isKnee() && target.machineBudget().getAsLong() == 0) {
            throw new UsageException("--target: a machine of " + target.memoryGib + " GiB has no room for weights; choose from " + KNOWN);
        }
        return target;
    }

    /// Whether it is the knee of the curve of size and damage, and no machine.
    boolean isKnee() {
        return memoryGib == 0 && name.equals("knee");
    }

    /// Most bytes of weights on the machine; empty for the knee, which depends on the model.
    public OptionalLong machineBudget() {
        return isKnee() ? OptionalLong.empty() : OptionalLong.of(phone ? Devices.phoneWeightBytes(memoryGib) : Devices.weightBytes(memoryGib));
    }

    /// The budget in bytes for a model.
    ///
    /// @throws UsageException when the knee is wanted and there is none
    public long budget(Profile profile, PlanRequest request) {
        return isKnee() ? Frontier.solve(profile, request, KNEE_BUDGETS).atKnee().budget() : machineBudget().getAsLong();
    }

    /// How a budget came about, in one sentence.
    public String explain(long budget) {
        String bytes = ByteSize.exact(budget);
        if (isKnee()) {
            return "Target knee: of " + KNEE_BUDGETS + " sizes from the smallest safe one to dense, " + bytes + " has the most quality for its size.";
        }
        return "Target " + name + ": " + bytes + " for the weights on a " + (phone ? "phone" : "machine") + " of " + memoryGib + " GiB. "
                + (phone ? "They may take half of its memory, less 1 GiB for the context." : Devices.RULE);
    }
}
