package ram.profile;

import java.util.List;
import java.util.Map;
import java.util.Objects;

/// What one part of an analysis measured; written as `ram.part/1`. [ProfileParts] joins all parts to the profile of a single run.
///
/// Following the importance of weights through the model is cheap and needs all of it, so every part does it; the sensitivity of a matrix, though, depends on
/// the matrices of other parts (the power of the logits, medians of a layer), so a part holds what it is made of.
///
/// @param logitPower mean square of a logit, the same in all parts
/// @param frame the profile without its modules, the same in all parts
/// @param modules those with matrices in this part, in the order of the model
public record ProfilePart(PartNumber number, double logitPower, Profile frame, List<Piece> modules) {
    /// The `schema` of a part.
    public static final String SCHEMA = "ram.part/1";
    /// What is said of a part that is given in place of what is made of all of them.
    public static final Map<String, String> UNJOINED = Map.of(SCHEMA, "is one part of an analysis; join all parts with 'ram merge' and give the profile that it writes");

    /// A module, or what one part has of it.
    ///
    /// @param module without what needs all of its matrices: no curve, no tensors
    /// @param tensors the matrices of the part, in the order of the module
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
    record Tensor(String name, long rows, long columns, MatrixAnalysis.Result measured) {
        Tensor {
            Objects.requireNonNull(name);
            Objects.requireNonNull(measured);
        }

        long parameters() {
            return Math.multiplyExact(rows, columns);
        }
    }

    public ProfilePart {
        Objects.requireNonNull(number);
        Objects.requireNonNull(frame);
        modules = List.copyOf(modules);
    }

    /// Number of matrices in the part.
    public int matrices() {
        return modules.stream().mapToInt(m -> m.tensors().size()).sum();
    }
}
