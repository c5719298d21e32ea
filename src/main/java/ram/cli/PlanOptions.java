package ram.cli;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
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
import ram.plan.Policy;
import ram.plan.Target;
import ram.profile.Profile;

/// Options that say what plan is wanted: within what, and chosen how.
final class PlanOptions {
    @Option(names = "--budget", paramLabel = "SIZE", description = "Maximum size of all written *.safetensors files together, such as 16GB (10^9) or 15.5GiB (2^30). Never exceeded. `quantize` takes several.")
    List<Size> budgets = List.of();

    @Option(names = "--target", paramLabel = "TARGET", completionCandidates = Completions.Targets.class, description = "Instead of a budget: " + Target.KNOWN + ".")
    String target;

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
        if (chosen.isPriced() && budgets.isEmpty() && target == null && bitsPerWeight == null && maxDivergence == null) {
            throw new ParameterException(spec.commandLine(), "Missing required option: '--budget=SIZE' (or --target, or --bpw, or --max-kl, or a policy that needs no budget)");
        }
        return anyRequest(spec);
    }

    /// One request per budget, or the only one.
    ///
    /// @throws ParameterException when a budget is needed and none is given, or one is given twice
    List<PlanRequest> requests(CommandSpec spec) {
        if (budgets.size() < 2) {
            return List.of(request(spec));
        }
        for (int i = 0; i < budgets.size(); i++) {
            for (Size earlier : budgets.subList(0, i)) {
                if (earlier.bytes() == budgets.get(i).bytes()) {
                    throw new ParameterException(spec.commandLine(), "--budget: " + earlier.text() + " and " + budgets.get(i).text() + " are the same; give each budget once");
                }
            }
        }
        noteWhatSaysNothing(spec);
        return budgets.stream().map(b -> request(spec, Optional.of(b))).toList();
    }

    /// The request as it stands, even without a limit.
    PlanRequest anyRequest(CommandSpec spec) {
        if (budgets.size() > 1) {
            throw new ParameterException(spec.commandLine(), "option '--budget' should be specified only once");
        }
        noteWhatSaysNothing(spec);
        return request(spec, budgets.stream().findFirst());
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

    /// The request with the budget of its target, where that depends on the model.
    PlanRequest resolve(PlanRequest request, Profile profile) {
        return target == null ? request : request.withBudget(Target.parse(target).budget(profile, request));
    }

    /// The manifest with its target, where there was one, as this program's.
    Manifest noted(Manifest manifest) {
        return (target == null ? manifest : manifest.withTarget(Target.parse(target))).withToolVersion(BuildInfo.read().version());
    }

    /// The outputs for several budgets.
    ///
    /// @param manifests one for each
    ModelFamily family(List<Manifest> manifests) {
        List<ModelFamily.Member> members = IntStream.range(0, manifests.size()).mapToObj(i -> ModelFamily.Member.of(budgets.get(i).text(), manifests.get(i))).toList();
        return new ModelFamily(manifests.getFirst().toolVersion(), members);
    }

    private PlanRequest request(CommandSpec spec, Optional<Size> budget) {
        PlanRequest unlimited = choice.request(spec);
        return unlimited.within(limit(budget, unlimited.policy())).withPolicy(unlimited.policy(), bits == null ? unlimited.bits() : bits, group == null ? unlimited.groupSize() : group);
    }

    /// @throws UsageException when more than one is given, or one that is none
    private Limit limit(Optional<Size> budget, Policy chosen) {
        List<String> given = new ArrayList<>();
        Limit limit = Limit.NONE;
        if (budget.isPresent()) {
            given.add("--budget");
            limit = new Limit.Budget(budget.get().bytes());
        }
        if (bitsPerWeight != null) {
            given.add("--bpw");
            limit = new Limit.BitsPerWeight(bitsPerWeight);
        }
        if (maxDivergence != null) {
            given.add("--max-kl");
            limit = new Limit.Divergence(maxDivergence);
        }
        if (target != null) {
            given.add("--target");
            OptionalLong machine = Target.parse(target).machineBudget();
            if (machine.isEmpty() && !chosen.isPriced()) {
                throw new UsageException("--target knee is a trade of size for damage, which --policy " + choice.named() + " does not make; leave out one of them");
            }
            // The knee depends on the profile: see resolve.
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
