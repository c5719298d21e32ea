package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;
import ram.format.Format;
import ram.plan.FormatRule;
import ram.plan.Limit;
import ram.plan.MlxVersion;
import ram.plan.PlanRequest;
import ram.plan.Policy;

/// What a request says that it takes on a command line gives that request.
class PlanArgumentsTest {
    private static Stream<PlanRequest> requests() {
        List<FormatRule> rules = List.of(FormatRule.keep("layers\\.1\\..*down"), FormatRule.set("q_proj$=8:32"), FormatRule.keep("it's"));
        PlanRequest everything = new PlanRequest(new Limit.BitsPerWeight(4.25), Policy.UNIFORM, 3, 128, EnumSet.of(Format.Mode.AFFINE, Format.Mode.MXFP8), rules, true,
                Optional.of(MlxVersion.parse("0.30.1")));
        return Stream.of(everything, PlanRequest.ofBudget(123_456_789), PlanRequest.defaults().within(new Limit.Divergence(0.02)),
                PlanRequest.ofBudget(1).withPolicy(Policy.MINT, 4, 64), PlanRequest.defaults().withPolicy(Policy.V2, 4, 32),
                PlanRequest.ofBudget(1).withModes(EnumSet.noneOf(Format.Mode.class)));
    }

    @ParameterizedTest
    @MethodSource("requests")
    void giveTheSameRequest(PlanRequest request) {
        List<String> words = new ArrayList<>(List.of("plan", "profile.json"));
        words.addAll(request.arguments());
        CommandLine plan = Main.commandLine(new RamCommand()).parseArgs(words.toArray(String[]::new)).subcommand().commandSpec().commandLine();
        PlanCommand command = plan.getCommand();
        assertEquals(request, command.plan.request(plan.getCommandSpec()));
    }
}
