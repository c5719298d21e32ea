package ram.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import ram.UsageException;
import ram.format.Format;
import ram.layout.Kind;
import ram.profile.CurvePoint;
import ram.profile.ModuleProfile;
import ram.profile.Profile;

/// What each module of a profile may be stored as, after floors and the user's rules.
final class Candidates {
    /// Below this signal-to-noise ratio a module is taken to be broken.
    static final double SAFE_SQNR_DB = 9;

    /// One way to store one module.
    ///
    /// @param bytes of its data
    /// @param cost of its data and its place in the headers
    /// @param safe whether it is above the noise floor
    record Candidate(Format format, long bytes, long cost, double relativeError, double damage, boolean safe) {
        double sqnrDb() {
            return new CurvePoint(format, relativeError, 0).sqnrDb();
        }
    }

    /// The candidates of one module.
    ///
    /// @param measured everything that the profile knows about, dense last
    /// @param allowed what a plan may choose, at least one
    /// @param floor what was excluded by a floor, in words
    /// @param rule the user's rule that decided
    record Choice(ModuleProfile module, List<Candidate> measured, List<Candidate> allowed, Optional<String> floor, Optional<FormatRule> rule) {
        Optional<Candidate> measured(Format format) {
            return measured.stream().filter(c -> c.format().equals(format)).findFirst();
        }

        Candidate dense() {
            return measured.getLast();
        }

        /// The smallest allowed one; the less damaging of equal ones.
        Candidate smallest() {
            Candidate best = allowed.getFirst();
            for (Candidate c : allowed) {
                if (c.cost() < best.cost() || c.cost() == best.cost() && c.damage() < best.damage()) {
                    best = c;
                }
            }
            return best;
        }
    }

    private Candidates() {
    }

    static boolean isRouting(Kind kind) {
        return kind == Kind.ROUTER || kind == Kind.SHARED_EXPERT_GATE;
    }

    static boolean isFineEnoughForRouting(Format f) {
        return f.isDense() || f.bits() >= 8;
    }

    /// Every format of the requested modes.
    static List<Format> offered(PlanRequest request) {
        List<Format> all = new ArrayList<>(Format.ofModes(request.modes()));
        all.removeIf(f -> !request.loads(f));
        all.add(Format.DENSE);
        return all;
    }

    /// @param allowUnsafe whether to offer what is below the noise floor; the user's rules are held to the request's own setting
    /// @throws UsageException when a rule matches no module or asks for what a module cannot have
    static List<Choice> of(Profile profile, Damage damage, PlanRequest request, boolean allowUnsafe) {
        Rules rules = new Rules(request.rules());
        List<Choice> out = new ArrayList<>();
        for (int i = 0; i < profile.modules().size(); i++) {
            out.add(of(i, profile.modules().get(i), damage, request, allowUnsafe, rules));
        }
        rules.checkAllMatched();
        return List.copyOf(out);
    }

    private static Choice of(int index, ModuleProfile m, Damage damage, PlanRequest request, boolean allowUnsafe, Rules rules) {
        List<Candidate> measured = new ArrayList<>();
        if (m.mustStayDense().isEmpty()) {
            for (int c = 0; c < m.curve().size(); c++) {
                CurvePoint p = m.curve().get(c);
                if (!p.format().isDense() && p.format().fits(m.shape())) {
                    measured.add(candidate(m, p.format(), p.relativeError(), damage.at(index, c), p.sqnrDb() >= SAFE_SQNR_DB));
                }
            }
        }
        measured.add(candidate(m, Format.DENSE, 0, 0, true));
        Optional<Format> forced = rules.formatOf(m.path(), m.kind(), m.shape(), m.mustStayDense());
        Optional<FormatRule> rule = rules.of(m.path());
        if (forced.isPresent()) {
            Candidate c = measured.stream().filter(x -> x.format().equals(forced.get())).findFirst().orElseThrow(() -> new UsageException(
                    rule.get().option() + ": the profile holds no measurement of " + forced.get() + " for " + m.path() + "; analyze with that format"));
            if (!c.safe() && !request.allowUnsafe()) {
                throw new UsageException(rule.get().option() + String.format(Locale.ROOT, ": %s would leave %s at %.1f dB, under the floor of 9 dB; use more bits or --allow-unsafe",
                        c.format(), m.path(), c.sqnrDb()));
            }
            return new Choice(m, List.copyOf(measured), List.of(c), Optional.empty(), rule);
        }
        List<Candidate> allowed = new ArrayList<>();
        String floor = null;
        for (Candidate c : measured) {
            if (!c.format().isDense() && (!request.modes().contains(c.format().mode()) || !request.loads(c.format()))) {
                continue;
            }
            if (isRouting(m.kind()) && !isFineEnoughForRouting(c.format())) {
                floor = "routers never get fewer than 8 bits";
            } else if (!c.safe() && !allowUnsafe) {
                floor = floor == null ? "smaller formats are under 9 dB" : floor;
            } else {
                allowed.add(c);
            }
        }
        return new Choice(m, List.copyOf(measured), List.copyOf(allowed), Optional.ofNullable(floor), Optional.empty());
    }

    private static Candidate candidate(ModuleProfile m, Format f, double relativeError, double damage, boolean safe) {
        var entries = OutputSize.entries(m.path(), m.shape(), m.dtype(), f);
        return new Candidate(f, OutputSize.data(entries), OutputSize.cost(entries), relativeError, damage, safe);
    }
}
