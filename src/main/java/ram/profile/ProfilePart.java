package ram.profile;

import java.util.List;
import java.util.Objects;

/// What one share of an analysis measured; written as `ram.part/1`. [ProfileParts] joins the parts of all shares to the profile of a single run.
///
/// Following the importance of weights through the model is cheap and needs all of it, so every share does it; the sensitivity of a matrix, though, depends on
/// the matrices of other shares (the power of the logits, medians of a layer), so a part holds what it is made of.
///
/// @param logitPower mean square of a logit, the same in all parts
/// @param frame the profile without its modules, the same in all parts
/// @param modules those with matrices in this share, in the order of the model
public record ProfilePart(Share share, double logitPower, Profile frame, List<Piece> modules) {
    public static final String SCHEMA = "ram.part/1";

    /// A module, or what one share has of it.
    ///
    /// @param module without what needs all of its matrices: no curve, no tensors
    /// @param tensors the matrices of the share, in the order of the module
    record Piece(ModuleProfile module, List<Tensor> tensors) {
        Piece {
            Objects.requireNonNull(module);
            tensors = List.copyOf(tensors);
            if (tensors.isEmpty()) {
                throw new IllegalArgumentException("no matrix of " + module.path());
            }
        }
    }

    /// One matrix.
    record Tensor(String name, long rows, long columns, PartAnalysis.Result measured) {
        Tensor {
            Objects.requireNonNull(name);
            Objects.requireNonNull(measured);
        }

        long parameters() {
            return Math.multiplyExact(rows, columns);
        }
    }

    public ProfilePart {
        Objects.requireNonNull(share);
        Objects.requireNonNull(frame);
        modules = List.copyOf(modules);
    }

    /// Number of matrices in the part.
    public int matrices() {
        return modules.stream().mapToInt(m -> m.tensors().size()).sum();
    }
}
