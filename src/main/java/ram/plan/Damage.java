package ram.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import ram.layout.Kind;
import ram.profile.CurvePoint;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;

/// Predicted damage of storing a module in a format, as a sum over its matrices: the mean KL divergence from the full-precision model that it adds,
/// in nats per token, to within [#TRUST]. A prediction for text like that which the model was trained on; comparisons within one model are far better than the number itself.
public final class Damage {
    // Per module, in the order of its curve.
    private final List<double[]> byCurve;

    private Damage(List<double[]> byCurve) {
        this.byCurve = byCurve;
    }

    private static final double SENSITIVITY_POWER = 0.7;

    /// Mean KL divergence per unit of Σ s · Σ g·s^0.7·N^0.3·e²: the geometric mean over 53 quantizations of eight trained models at 3 to 6 bits. Measured
    /// divergences lay between 0.17 and 1.02 of the sums, three quarters of them between 0.24 and 0.54.
    private static final double DIVERGENCE_PER_UNIT = 0.4;
    /// Measured mean KL divergences lay within this factor of predictions of up to [#MOST_TRUSTED], up or down.
    public static final double TRUST = 3;
    /// Nats per token above which predictions fall short: 0.3 were predicted where 1.4 to 1.6 were measured.
    public static final double MOST_TRUSTED = 0.2;

    /// What sensitivities still get wrong by kind, beside the factors that they contain, from the KL divergence that 3 bits in one module alone cause:
    /// geometric means over four trained models, with the feed-forward input projections as the unit.
    private static double correction(Kind kind) {
        return switch (kind) {
            case EMBEDDING, HEAD -> 2;
            case DOWN -> 1.4;
            case K -> 0.56;
            case Q, QKV, LATENT -> 0.5;
            case V -> 0.44;
            case O -> 0.33;
            default -> 1;
        };
    }

    /// Where the divergence may be expected that is predicted to be `nats`, such as `0.02 to 0.18`.
    public static String range(double nats) {
        return nats > MOST_TRUSTED ? String.format(Locale.ROOT, "more than %.2g", nats / TRUST) : String.format(Locale.ROOT, "%.2g to %.2g", nats / TRUST, nats * TRUST);
    }

    /// Σ g·s^0.7·N^0.3·e², with sensitivity s and weight count N of each matrix as shares of the model's sums, e² its relative squared error, and g the
    /// correction of its kind, scaled to nats. A model without any sensitivity is weighted by N alone, and its damage has no unit.
    public static Damage of(Profile profile) {
        double sensitivity = 0;
        double parameters = 0;
        for (ModuleProfile m : profile.modules()) {
            sensitivity += m.sensitivity();
            for (TensorProfile t : m.tensors()) {
                parameters += t.parameters();
            }
        }
        double s = sensitivity;
        double n = parameters;
        return sum(profile, (m, t) -> {
            double share = t.parameters() / n;
            return s > 0 ? DIVERGENCE_PER_UNIT * s * correction(m.kind()) * StrictMath.pow(t.sensitivity() / s, SENSITIVITY_POWER) * StrictMath.pow(share, 1 - SENSITIVITY_POWER) : share;
        }, false);
    }

    /// Σ π·NRMSE with soft priors π: embedding and head 10, router 8, first layer 3, last layer 2, else 1.
    static Damage withPriors(Profile profile) {
        return sum(profile, (m, t) -> prior(m, profile.layers()), true);
    }

    static double prior(ModuleProfile m, int layers) {
        if (m.kind() == Kind.EMBEDDING || m.kind() == Kind.HEAD) {
            return 10;
        }
        if (m.kind() == Kind.ROUTER) {
            return 8;
        }
        return m.layer() == 0 ? 3 : m.layer() >= 0 && m.layer() == layers - 1 ? 2 : 1;
    }

    private interface Weight {
        double of(ModuleProfile module, TensorProfile tensor);
    }

    private static Damage sum(Profile profile, Weight weight, boolean root) {
        List<double[]> out = new ArrayList<>();
        for (ModuleProfile m : profile.modules()) {
            double[] sums = new double[m.curve().size()];
            for (TensorProfile t : m.tensors()) {
                double w = weight.of(m, t);
                for (int c = 0; c < sums.length; c++) {
                    CurvePoint p = t.curve().get(c);
                    sums[c] += w * (root ? Math.sqrt(p.relativeError()) : p.relativeError());
                }
            }
            out.add(sums);
        }
        return new Damage(out);
    }

    /// @param module position in the profile
    /// @param point position in the module's curve
    public double at(int module, int point) {
        return byCurve.get(module)[point];
    }
}
