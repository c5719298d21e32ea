package ram.plan;

import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import ram.UsageException;

/// What a plan has to keep within.
public sealed interface Limit {
    /// Nothing: a plan is as large as its policy makes it.
    Limit NONE = new None();

    /// Nothing.
    record None() implements Limit {
    }

    /// @param bytes most bytes of all safetensors files together, headers included; above 0
    record Budget(long bytes) implements Limit {
        public Budget {
            if (bytes <= 0) {
                throw new UsageException("--budget: must be more than nothing");
            }
        }
    }

    /// @param bits most bits of tensor data (codes, scales, biases and what stays dense, without headers) per weight of the model, as mlx_lm counts;
    ///     above 0 and up to 64
    record BitsPerWeight(double bits) implements Limit {
        public BitsPerWeight {
            if (!(bits > 0 && bits <= 64)) {
                throw new UsageException("--bpw: " + bits + " is not a number of bits above 0 and up to 64");
            }
        }
    }

    /// The smallest plan that promises it is wanted.
    ///
    /// @param nats most predicted mean KL divergence from the full-precision model, in nats per token; above 0
    record Divergence(double nats) implements Limit {
        public Divergence {
            if (!(nats > 0 && nats < Double.POSITIVE_INFINITY)) {
                throw new UsageException("--max-kl: " + nats + " is not a finite number of nats above 0");
            }
        }
    }

    /// The words that ask for it on a command line.
    default List<String> arguments() {
        return switch (this) {
            case None _ -> List.of();
            case Budget(long bytes) -> List.of("--budget", String.valueOf(bytes));
            case BitsPerWeight(double bits) -> List.of("--bpw", String.valueOf(bits));
            case Divergence(double nats) -> List.of("--max-kl", String.valueOf(nats));
        };
    }

    /// The bytes of a [Budget].
    default OptionalLong budget() {
        return this instanceof Budget(long bytes) ? OptionalLong.of(bytes) : OptionalLong.empty();
    }

    /// The bits of [BitsPerWeight].
    default OptionalDouble bitsPerWeight() {
        return this instanceof BitsPerWeight(double bits) ? OptionalDouble.of(bits) : OptionalDouble.empty();
    }
}
