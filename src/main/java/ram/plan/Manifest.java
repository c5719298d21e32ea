package ram.plan;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import ram.UsageException;
import ram.format.Format;
import ram.format.Quantizer;
import ram.layout.Architecture;
import ram.layout.Kind;
import ram.profile.AnalysisOptions;
import ram.profile.CurvePoint;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// A plan: which format every module gets, why, and what that costs; written as `manifest.json`.
///
/// @param toolVersion version of the program that planned
/// @param profiledFiles the files that the profile was measured on
/// @param layers number of decoder layers
/// @param analysis settings of the analysis that influence numbers
/// @param planning settings of the plan that influence numbers
/// @param policy name of the policy
/// @param notes sentences about the plan as a whole
/// @param modules in the order of the model
/// @param tensors every source tensor exactly once, by name
/// @param evaluation what was measured on the output, when it was
/// @param refinement how modules were refined and what that gained, when they were
/// @param sourceReceipts the source's safetensors files, when something was written
/// @param files what was written, when it was
public record Manifest(String toolVersion, List<Profile.SourceFile> profiledFiles, Architecture architecture, int layers, SortedMap<String, String> analysis,
                       SortedMap<String, String> planning, String policy, List<String> notes, Limit limit, Sizes sizes, SolverReport solver,
                       List<ModulePlan> modules, List<SourceTensor> tensors, Optional<ObjectNode> evaluation, Optional<ObjectNode> refinement, List<OutputFile> sourceReceipts,
                       List<OutputFile> files) {
    /// The `schema` of a manifest.
    public static final String SCHEMA = "ram.manifest/1";

    /// Sizes in bytes, exact.
    ///
    /// @param files all safetensors files together, headers included
    /// @param data tensor data alone
    /// @param fixed data of tensors that no plan changes
    /// @param fileCount number of safetensors files
    /// @param parameters number of weights of the model
    /// @param smallestSafe total file size of the smallest plan with every floor in force
    /// @param smallestUnsafe the same when formats below the noise floor are allowed
    /// @param dense total file size when nothing is quantized that may choose
    public record Sizes(long files, long data, long fixed, int fileCount, long parameters, long smallestSafe, long smallestUnsafe, long dense) {
        /// Bits of tensor data per weight of the model, as mlx_lm counts: scales and biases included, headers not.
        public double bitsPerWeight() {
            return parameters == 0 ? 0 : 8.0 * data / parameters;
        }
    }

    /// How well the plan is known to do.
    ///
    /// @param name `knapsack`, or `rule` when the policy does not optimise; then the bound is 0 and means nothing
    /// @param objective what was minimised
    /// @param lowerBound no plan of the same capacity has a smaller objective
    /// @param proven whether no plan is better
    /// @param price how much objective one more byte saves at the margin
    /// @param reservedBytes of the budget, set aside for files of which there might be several
    public record SolverReport(String name, double objective, double lowerBound, boolean proven, double price, long reservedBytes) {
        /// How much better a plan could be at most.
        public double gap() {
            return objective - lowerBound;
        }
    }

    /// What decided about a module.
    public enum Why {
        BUDGET, FLOOR, OVERRIDE, CANNOT_QUANTIZE, POLICY;

        /// The name in documents.
        public String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    /// Another format for a module.
    ///
    /// @param price damage per byte between it and the chosen one
    public record Alternative(Format format, long bytes, double damage, double price) {
    }

    /// One module.
    ///
    /// @param bytes of its tensors' data
    /// @param relativeError ‖W − Ŵ‖² / ‖W‖² as measured by the analysis
    /// @param damage predicted, on the scale of policy `budget` whatever the policy
    /// @param writtenError the same of the bytes that were written, measured while they were; empty before that and for dense
    /// @param reason a few words beside `why`
    /// @param better the allowed format that saves the most damage per byte beyond this one
    /// @param cheaper the allowed format that adds the least damage per byte saved
    public record ModulePlan(String path, Kind kind, int layer, Shape shape, DType dtype, Format format, long bytes, double relativeError,
                             OptionalDouble writtenError, double damage, Why why, String reason, Optional<Alternative> better, Optional<Alternative> cheaper) {
        ModulePlan withWrittenError(double error) {
            return new ModulePlan(path, kind, layer, shape, dtype, format, bytes, relativeError, OptionalDouble.of(error), damage, why, reason, better, cheaper);
        }

        /// Signal-to-quantization-noise ratio in decibels, infinite for dense.
        public double sqnrDb() {
            return new CurvePoint(format, relativeError, 0).sqnrDb();
        }

        /// Stored bits per weight, scales and biases included.
        public double bitsPerWeight() {
            return shape.elements() == 0 ? 0 : 8.0 * bytes / shape.elements();
        }
    }

    /// What becomes of a source tensor.
    public enum Fate {
        QUANTIZED, KEPT, TRANSFORMED, DROPPED;

        /// The name in documents.
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /// A source tensor.
    ///
    /// @param targets paths of modules and names of tensors that are made from it
    public record SourceTensor(String name, Fate fate, List<String> targets, String reason) {
        /// Begins the reason of tensors that the source stores quantized, in a form that is passed through.
        public static final String STORED = "already stored as ";

        public SourceTensor {
            Objects.requireNonNull(name);
            Objects.requireNonNull(fate);
            targets = List.copyOf(targets);
            Objects.requireNonNull(reason);
        }
    }

    /// A file that was read or written.
    ///
    /// @param sha256 of its content, in hexadecimal
    public record OutputFile(String name, long bytes, String sha256) {
        public OutputFile {
            Objects.requireNonNull(name);
            Objects.requireNonNull(sha256);
        }
    }

    public Manifest {
        Objects.requireNonNull(toolVersion);
        profiledFiles = List.copyOf(profiledFiles);
        Objects.requireNonNull(architecture);
        analysis = Collections.unmodifiableSortedMap(new TreeMap<>(analysis));
        planning = Collections.unmodifiableSortedMap(new TreeMap<>(planning));
        Objects.requireNonNull(policy);
        notes = List.copyOf(notes);
        Objects.requireNonNull(limit);
        Objects.requireNonNull(sizes);
        Objects.requireNonNull(solver);
        modules = List.copyOf(modules);
        tensors = List.copyOf(tensors);
        Objects.requireNonNull(evaluation);
        Objects.requireNonNull(refinement);
        sourceReceipts = List.copyOf(sourceReceipts);
        files = List.copyOf(files);
    }

    /// Mean KL divergence in nats per token that the plan is predicted to cause, whatever it minimised; see [Damage].
    public double predictedDamage() {
        return modules.stream().mapToDouble(ModulePlan::damage).sum();
    }

    /// What the solver's numbers are of; damage of a policy that minimises nothing.
    ///
    /// @throws UsageException when the policy is none
    public Objective objective() {
        return Policy.named(policy).objective().orElse(Objective.DAMAGE);
    }

    /// Predicted damage that one more byte saves at the margin; 0 of a policy that does not minimise it.
    double damagePrice() {
        return objective().isDivergence() ? solver.price() : 0;
    }

    /// With other settings and words about the plan as a whole.
    private Manifest with(String version, SortedMap<String, String> settings, List<String> remarks) {
        return new Manifest(version, profiledFiles, architecture, layers, analysis, settings, policy, remarks, limit, sizes, solver, modules, tensors, evaluation, refinement, sourceReceipts, files);
    }

    /// With other results.
    private Manifest with(List<ModulePlan> coded, Optional<ObjectNode> evaluated, Optional<ObjectNode> refined, List<OutputFile> read, List<OutputFile> written) {
        return new Manifest(toolVersion, profiledFiles, architecture, layers, analysis, planning, policy, notes, limit, sizes, solver, coded, tensors, evaluated, refined, read, written);
    }

    /// Written by this quantizer, which is noted where it is not the one that the profile was measured with.
    public Manifest withQuantizer(Quantizer used, Quantizer measured) {
        SortedMap<String, String> settings = new TreeMap<>(planning);
        settings.put("quantizer", used.toString());
        List<String> remarks = new ArrayList<>(notes);
        if (used != measured) {
            remarks.add("Written with " + settings.get("quantizer") + "; errors and damage of the plan are those of " + measured + ".");
        }
        return with(toolVersion, settings, remarks);
    }

    /// Of the program that plans and writes, where another version of it made the profile.
    public Manifest withToolVersion(String version) {
        if (version.equals(toolVersion)) {
            return this;
        }
        List<String> remarks = new ArrayList<>(notes);
        remarks.add("The profile was made by ram " + toolVersion + ".");
        return with(version, planning, remarks);
    }

    /// With the target that its budget was made from, and how.
    public Manifest withTarget(Target target) {
        SortedMap<String, String> settings = new TreeMap<>(planning);
        settings.put("target", target.name());
        List<String> remarks = new ArrayList<>(notes);
        remarks.addFirst(target.explain(limit.budget().orElseThrow()));
        return with(toolVersion, settings, remarks);
    }

    /// With the errors that were measured on what was written.
    ///
    /// @param errors relative squared errors, by module path
    public Manifest withWrittenErrors(Map<String, Double> errors) {
        List<ModulePlan> measured = modules.stream().map(m -> errors.containsKey(m.path()) ? m.withWrittenError(errors.get(m.path())) : m).toList();
        return with(measured, evaluation, refinement, sourceReceipts, files);
    }

    /// @throws UsageException when the plan was not made from this profile
    public void requireMadeFrom(Profile profile) {
        boolean sameFiles = Profile.SourceFile.same(profiledFiles, profile.files());
        // what else was measured, and how exactly, changes nothing about what the two have in common
        Optional<String> option = Stream.of("quantizer", "dtype", AnalysisOptions.REWRITE, AnalysisOptions.KEPT_NON_FINITE).filter(k -> !Objects.equals(analysis.get(k), profile.options().get(k))).findFirst();
        Set<String> measured = profile.modules().stream().map(ModuleProfile::path).collect(Collectors.toSet());
        Optional<String> unmeasured = modules.stream().map(ModulePlan::path).filter(p -> !measured.contains(p)).findFirst();
        String differs = !sameFiles ? "their source files differ" : option.map(k -> "it was measured with other options (" + k + ")").or(() -> unmeasured.map(p -> "it has no measurement of " + p)).orElse(null);
        if (differs != null) {
            throw new UsageException("the profile is not the one that the plan was made from: " + differs + "; analyze the model again or give the right profile");
        }
    }

    /// The errors of what was written, by module path.
    public SortedMap<String, Double> writtenErrors() {
        SortedMap<String, Double> out = new TreeMap<>();
        modules.forEach(m -> m.writtenError().ifPresent(e -> out.put(m.path(), e)));
        return out;
    }

    /// Tensors that were kept although they hold what is infinite or not a number, by their names in the output.
    public Set<String> nonFinite() {
        String names = analysis.getOrDefault(AnalysisOptions.KEPT_NON_FINITE, "");
        return names.isEmpty() ? Set.of() : Set.of(names.split(","));
    }

    /// How the model was rewritten before it was analysed.
    public Optional<String> rewrite() {
        return Optional.ofNullable(analysis.get(AnalysisOptions.REWRITE));
    }

    /// The chosen format per module path.
    public Map<String, Format> formats() {
        Map<String, Format> out = new HashMap<>();
        modules.forEach(m -> out.put(m.path(), m.format()));
        return out;
    }

    /// What the predicted damage is of, where that is another quantizer than the one that writes.
    public Optional<String> predictedFor() {
        Optional<String> measured = Optional.ofNullable(analysis.get("quantizer"));
        return measured.filter(m -> !m.equals(planning.getOrDefault("quantizer", m)));
    }

    /// A figure of what was written, measured in the evaluation.
    ///
    /// @param pointer such as `divergence/mean_kl`
    /// @return empty without an evaluation, or without that figure in it; not a number when something else stands there
    public OptionalDouble measured(String pointer) {
        // the first model of an evaluation is the source
        return evaluation.map(e -> e.at("/models/1/" + pointer)).filter(n -> !n.isMissingNode()).stream().mapToDouble(n -> n.isNumber() ? n.asDouble() : Double.NaN).findFirst();
    }

    /// The version of MLX that was asked for, from which config.json follows.
    public Optional<MlxVersion> mlxVersion() {
        return Optional.ofNullable(planning.get("mlx_version")).map(MlxVersion::parse);
    }

    /// The oldest version of MLX that loads the result.
    public MlxVersion oldestMlx() {
        return MlxVersion.oldest(formats().values(), mlxVersion().map(MlxVersion::knowsMode).orElse(true));
    }

    /// @param read the source's safetensors files
    public Manifest withFiles(List<OutputFile> read, List<OutputFile> written) {
        return with(modules, evaluation, refinement, read, written);
    }

    /// @param measured what `ram eval --json` prints of the source and the output
    public Manifest withEvaluation(ObjectNode measured) {
        return with(modules, Optional.of(measured), refinement, sourceReceipts, files);
    }

    /// @param how text and settings, and what refinement gained per module
    public Manifest withRefinement(ObjectNode how) {
        return with(modules, evaluation, Optional.of(how), sourceReceipts, files);
    }
}
