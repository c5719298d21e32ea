package ram.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import ram.plan.Candidates.Candidate;
import ram.plan.PlanProblem.Solved;
import ram.profile.Profile;

class PlanProblemTest {
    private static final Profile LLAMA = Profiles.llama(4, 128, false, 6);

    @ParameterizedTest
    @EnumSource(value = Policy.class, names = {"BUDGET", "MINT"})
    void whatIsChosenIsWhatWasSolved(Policy policy) {
        PlanProblem problem = new PlanProblem(LLAMA, PlanRequest.defaults().withPolicy(policy, 4, 64).within(new Limit.BitsPerWeight(5)));
        Solved solved = problem.solve(problem.limit());
        assertEquals(LLAMA.modules().size(), solved.chosen().size());
        assertTrue(problem.totals(solved.formats()).data() <= problem.limit());
        for (int i = 0; i < solved.chosen().size(); i++) {
            Candidate chosen = solved.chosen().get(i);
            assertTrue(problem.choices.get(i).allowed().stream().anyMatch(c -> c.format().equals(chosen.format()) && c.cost() == chosen.cost()));
        }
        List<Candidate> others = solved.chosen().subList(1, solved.chosen().size());
        assertTrue(assertThrows(IllegalStateException.class, () -> new Solved(others, solved.solution(), 0)).getMessage().contains("objective"));
    }
}
