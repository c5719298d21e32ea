package ram.sensitivity;

import java.util.ArrayList;
import java.util.List;
import ram.Stage;
import ram.layout.Module;
import ram.numeric.Kernels;
import ram.numeric.Workers;
import ram.tensor.Rows;

/// Products with the elementwise square of a module's weight, streamed by row blocks over several threads.
/// The blocks and the order in which their sums are added do not depend on the number of threads.
final class Squares {
    private static final int BLOCK_ELEMENTS = 1 << 18;
    private static final int RANGE = 1024;
    /// A block takes a third of a millisecond; handing each to a thread by itself left both of two waiting for a tenth of the time.
    private static final int BLOCKS_PER_TASK = 8;
    private static final int TASKS_PER_THREAD = 4;

    private final Workers workers;

    Squares(Workers workers) {
        this.workers = workers;
    }

    /// @param rows per row Σⱼ Wᵢⱼ² · inputⱼ, over all parts
    /// @param columns per part and column Σᵢ weightᵢ · Wᵢⱼ²
    record Sums(double[] rows, double[][] columns) {
    }

    private record Block(int part, long partRow, long first, int count, Scaled input) {
    }

    /// @param input per part one value per column; null when the products with the rows are not asked for
    /// @param rowWeight one value per row of a part, the same for all parts, or per row of all of them; null for 1
    /// @param columnSums whether column sums are asked for
    Sums of(Module module, double[][] input, double[] rowWeight, boolean columnSums) {
        int columns = Math.toIntExact(module.weight().shape().columns());
        double[] rowSums = new double[input == null ? 0 : Math.toIntExact(module.weight().shape().rows())];
        double[][] total = new double[columnSums ? module.parts().size() : 0][columns];
        Rows rows = Rows.of(module.weight());
        int perBlock = Math.max(1, BLOCK_ELEMENTS / Math.max(1, columns));
        List<Block> blocks = new ArrayList<>();
        for (int p = 0; p < module.parts().size(); p++) {
            Scaled in = input == null ? null : Scaled.of(input[p]);
            long partRows = module.parts().get(p).rows();
            for (long first = 0; first < partRows; first += perBlock) {
                blocks.add(new Block(p, module.parts().get(p).firstRow(), first, (int) Math.min(perBlock, partRows - first), in));
            }
        }
        int together = Math.clamp(blocks.size() / (workers.threads() * TASKS_PER_THREAD), 1, BLOCKS_PER_TASK);
        List<List<Block>> tasks = new ArrayList<>();
        // One block at first, while the code for it may have to be compiled.
        for (int from = 0, to = 1; from < blocks.size(); from = to, to += together) {
            tasks.add(blocks.subList(from, Math.min(blocks.size(), to)));
        }
        workers.forEachAfterFirst(tasks, task -> {
            try (Stage _ = Stage.of("importance", module.path())) {
                float[] room = new float[Math.multiplyExact(perBlock, columns)];
                return task.stream().map(b -> new Partial(b.part, sums(rows, b, room, rowSums, rowWeight, columnSums))).toList();
            }
        }, partials -> {
            if (columnSums) {
                partials.forEach(p -> add(p.columns(), total[p.part()]));
            }
        });
        return new Sums(rowSums, total);
    }

    /// Column sums of a block.
    private record Partial(int part, double[] columns) {
    }

    static void add(double[] values, double[] sums) {
        for (int j = 0; j < sums.length; j++) {
            sums[j] += values[j];
        }
    }

    /// Does work that is independent from number to number on those below `count`, in several threads.
    void ranges(int count, Workers.Range work) {
        workers.forRanges(count, RANGE, work);
    }

    /// Square roots of a vector, in float32 with the largest at 1.
    private record Scaled(float[] roots, double scale) {
        static Scaled of(double[] v) {
            double max = 0;
            for (double x : v) {
                max = Math.max(max, x);
            }
            float[] out = new float[v.length];
            for (int j = 0; j < v.length; j++) {
                out[j] = max == 0 ? 0 : (float) Math.sqrt(v[j] / max);
            }
            return new Scaled(out, max);
        }
    }

    /// Writes the block's row sums to `rowSums` and returns its column sums, of length 0 when they are not asked for.
    ///
    /// @param w room for the values of a block
    private static double[] sums(Rows rows, Block block, float[] w, double[] rowSums, double[] rowWeight, boolean columnSums) {
        int n = rows.columns();
        rows.read(block.partRow + block.first, block.count, w);
        double[] columns = new double[columnSums ? n : 0];
        if (columnSums && rowWeight == null) {
            Kernels.addColumnSquares(w, block.count, n, columns);
        } else if (columnSums) {
            int at = (int) (rowWeight.length == rows.rows() ? block.partRow + block.first : block.first);
            for (int i = 0; i < block.count; i++) {
                addSquares(w, i * n, rowWeight[at + i], columns);
            }
        }
        if (block.input != null) {
            int at = (int) (block.partRow + block.first);
            float[] scaled = new float[n];
            for (int i = 0; i < block.count; i++) {
                Kernels.multiply(w, i * n, block.input.roots, 0, scaled, 0, n);
                rowSums[at + i] = Kernels.sumOfSquares(scaled, 0, n) * block.input.scale;
            }
        }
        return columns;
    }

    private static void addSquares(float[] w, int from, double weight, double[] sums) {
        for (int j = 0; j < sums.length; j++) {
            double x = w[from + j];
            sums[j] += weight * x * x;
        }
    }
}
