package ram.profile;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import ram.InputException;
import ram.metric.Metric;
import ram.sensitivity.Sensitivities;

/// Joins the parts of an analysis.
public final class ProfileParts {
    private ProfileParts() {
    }

    /// Reads all parts of one analysis, in any order, and joins them to the profile that a single run would have given, to the byte.
    ///
    /// @throws InputException when a part is missing or there twice, or they are not of the same analysis
    public static Profile merge(List<Path> files) {
        Path first = files.getFirst();
        Map<Integer, Path> places = new TreeMap<>();
        List<ProfilePart> parts = new ArrayList<>();
        for (Path file : files) {
            ProfilePart part = PartJson.read(file);
            parts.add(part);
            difference(parts.getFirst(), part).ifPresent(d -> {
                throw InputException.in(file, d + first + "; give the parts of one analysis");
            });
            Path other = places.put(part.number().index(), file);
            if (other != null) {
                throw InputException.in(file, "is part " + part.number() + ", and so is " + other + "; give each part once");
            }
        }
        int count = parts.getFirst().number().count();
        List<String> missing = new ArrayList<>();
        for (int i = 1; i <= count; i++) {
            if (!places.containsKey(i)) {
                missing.add(i + "/" + count);
            }
        }
        if (!missing.isEmpty()) {
            String some = String.join(", ", missing.subList(0, Math.min(8, missing.size()))) + (missing.size() > 8 ? " and " + (missing.size() - 8) + " more" : "");
            throw InputException.in(first, "is one of " + count + " parts, and " + (missing.size() == 1 ? "part " + some + " is" : "parts " + some + " are")
                    + " not given; analyze with --part " + missing.getFirst() + (missing.size() == 1 ? "" : " and so on") + " and give all parts");
        }
        parts.sort((a, b) -> Integer.compare(a.number().index(), b.number().index()));
        return join(first, parts);
    }

    /// How a part shows that it is not of the same analysis as another; the other's name is to follow.
    private static Optional<String> difference(ProfilePart a, ProfilePart b) {
        Profile x = a.frame();
        Profile y = b.frame();
        if (!x.toolVersion().equals(y.toolVersion())) {
            return Optional.of("was written by ram " + y.toolVersion() + ", not by " + x.toolVersion() + " like ");
        }
        if (!Profile.SourceFile.same(x.files(), y.files()) || !x.architecture().equals(y.architecture())) {
            return Optional.of("was measured on another model than ");
        }
        if (!x.options().equals(y.options()) || !x.equals(y)) {
            return Optional.of("was measured with other options than ");
        }
        if (a.number().count() != b.number().count()) {
            return Optional.of("is part " + b.number() + " and not one of " + a.number().count() + " like ");
        }
        return a.logitPower() == b.logitPower() ? Optional.empty() : Optional.of("was measured on weights with other values than ");
    }

    /// @param parts all of them, in order
    static Profile join(Path where, List<ProfilePart> parts) {
        Map<String, ModuleProfile> heads = new LinkedHashMap<>();
        Map<String, List<ProfilePart.Tensor>> tensors = new LinkedHashMap<>();
        for (ProfilePart part : parts) {
            for (ProfilePart.Piece piece : part.modules()) {
                ModuleProfile head = piece.module();
                ModuleProfile other = heads.putIfAbsent(head.path(), head);
                if (other != null && !other.equals(head)) {
                    throw InputException.in(where, "and the other parts disagree about the module " + head.path() + "; analyze all parts again");
                }
                tensors.computeIfAbsent(head.path(), _ -> new ArrayList<>()).addAll(piece.tensors());
            }
        }
        double[] sensitivities = sensitivities(heads, tensors, parts.getFirst().logitPower());
        List<ModuleProfile> modules = new ArrayList<>();
        int next = 0;
        for (ModuleProfile head : heads.values()) {
            List<ProfilePart.Tensor> own = tensors.get(head.path());
            if (own.stream().mapToLong(ProfilePart.Tensor::parameters).sum() != head.parameters()) {
                throw InputException.in(where, "and the other parts do not make up the module " + head.path() + "; analyze all parts again");
            }
            try {
                modules.add(module(head, own, Arrays.copyOfRange(sensitivities, next, next + own.size())));
            } catch (IllegalArgumentException e) {
                throw new InputException(where + ": the figures of the module " + head.path() + " cannot be right (" + e.getMessage() + "); analyze the model again", e);
            }
            next += own.size();
        }
        Profile frame = parts.getFirst().frame();
        return new Profile(frame.toolVersion(), frame.files(), frame.architecture(), frame.layers(), frame.options(), modules, frame.plain(), frame.prequantized(), frame.dropped());
    }

    private static double[] sensitivities(Map<String, ModuleProfile> heads, Map<String, List<ProfilePart.Tensor>> tensors, double logitPower) {
        List<Sensitivities.Entry> entries = new ArrayList<>();
        heads.forEach((path, head) -> tensors.get(path).forEach(t -> {
            // beyond double, with weights of no working model, nothing is known
            OptionalDouble s = t.measured().sensitivity().map(x -> x.at(logitPower)).filter(Double::isFinite).map(OptionalDouble::of).orElse(OptionalDouble.empty());
            entries.add(new Sensitivities.Entry(head.layer(), head.expert(), t.parameters(), s));
        }));
        return Sensitivities.complete(entries);
    }

    private static ModuleProfile module(ModuleProfile m, List<ProfilePart.Tensor> measured, double[] sensitivities) {
        List<TensorProfile> tensors = new ArrayList<>();
        for (int i = 0; i < sensitivities.length; i++) {
            ProfilePart.Tensor t = measured.get(i);
            tensors.add(new TensorProfile(t.name(), t.rows(), t.columns(), t.measured().metrics(), sensitivities[i], t.measured().ingredients(), t.measured().curve()));
        }
        return new ModuleProfile(m.path(), m.kind(), m.layer(), m.shape(), m.dtype(), m.expert(), m.sharedExpert(), m.preset(), m.mustStayDense(), m.sensitivitySource(),
                curve(tensors), tensors, m.sources());
    }

    /// The relative error of a stack: errors and energies of its matrices are added, so that a large matrix counts for more.
    private static List<CurvePoint> curve(List<TensorProfile> tensors) {
        List<CurvePoint> curve = new ArrayList<>();
        for (int f = 0; f < tensors.getFirst().curve().size(); f++) {
            double energy = 0;
            double error = 0;
            double variance = 0;
            for (TensorProfile t : tensors) {
                double norm = t.metrics().get(Metric.FROBENIUS.label());
                CurvePoint p = t.curve().get(f);
                energy += norm * norm;
                error += p.relativeError() * norm * norm;
                double deviation = p.samplingError() * p.relativeError() * norm * norm;
                variance += deviation * deviation;
            }
            curve.add(new CurvePoint(tensors.getFirst().curve().get(f).format(), energy == 0 ? 0 : error / energy, error == 0 ? 0 : Math.sqrt(variance) / error));
        }
        return curve;
    }
}
