package ram.cli;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.IntStream;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import ram.UsageException;
import ram.format.Format;
import ram.plan.Limit;
import ram.plan.Manifest;
import ram.plan.ModelFamily;
import ram.plan.PlanRequest;
import ram.plan.Planner;
import ram.plan.Policy;
import ram.plan.Target;
import ram.profile.Profile;

/// Options that say what plan is wanted: within what, and chosen how.
final class PlanOptions {
    @Option(names = "--budget", paramLabel = "SIZE", description = "Maximum size of all written *.safetensors files together, such as 16GB (10^9) or 15.5GiB (2^30). Never exceeded. `quantize` takes several.")
    List<Size> budgets = List.of();

    @Option(names = "--target", paramLabel = "TARGET", completionCandidates = Completions.Targets.class, description = "Instead of a budget: " + Target.KNOWN + ". `quantize` takes several.")
    List<String> targets = List.of();

    @Option(names = "--bpw", paramLabel = "BITS", description = "Most bits per weight instead of a budget: tensor data over all weights of the model, scales and biases included.")
    Double bitsPerWeight;

    @Option(names = "--max-kl", paramLabel = "NATS", description = "Instead of a budget: the smallest plan whose predicted mean KL divergence from the full-precision model is no more than this.")
    Double maxDivergence;

    @Mixin
    ChoiceOptions choice;

    @Option(names = "--bits", paramLabel = "N", description = "Bits of policies without a budget (default: 4).")
    Integer bits;

    @Option(names = "--group", paramLabel = "N", description = "Group size of policies without a budget (default: 64).")
    Integer group;

    /// @throws ParameterException when a budget is needed and none is given
    PlanRequest request(CommandSpec spec) {
        Policy chosen = choice.policy();
        if (chosen.isPriced() && budgets.isEmpty() && targets.isEmpty() && bitsPerWeight == null && maxDivergence == null) {
            throw new ParameterException(spec.commandLine(), "Missing required option: '--budget=SIZE' (or --target, or --bpw, or --max-kl, or a policy that needs no budget)");
        }
        return anyRequest(spec);
    }

    /// One request per budget or target, or the only one.
    ///
    /// @throws ParameterException when a budget is needed and none is given, or one is given twice
    List<PlanRequest> requests(CommandSpec spec) {
        if (budgets.size() < 2 && targets.size() < 2) {
            return List.of(request(spec));
        }
        refuseTwice(spec, "--budget", budgets, Size::text, b -> OptionalLong.of(b.bytes()));
        // two knees are the same without being a number of bytes
        refuseTwice(spec, "--target", targets, String::strip, t -> OptionalLong.of(Target.parse(t).machineBudget().orElse(0)));
        noteWhatSaysNothing(spec);
        return IntStream.range(0, Math.max(budgets.size(), targets.size())).mapToObj(i -> request(spec, i)).toList();
    }

    private static <T> void refuseTwice(CommandSpec spec, String option, List<T> given, Function<T, String> text, Function<T, OptionalLong> bytes) {
        for (int i = 0; i < given.size(); i++) {
            for (T earlier : given.subList(0, i)) {
                if (bytes.apply(earlier).equals(bytes.apply(given.get(i)))) {
                    throw new ParameterException(spec.commandLine(), option + ": " + text.apply(earlier) + " and " + text.apply(given.get(i)) + " are the same; give each " + option.substring(2) + " once");
                }
            }
        }
    }

    /// The request as it stands, even without a limit.
    PlanRequest anyRequest(CommandSpec spec) {
        if (budgets.size() > 1 || targets.size() > 1) {
            throw new ParameterException(spec.commandLine(), "option '" + (budgets.size() > 1 ? "--budget" : "--target") + "' should be specified only once");
        }
        noteWhatSaysNothing(spec);
        return request(spec, 0);
    }

