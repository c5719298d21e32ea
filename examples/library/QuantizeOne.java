import java.nio.file.Path;
import java.util.Optional;
import ram.convert.Converter;
import ram.layout.Model;
import ram.plan.ByteSize;
import ram.plan.Manifest;
import ram.plan.PlanRequest;
import ram.plan.Planner;
import ram.profile.AnalysisOptions;
import ram.profile.Profile;
import ram.profile.Profiles;
import ram.verify.Verifier;

/// Quantizes a model to a budget from a program:
///
///     java --add-modules jdk.incubator.vector -cp target/ram.jar examples/library/QuantizeOne.java examples/tiny-qwen3 1MB build/from-java
final class QuantizeOne {
    public static void main(String[] args) {
        Path source = Path.of(args[0]);
        long budget = ByteSize.parse(args[1]);
        Path out = Path.of(args[2]);
        int threads = Runtime.getRuntime().availableProcessors();
        try (Model model = Model.open(source)) {
            System.out.println(model.layout().modules().size() + " modules");
            Profile profile = Profiles.analyze(model, AnalysisOptions.defaults(threads), "my-program 1.0", _ -> { });
            Manifest plan = Planner.plan(profile, PlanRequest.ofBudget(budget));
            Manifest written = Converter.convert(model, profile, plan, out, threads, _ -> { });
            Verifier.Report report = Verifier.verify(out, Optional.of(model), written.writtenErrors(), threads, _ -> { });
            System.out.println(out + ": " + ByteSize.format(written.sizes().files()) + ", " + (report.sound() ? "sound" : report.problems()));
        }
    }
}