    private void noteWhatSaysNothing(CommandSpec spec) {
        Policy chosen = choice.policy();
        if (chosen.isPriced() && (bits != null || group != null)) {
            GlobalOptions.noteWithoutEffect(spec, "--bits and --group apply only to policies without a budget; --policy " + choice.named() + " chooses both for every module");
        }
        if (!chosen.isPriced() && chosen != Policy.UNIFORM && bits != null) {
            GlobalOptions.noteWithoutEffect(spec, "--bits applies only to --policy uniform; --policy " + choice.named() + " has bits of its own");
        }
        if (!chosen.isPriced() && !choice.modes().equals(EnumSet.of(Format.Mode.AFFINE))) {
            GlobalOptions.noteWithoutEffect(spec, "--formats applies only to policies with a budget; --policy " + choice.named() + " takes affine ones");
        }
    }

    /// The target of one of the requests; empty where something else was given.
    private Optional<Target> target(int request) {
        return request < targets.size() ? Optional.of(Target.parse(targets.get(request))) : Optional.empty();
    }

    /// A plan of one of the requests, with the budget of its target, where that depends on the model, and with the target noted, as this program's.
    ///
    /// @param number of the request
    Manifest plan(int number, PlanRequest request, Profile profile) {
        Optional<Target> target = target(number);
        Manifest manifest = Planner.plan(profile, target.map(t -> request.withBudget(t.budget(profile, request))).orElse(request));
        return target.map(manifest::withTarget).orElse(manifest).withToolVersion(BuildInfo.read().version());
    }

    /// The name of the folder of one of several outputs.
    String folder(int request) {
        return target(request).map(t -> t.name().replace(' ', '-')).orElseGet(() -> budgets.get(request).text());
    }

    /// The outputs for several budgets or targets.
    ///
    /// @param manifests one for each
    ModelFamily family(List<Manifest> manifests) {
        List<ModelFamily.Member> members = IntStream.range(0, manifests.size()).mapToObj(i -> ModelFamily.Member.of(folder(i), manifests.get(i))).toList();
        return new ModelFamily(manifests.getFirst().toolVersion(), members);
    }

    private PlanRequest request(CommandSpec spec, int number) {
        PlanRequest unlimited = choice.request(spec);
        return unlimited.within(limit(number, unlimited.policy())).withPolicy(unlimited.policy(), bits == null ? unlimited.bits() : bits, group == null ? unlimited.groupSize() : group);
    }

    /// @throws UsageException when more than one is given, or one that is none
    private Limit limit(int number, Policy chosen) {
        List<String> given = new ArrayList<>();
        Limit limit = Limit.NONE;
        if (!budgets.isEmpty()) {
            given.add("--budget");
            limit = new Limit.Budget(budgets.get(Math.min(number, budgets.size() - 1)).bytes());
        }
        if (bitsPerWeight != null) {
            given.add("--bpw");
            limit = new Limit.BitsPerWeight(bitsPerWeight);
        }
        if (maxDivergence != null) {
            given.add("--max-kl");
            limit = new Limit.Divergence(maxDivergence);
        }
        Optional<Target> target = target(number);
        if (target.isPresent()) {
            given.add("--target");
            OptionalLong machine = target.get().machineBudget();
            if (machine.isEmpty() && !chosen.isPriced()) {
                throw new UsageException("--target knee is a trade of size for damage, which --policy " + choice.named() + " does not make; leave out one of them");
            }
            // The knee depends on the profile: see plan.
            limit = machine.isEmpty() ? Limit.NONE : new Limit.Budget(machine.getAsLong());
        }
        if (given.size() > 1) {
            throw new UsageException(String.join(" and ", given) + " exclude each other; give one of them");
        }
        return limit;
    }

    /// What has to be measured for a request: the candidates, and what rules or policies give without asking for them.
    List<Format> toMeasure(PlanRequest request) {
        Set<Format.Mode> wanted = choice.modes();
        request.rules().forEach(r -> wanted.add(r.format().mode()));
        if (!request.policy().isPriced()) {
            wanted.add(Format.Mode.AFFINE);
        }
        return Format.ofModes(wanted);
    }
}
